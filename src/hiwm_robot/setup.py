from setuptools import find_packages, setup

NAME = 'hiwm_robot'

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
    description='The robot bridge, and the stand-in driver for machines without a robot.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'robot_bridge = hiwm_nodes.starting:start',
            'standin_driver = hiwm_nodes.starting:start',
        ],
    },
)
