from pathlib import Path

from setuptools import find_packages, setup

NAME = 'hiwm_bringup'


def installed(folder):
    """Return data_files entries that install a folder's files below share/hiwm_bringup.

    launch, config and models are links to folders in the repository root: users look for them there
    and colcon installs no files from outside a package. A training beside its model keeps a folder
    MODEL.work, which is left out.
    """
    here = Path(__file__).resolve().parent
    found = (path.relative_to(here) for path in (here / folder).rglob('*.*') if path.is_file())
    files = sorted(
        path for path in found if not any(part.endswith('.work') for part in path.parts)
    )
    folders = sorted({path.parent for path in files})
    return [
        (f'share/{NAME}/{parent}', [str(path) for path in files if path.parent == parent])
        for parent in folders
    ]


setup(
    name=NAME,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={NAME: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/' + NAME]),
        ('share/' + NAME, ['package.xml']),
        *installed('launch'),
        *installed('config'),
        *installed('models'),
    ],
    install_requires=['setuptools'],
    zip_safe=True,
    maintainer='hiwm maintainers',
    maintainer_email='maintainers@hiwm.invalid',
    description='Launch files, configuration and the launcher for machines without ROS.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'hiwm_launch = hiwm_bringup.launcher.command_line:main',
        ],
    },
)
