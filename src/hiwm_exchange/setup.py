from setuptools import find_packages, setup

NAME = 'hiwm_exchange'

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
    description='Data sets and bags of others: LeRobot, IWS, raw bags, videos.',
    license='Apache-2.0',
)
