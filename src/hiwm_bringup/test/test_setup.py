"""Set-up: relocation of the wheels, locks, the environment file, and what setup refuses."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_ROS = not os.environ.get("ROS_DISTRO")
needs_wheels = pytest.mark.skipif(not WITHOUT_ROS, reason="this machine has a ROS installation")


def load_script(name):
    """Import a file of scripts/setup.d, which is not a package."""
    specification = importlib.util.spec_from_file_location(
        f"setup_{name}", ROOT / "scripts" / "setup.d" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


lock = load_script("lock")
relocate_wheels = load_script("relocate_wheels")


# ---- relocation ----

WHEEL_FILE = (
    'set(a "/opt/python/cp311-cp311/include/python3.11;'
    '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include")\n'
    'set(b "/opt/python/cp311-cp311/lib/libx.so")\n'
    'set(c /opt/python/cp311-cp311)\n'
)


def relocate(share):
    return relocate_wheels.relocate(share, "/my venv", "/usr/include/python3.11", "/np\\1/include")


def test_relocation_points_each_folder_at_this_machine(tmp_path):
    (tmp_path / "pkg").mkdir()
    file = tmp_path / "pkg" / "pkgConfig.cmake"
    file.write_text(WHEEL_FILE)
    assert relocate(tmp_path) == [file]
    assert file.read_text() == (
        'set(a "/usr/include/python3.11;/np\\1/include")\n'
        'set(b "/my venv/lib/libx.so")\n'
        'set(c /my venv)\n'
    )


def test_relocation_again_changes_nothing(tmp_path):
    file = tmp_path / "pkgConfig.cmake"
    file.write_text(WHEEL_FILE)
    relocate(tmp_path)
    first = file.read_text()
    assert relocate(tmp_path) == []
    assert file.read_text() == first


def test_relocation_leaves_longer_names_alone(tmp_path):
    file = tmp_path / "pkgConfig.cmake"
    text = "/opt/python/cp311-cp311t/lib /opt/python/other\n"
    file.write_text(text)
    assert relocate(tmp_path) == []
    assert file.read_text() == text


@needs_wheels
def test_no_cmake_file_of_the_environment_names_the_wheel_builder():
    files = [path for path in Path(sys.prefix, "share").rglob("*.cmake")]
    assert files
    assert [str(path) for path in files if "/opt/python/cp" in path.read_text()] == []


# ---- locks ----

def entries(name):
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", ["lock.txt", "jazzy.txt", "cuda.txt"])
def test_every_line_of_a_lock_is_one_exact_version(name):
    names = [re.fullmatch(r"([\w.-]+)==[\w.]+", line).group(1) for line in entries(name)]
    assert len({lock.normalised(entry) for entry in names}) == len(names)


@pytest.mark.parametrize(
    ("source", "locked"), [("requirements.in", "lock.txt"), ("jazzy.in", "jazzy.txt")]
)
def test_locks_satisfy_their_requirements(source, locked):
    requirements = pytest.importorskip("packaging.requirements")
    versions = dict(line.split("==") for line in entries(locked))
    for line in entries(source):
        requirement = requirements.Requirement(line)
        name = lock.normalised(requirement.name)
        assert name in versions, f"{line} is in {source} and not in {locked}"
        assert requirement.specifier.contains(versions[name]), f"{line}, locked {versions[name]}"


@needs_wheels
def test_the_environment_matches_the_lock():
    assert lock.lock_lines(lock.installed_versions()) == entries("lock.txt")


def test_lock_lines_leave_out_pip_own_packages_and_the_build_of_torch():
    versions = {"torch": "2.13.0+cpu", "pip": "23.2", "hiwm-core": "0.1.0", "triton": "3.7.1"}
    assert lock.lock_lines(versions) == ["torch==2.13.0"]


def test_jazzy_keeps_the_numpy_that_its_ros_packages_were_built_for():
    assert [line for line in entries("jazzy.txt") if line.startswith("numpy==1.")]


# ---- env.sh ----

def source_env(shell, times, directory, **variables):
    """Return the environment of a clean shell after sourcing env.sh a number of times."""
    command = f"set -eu; {f'source {ROOT}/scripts/env.sh; ' * times} env -0"
    inherited = ("HOME", "HIWM_VENV", "HIWM_BUILD", "HIWM_INSTALL")
    result = subprocess.run(
        [shell, "-c", command], cwd=directory, capture_output=True, timeout=60, check=True,
        env={"PATH": "/usr/bin:/bin", **variables}
        | {name: os.environ[name] for name in inherited if name in os.environ},
    )
    pairs = (entry.split("=", 1) for entry in result.stdout.decode().split("\0") if "=" in entry)
    return {name: value for name, value in pairs if name not in ("_", "SHLVL", "PWD", "OLDPWD")}


def shells():
    return [
        pytest.param(shell, marks=pytest.mark.skipif(
            shutil.which(shell, path="/usr/bin:/bin") is None, reason=f"no {shell} here"))
        for shell in ("bash", "zsh")
    ]


@needs_wheels
@pytest.mark.parametrize("shell", shells())
def test_sourcing_env_twice_changes_nothing_more(shell, tmp_path):
    once = source_env(shell, 1, tmp_path)
    assert source_env(shell, 2, tmp_path) == once
    assert once["HIWM_ROOT"] == str(ROOT)
    for entry in ("AMENT_PREFIX_PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "PATH"):
        parts = once[entry].split(":")
        assert len(set(parts)) == len(parts), f"{entry} repeats itself"
        assert "" not in parts, f"{entry} contains the working directory"


@needs_wheels
@pytest.mark.parametrize("shell", shells())
def test_env_lets_the_graph_be_imported(shell, tmp_path):
    environment = source_env(shell, 1, tmp_path)
    result = subprocess.run(
        ["python", "-c", "import rclpy, hiwm_interfaces.msg, hiwm_core, hiwm_bringup; print('in')"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60,
        executable=shutil.which("python", path=environment["PATH"]),
    )
    assert (result.stdout, result.returncode) == ("in\n", 0), result.stderr


@needs_wheels
def test_env_keeps_the_users_values(tmp_path):
    environment = source_env(
        "bash", 1, tmp_path, ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET", MUJOCO_GL="osmesa"
    )
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    assert environment["MUJOCO_GL"] == "osmesa"
    assert source_env("bash", 1, tmp_path)["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"


def test_env_without_an_environment_names_setup(tmp_path):
    result = subprocess.run(
        ["bash", "-c", f"source {ROOT}/scripts/env.sh; echo status $?"],
        env={"PATH": "/usr/bin:/bin", "HIWM_VENV": str(tmp_path / "none")},
        capture_output=True, text=True, timeout=60,
    )
    assert "scripts/setup" in result.stderr and "none" in result.stderr
    assert result.stdout == "status 1\n"


# ---- interfaces of drivers ----

INTERFACES = sorted(path.parent.name for path in (ROOT / "interfaces").glob("*/package.xml"))


@needs_wheels
@pytest.mark.parametrize("shell", shells())
def test_interfaces_come_last_in_every_path(shell, tmp_path):
    environment = source_env(shell, 1, tmp_path)
    for entry, suffix in (
        ("AMENT_PREFIX_PATH", ""), ("LD_LIBRARY_PATH", "/lib"), ("PYTHONPATH", "site-packages")
    ):
        parts = environment[entry].split(":")
        last = parts[len(parts) - len(INTERFACES) :]
        assert all("/.interfaces/" in part and part.endswith(suffix) for part in last), entry
        assert not any("/.interfaces/" in part for part in parts[: -len(INTERFACES)]), entry


@needs_wheels
@pytest.mark.parametrize("shell", shells())
def test_an_installed_package_is_never_shadowed(shell, tmp_path):
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "control_msgs").touch()
    environment = source_env(shell, 1, tmp_path, AMENT_PREFIX_PATH=str(tmp_path))
    for entry in ("AMENT_PREFIX_PATH", "LD_LIBRARY_PATH", "PYTHONPATH"):
        assert "/.interfaces/control_msgs" not in environment[entry]
        assert "/.interfaces/moveit_msgs" in environment[entry]


@needs_wheels
def test_interfaces_are_serialized_like_any_others(tmp_path):
    environment = source_env("bash", 1, tmp_path)
    code = """
