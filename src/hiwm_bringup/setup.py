import os
from pathlib import Path

from setuptools import find_packages, setup

NAME = 'hiwm_bringup'
#: launch/ and config/ stand in the root of the workspace, where people look for them. colcon
#: calls this file through a link in its build folder, hence the resolve.
WORKSPACE = Path(__file__).resolve().parents[2]


def shared_files():
    """Return data_files entries that install launch/ and config/ under this package's share."""
    entries = []
    for top in ('launch', 'config'):
        for folder in sorted({path.parent for path in (WORKSPACE / top).rglob('*.*')}):
            # setuptools takes no absolute paths here.
            files = sorted(os.path.relpath(path) for path in folder.iterdir() if path.is_file())
            if files:
                entries.append(('share/' + NAME + '/' + str(folder.relative_to(WORKSPACE)), files))
    return entries


setup(
    name=NAME,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={NAME: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + NAME]),
        ('share/' + NAME, ['package.xml']),
        *shared_files(),
    ],
    install_requires=['setuptools'],
    zip_safe=True,
    maintainer='hiwm maintainers',
    maintainer_email='maintainers@hiwm.invalid',
    description='Launch files, configuration and the launcher for machines without ROS.',
    license='Apache-2.0',
    entry_points={
    },
)
