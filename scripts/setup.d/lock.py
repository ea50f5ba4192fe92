"""Write the lock files of requirements/: every package with its exact version.

``lock.txt``, for Python 3.11 and 3.12, lists the packages that ``scripts/setup`` installs. After a
change of ``requirements.in``::

    .venv/bin/pip install -r requirements/requirements.in
    .venv/bin/python scripts/setup.d/lock.py

``jazzy.txt`` is for a machine with ROS 2 Jazzy. After a change of ``jazzy.in``, with Python 3.12::

    pip install --dry-run --ignore-installed --report report.json -r requirements/jazzy.in
    python scripts/setup.d/lock.py report.json

``src/hiwm_bringup/test/test_setup.py`` tests that the locks cover their ``.in`` files, and that
``lock.txt`` matches what is installed.
"""

import importlib.metadata
import json
import re
import sys
import sysconfig
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
HEADER = """\
# Every package with its exact version, for {pythons}.
# Written by scripts/setup.d/lock.py from requirements/{source}; not edited by hand.
"""


def normalised(name: str) -> str:
    """Return a package name in the form that indexes compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_lines(versions: dict[str, str]) -> list[str]:
    """Return sorted ``name==version`` lines.

    A local version such as ``2.13.0+cpu`` loses its suffix: the machine's pip configuration selects
    the build of torch. Left out are pip itself, which belongs to the interpreter, the packages of
    this workspace, which colcon builds, and the dependencies of torch's CUDA build, which cuda.txt
    pins because a machine without a GPU does not need them.
    """
    cuda = cuda_names()
    return sorted(
        f"{name}=={version.split('+')[0]}"
        for name, version in versions.items()
        if name != "pip" and not name.startswith("hiwm") and name not in cuda
    )


def cuda_names() -> set[str]:
    """Return the names pinned in cuda.txt."""
    lines = (REQUIREMENTS / "cuda.txt").read_text(encoding="utf-8").splitlines()
    return {line.split("==")[0] for line in lines if "==" in line}


def installed_versions() -> dict[str, str]:
    """Return normalised name -> version of the packages that pip installed in this environment.

    The ROS wheels contain the egg-info of the packages built into them (``std_msgs`` inside
    ``ros-std-msgs``). A package index does not know those names, or has other packages under them.
    Only site-packages is read: whoever imports setuptools gets its vendored packages on
    ``sys.path``, older copies of what is installed here.
    """
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return {
        normalised(distribution.metadata["Name"]): distribution.version
        for distribution in importlib.metadata.distributions(path=sorted(folders))
        if distribution.read_text("INSTALLER") is not None
    }


def reported_versions(report: Path) -> dict[str, str]:
    """Return normalised name -> version from a report of ``pip install --report``."""
    metadata = [item["metadata"] for item in json.loads(report.read_text("utf-8"))["install"]]
    return {normalised(item["name"]): item["version"] for item in metadata}


def main() -> int:
    """Write lock.txt, or jazzy.txt from a pip report, and print the number of packages."""
    if len(sys.argv) == 2:
        report = Path(sys.argv[1]).expanduser()
        lock, versions = REQUIREMENTS / "jazzy.txt", reported_versions(report)
        header = HEADER.format(pythons="Python 3.12 beside ROS 2 Jazzy", source="jazzy.in")
    else:
        lock, versions = REQUIREMENTS / "lock.txt", installed_versions()
        header = HEADER.format(pythons="Python 3.11 and 3.12", source="requirements.in")
    lines = lock_lines(versions)
    lock.write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{lock}: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