import importlib
from rclpy.serialization import deserialize_message, serialize_message
for name in (
    "control_msgs.action.GripperCommand.Goal", "control_msgs.action.ParallelGripperCommand.Result",
    "controller_manager_msgs.srv.ListControllers.Response",
    "controller_manager_msgs.srv.SwitchController.Request",
    "controller_manager_msgs.msg.ControllerManagerActivity",
    "moveit_msgs.srv.ServoCommandType.Request", "moveit_msgs.msg.ServoStatus",
    "interbotix_xs_msgs.msg.JointGroupCommand", "interbotix_xs_msgs.msg.JointSingleCommand",
    "interbotix_xs_msgs.srv.OperatingModes.Request", "interbotix_xs_msgs.srv.TorqueEnable.Request",
    "xarm_msgs.msg.RobotMsg",
):
    package, part, *path = name.split(".")
    kind = importlib.import_module(f"{package}.{part}")
    for step in path:
        kind = getattr(kind, step)
    assert deserialize_message(serialize_message(kind()), kind) == kind(), name
print("equal")
"""
    result = subprocess.run(
        [shutil.which("python", path=environment["PATH"]), "-c", code], env=environment,
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )
    assert (result.stdout, result.returncode) == ("equal\n", 0), result.stderr


def test_colcon_in_the_checkout_does_not_build_interfaces():
    # With a ROS installation, colcon build would otherwise shadow the installed packages.
    assert (ROOT / "interfaces" / "COLCON_IGNORE").exists()


# ---- setup ----

def run_setup(tmp_path, **variables):
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}
    return subprocess.run(
        [str(ROOT / "scripts" / "setup")], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=60,
    )


@pytest.fixture
def other_folders(tmp_path):
    """Variables that keep a setup away from the environment under test."""
    return {f"HIWM_{name}": str(tmp_path / name) for name in ("VENV", "BUILD", "INSTALL")}


def test_setup_refuses_an_unsuitable_python(tmp_path, other_folders):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho Python 3.9.2\n")
    python.chmod(0o755)
    result = run_setup(tmp_path, PYTHON=str(python), **other_folders)
    assert result.returncode == 1
    assert "3.11 or 3.12" in result.stderr and "Python 3.9.2" in result.stderr
    assert not (tmp_path / "VENV").exists()


@pytest.mark.parametrize("distribution", ["jazzy", "kilted"])
def test_setup_with_ros_sourced_explains_what_to_do(tmp_path, other_folders, distribution):
    result = run_setup(tmp_path, ROS_DISTRO=distribution, **other_folders)
    assert result.returncode == 1
    assert ("colcon" in result.stderr) == (distribution == "jazzy")
    assert not (tmp_path / "VENV").exists()


@pytest.mark.parametrize("name", ["with space", "ümlaut", "a,b", "a$b"])
@pytest.mark.parametrize("variable", ["HIWM_VENV", "HIWM_BUILD", "HIWM_INSTALL"])
def test_setup_refuses_a_path_that_the_build_cannot_use(tmp_path, other_folders, variable, name):
    # The build fails there after minutes: the generators of messages split or lose the name.
    result = run_setup(tmp_path, **{**other_folders, variable: str(tmp_path / name / "x")})
    assert result.returncode == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert str(tmp_path / name) in line and variable in line and "move the checkout" in line
    assert list(tmp_path.iterdir()) == []


@needs_wheels
def test_setup_refuses_a_checkout_that_cannot_be_written_in_one_line(tmp_path, read_only):
    result = subprocess.run(
        [*read_only(ROOT), str(ROOT / "scripts" / "setup")], cwd=tmp_path,
        env={**os.environ, "HIWM_INSTALL": str(ROOT / "another_install")},
        capture_output=True, text=True, timeout=120,
    )
    (line,) = result.stderr.splitlines()
    assert result.returncode == 1 and result.stdout == ""
    assert "cannot be written" in line and "HIWM_INSTALL" in line


# ---- help ----


@pytest.mark.parametrize("name", ["setup", "test", "demo"])
def test_help_sets_nothing_up(tmp_path, name):
    environment = {
        **os.environ,
        **{f"HIWM_{key}": str(tmp_path / key) for key in ("VENV", "BUILD", "INSTALL")},
    }
    done = subprocess.run(
        [ROOT / "scripts" / name, "--help"], env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )
    assert done.returncode == 0 and f"scripts/{name}" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_setup_refuses_arguments():
    done = subprocess.run(
        [ROOT / "scripts" / "setup", "fast"], capture_output=True, text=True, timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "setup: unknown argument fast; see scripts/setup --help\n"
