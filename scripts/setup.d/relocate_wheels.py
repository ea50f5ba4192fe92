"""Point the CMake files of the ROS wheels at the virtual environment they were installed in.

The wheels were built under a prefix such as ``/opt/python/cp311-cp311``, and the CMake package
files that they install to ``<venv>/share`` still name that prefix, its Python headers and its
numpy headers. ``scripts/setup`` runs this after every install; a second run changes nothing.
Held by ``src/hiwm_bringup/test/test_setup.py``.

Usage: ``<venv>/bin/python relocate_wheels.py`` (acts on the environment of that interpreter).
"""

import re
import sys
import sysconfig
from pathlib import Path

#: The prefix of the wheel builder: a manylinux image keeps each interpreter in such a folder.
BUILDER_PREFIX = r"/opt/python/cp3\d+-cp3\d+"


def relocated(text: str, prefix: str, python_include: str, numpy_include: str) -> str:
    """Return a CMake file's text with the builder's three folders replaced by this machine's.

    The two folders inside the prefix come first, since the prefix would match them too.
    Replacements are literal: a backslash in a path is not read as a group reference.
    """
    inside = r"(?![\w.+-])"  # the folder itself or something below it, no longer name
    replacements = (
        (BUILDER_PREFIX + r"/lib/python3\.\d+/site-packages/numpy/(?:_core|core)/include",
         numpy_include),
        (BUILDER_PREFIX + r"/include/python3\.\d+", python_include),
        (BUILDER_PREFIX, prefix),
    )
    for pattern, replacement in replacements:
        text = re.sub(pattern + inside, lambda _, new=replacement: new, text)
    return text


def relocate(share: Path, prefix: str, python_include: str, numpy_include: str) -> list[Path]:
    """Rewrite every CMake file below ``share`` that needs it and return those rewritten."""
    changed = []
    for path in sorted(share.rglob("*.cmake")):
        old = path.read_text(encoding="utf-8")
        new = relocated(old, prefix, python_include, numpy_include)
        if new != old:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def main() -> int:
    """Relocate the environment of the running interpreter and say how many files changed."""
    import numpy

    changed = relocate(
        Path(sys.prefix) / "share", sys.prefix, sysconfig.get_path("include"), numpy.get_include()
    )
    print(f"relocated {len(changed)} CMake files of the ROS wheels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
