"""Write requirements/lock.txt from the environment that requirements/requirements.in resolves to.

Usage, after a change of requirements.in:
``.venv/bin/pip install -r requirements/requirements.in && .venv/bin/python scripts/setup.d/lock.py``

One file serves Python 3.11 and 3.12: ``src/hiwm_bringup/test/test_setup.py`` holds that it covers
requirements.in, and that it is what is installed.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parents[2] / "requirements" / "lock.txt"
HEADER = """\
# Every package of the environment with its exact version, for Python 3.11 and 3.12.
# Written by scripts/setup.d/lock.py from requirements/requirements.in; not edited by hand.
"""


def lock_lines(versions: dict[str, str]) -> list[str]:
    """Return sorted ``name==version`` lines.

    A local version such as ``2.13.0+cpu`` loses its suffix: which build of torch fits is the
    choice of the machine's pip configuration. pip itself belongs to the interpreter, and the
    packages of this workspace are built, not installed.
    """
    return sorted(
        f"{name}=={version.split('+')[0]}"
        for name, version in versions.items()
        if name != "pip" and not name.startswith("hiwm")
    )


def installed_versions() -> dict[str, str]:
    """Return normalised name -> version of what pip installed in this environment itself.

    The ROS wheels carry the egg-info of the packages built into them (``std_msgs`` inside
    ``ros-std-msgs``); those names mean nothing, or something else, to a package index.
    """
    return {
        re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower(): distribution.version
        for distribution in importlib.metadata.distributions()
        if str(distribution.locate_file("")).startswith(sys.prefix)
        and distribution.read_text("INSTALLER") is not None
    }


def main() -> int:
    """Write the lock file and say how many packages it names."""
    lines = lock_lines(installed_versions())
    LOCK.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{LOCK}: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
