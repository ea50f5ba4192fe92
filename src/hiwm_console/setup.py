from setuptools import find_packages, setup

NAME = 'hiwm_console'

setup(
    name=NAME,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={NAME: ['py.typed', 'page/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + NAME]),
        ('share/' + NAME, ['package.xml']),
    ],
    install_requires=['setuptools'],
    zip_safe=False,
    maintainer='hiwm maintainers',
    maintainer_email='maintainers@hiwm.invalid',
    description='The console: one web page to watch, drive and browse a session.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'live_view = hiwm_nodes.starting:start',
            'web_console = hiwm_nodes.starting:start',
        ],
    },
)
