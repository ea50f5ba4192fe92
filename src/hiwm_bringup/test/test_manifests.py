"""Every manifest declares what its package imports; the pip lists name the rest."""

import ast
import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from catkin_pkg.package import parse_package

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = sorted(path.parent for path in (ROOT / "src").rglob("package.xml"))


def name_of(package):
    """Return a package's name, which is that of its Python module too."""
    return ElementTree.parse(package / "package.xml").getroot().findtext("name")


FOLDERS = {name_of(package): package for package in PACKAGES}

#: rosdep keys that differ from the module's name.
ROSDEP_KEYS = {
    "numpy": "python3-numpy",
    "yaml": "python3-yaml",
    "PIL": "python3-pil",
    "matplotlib": "python3-matplotlib",
    "psutil": "python3-psutil",
    "serial": "python3-serial",
    "pygame": "python3-pygame",
    "msgpack": "python3-msgpack",
}
TEST_KEYS = {"pytest": "python3-pytest", "hypothesis": "python3-hypothesis"}

#: Modules without a rosdep key -> their name in requirements/jazzy.in.
FROM_PIP = {
    "aiohttp": "aiohttp",
    "av": "av",
    "pyarrow": "pyarrow",
    "torch": "torch",
    "mujoco": "mujoco",
    "diffusers": "diffusers",
    "safetensors": "safetensors",
    "zarr": "zarr",
    "rosbags": "rosbags",
    "mcap": "mcap",
    "zstandard": "zstandard",
    "mcap_ros2": "mcap-ros2-support",
    "pyspacemouse": "pyspacemouse",
    "easyhid": "pyspacemouse",
    "dynamixel_sdk": "dynamixel-sdk",
    "scservo_sdk": "feetech-servo-sdk",
    "pink": "pin-pink",
    "qpsolvers": "pin-pink",
    "daqp": "daqp",
    "websockets": "websockets",
}
#: Optional: imported where it is used; the error names it when it is missing.
OPTIONAL = {"submitit"}
#: Imported only by the build.
BUILD = {"setuptools", "catkin_pkg"}
#: Only in the checkout, not installed: for tests and benchmarks.
CHECKOUT_ONLY = {"hiwm_test_support", "hiwm_benchmarks"}


def imported_modules(folder):
    """Return the top-level names of all modules imported by the Python files below a folder."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names)


def declared(package, *tags):
    root = ElementTree.parse(package / "package.xml").getroot()
    return {element.text for tag in tags for element in root.findall(tag)}


def pip_names():
    lines = (ROOT / "requirements" / "jazzy.in").read_text().splitlines()
    return {re.split(r"[=<>]", line)[0] for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_manifest_declares_every_import(package):
    own = {name_of(package)} | {path.stem for path in (package / "test").rglob("*.py")}
    dependencies = declared(package, "depend", "exec_depend")
    for module in sorted(imported_modules(package / name_of(package)) - own - OPTIONAL):
        if module in FROM_PIP:
            assert FROM_PIP[module] in pip_names(), f"{module}: not in requirements/jazzy.in"
        else:
            key = ROSDEP_KEYS.get(module, module)
            assert key in dependencies, f"{name_of(package)} imports {module}: declare {key}"
    everything = dependencies | declared(package, "test_depend")
    left_out = own | BUILD | CHECKOUT_ONLY | OPTIONAL
    for module in sorted(imported_modules(package / "test") - left_out):
        if module not in FROM_PIP and module not in ("packaging", "launch", "launch_ros"):
            key = {**ROSDEP_KEYS, **TEST_KEYS}.get(module, module)
            assert key in everything, f"tests of {name_of(package)} import {module}: declare {key}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_installed_code_imports_no_test_support(package):
    assert not imported_modules(package / name_of(package)) & CHECKOUT_ONLY


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_manifest_is_complete(package):
    # With a manifest that does not parse, the package is built without its environment hooks.
    parse_package(str(package / "package.xml"))
    root = ElementTree.parse(package / "package.xml").getroot()
    assert root.get("format") == "3"
    # A task's folder has the task's name.
    assert root.findtext("name") in (package.name, f"hiwm_{package.name}")
    assert root.findtext("license") == "Apache-2.0"
    assert root.findtext("description").strip()
    assert any(key.startswith("ament_") for key in declared(package, "test_depend"))
    build_type = root.findtext("export/build_type")
    assert (package / {"ament_python": "setup.py", "ament_cmake": "CMakeLists.txt"}[build_type]
            ).exists()


@pytest.mark.parametrize(
    "package", [path for path in PACKAGES if (path / "setup.py").exists()], ids=lambda p: p.name
)
def test_entry_points_name_functions_that_exist(package):
    targets = re.findall(
        r"['\"]\w+ = ([\w.]+):(\w+)['\"]", (package / "setup.py").read_text()
    )
    for module, function in targets:
        path = FOLDERS[module.partition(".")[0]] / (module.replace(".", os.sep) + ".py")
        assert path.exists(), f"{package.name}/setup.py names {module}"
        names = {getattr(node, "name", None) for node in ast.parse(path.read_text()).body}
        assert function in names, f"{module} has no {function}"
