"""The container files name only paths, packages and services that exist.

The tests only read the files and use no container engine.
"""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = ROOT / "docker" / "compose.yaml"


def instructions():
    """Return the Dockerfile as (instruction, arguments), with continuation lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def compose():
    return yaml.safe_load(COMPOSE.read_text())


def test_every_copied_path_exists():
    sources = []
    for instruction, arguments in instructions():
        if instruction == "COPY":
            sources += arguments.split()[:-1]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_no_copied_path_is_ignored():
    ignored = (ROOT / "docker" / "Dockerfile.dockerignore").read_text().split("\n")
    copied = {
        source.rstrip("/")
        for instruction, arguments in instructions() if instruction == "COPY"
        for source in arguments.split()[:-1]
    }
    assert copied.isdisjoint(ignored)


def test_apt_packages_match_the_install_page_and_setup():
    [installed] = [
        re.search(r"install -y --no-install-recommends (.+?) &&", arguments).group(1).split()
        for instruction, arguments in instructions()
        if instruction == "RUN" and "apt-get install" in arguments
    ]
    known = {
        "libegl-mesa0", "libegl1", "libgl1", "libgl1-mesa-dri",  # the stand-in's camera
        "libhidapi-hidraw0",                                     # SpaceMouse drivers
        "python3-pip", "python3-venv",
    }
    assert set(installed) == known
    page = (ROOT / "docs" / "install.md").read_text()
    for name in ("libegl1", "libegl-mesa0", "libgl1", "libgl1-mesa-dri"):
        assert name in page and name in (ROOT / "scripts" / "setup").read_text()


def test_pip_lists_exist():
    text = DOCKERFILE.read_text()
    lists = re.findall(r"-[rc] (requirements/\S+)", text)
    assert lists == ["requirements/jazzy.txt", "requirements/cuda.txt"]
    assert all((ROOT / path).exists() for path in lists)


def test_command_launches_a_file_that_exists():
    [command] = [
        yaml.safe_load(arguments)
        for instruction, arguments in instructions() if instruction == "CMD"
    ]
    assert command[:2] == ["ros2", "launch"]
    assert (ROOT / command[2]).exists()


def test_entry_point_is_executable_and_sources_files_of_the_workspace():
    entry = ROOT / "docker" / "entrypoint.sh"
    assert entry.stat().st_mode & 0o111
    workspace = re.findall(r"source /workspace/(\S+)", entry.read_text())
    assert workspace and all((ROOT / path).exists() for path in workspace)


@pytest.mark.parametrize("name", ["session", "session-gpu"])
def test_compose_service_reaches_network_devices_and_display(name):
    service = compose()["services"][name]
    assert service["network_mode"] == "host"
    assert service["ipc"] == "host"
    assert (COMPOSE.parent / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]) == DOCKERFILE
    assert "/dev:/dev" in service["volumes"]
    assert "DISPLAY" in service["environment"]
    rules = " ".join(service["device_cgroup_rules"])
    assert "188:" in rules and "166:" in rules and "HIDRAW_MAJOR" in rules


def test_only_the_gpu_service_requests_a_gpu():
    services = compose()["services"]
    devices = services["session-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices[0]["driver"] == "nvidia" and devices[0]["capabilities"] == ["gpu"]
    assert "deploy" not in services["session"]


def test_compose_variables_have_defaults():
    """compose replaces a missing variable with an empty string, so each needs a default."""
    variables = re.findall(r"\$\{([^}]+)\}", COMPOSE.read_text())
    assert variables
    assert [variable for variable in variables if ":-" not in variable] == []
