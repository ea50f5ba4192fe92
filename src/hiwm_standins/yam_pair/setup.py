from setuptools import find_packages, setup

NAME = 'hiwm_yam_pair'

setup(
    name=NAME,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={NAME: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + NAME]),
        ('share/' + NAME, ['package.xml']),
    ],
    install_requires=['setuptools'],
    zip_safe=True,
    maintainer='hiwm maintainers',
    maintainer_email='maintainers@hiwm.invalid',
    description='The stand-in yam_pair: two arms with grippers, as MuJoCo model, URDF and scene.',
    license='Apache-2.0',
)
