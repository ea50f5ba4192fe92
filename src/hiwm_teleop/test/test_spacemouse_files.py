"""Device files of SpaceMice: every model, those of the project, and wrong ones."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspacemouse import get_device_specs, get_supported_devices

from hiwm_core.errors import ConfigError, DeviceError
from hiwm_teleop.devices.device_files import load_device_file, parse_device_file
from hiwm_teleop.devices.spacemouse import SpaceMouseFile
from hiwm_test_support.usb_bus import FULL, SocketMouse

sys.path.insert(0, str(Path(__file__).parent))
from spacemouse_rig import (  # noqa: E402, F401
    MARKS,
    PLAIN,
    Bench,
    bus_fixture,
    library_fixture,
    opened_fixture,
    patient,
)

pytestmark = MARKS


def test_what_is_missing_is_refused_with_those_that_are_there(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    with pytest.raises(DeviceError, match="no SpaceMouse is plugged in.*spacemouse.md"):
        opened()
    mouse = SocketMouse(bus, serial="S1")
    with pytest.raises(DeviceError, match=f"no SpaceMouse S2.*{mouse.node} .serial S1."):
        opened("{serial: S2}")
    with pytest.raises(DeviceError, match="are the same device"):
        opened(f"{{serial: S1}}, {{path: {mouse.node}}}")
    mouse.node.unlink()
    with pytest.raises(DeviceError, match="cannot be opened.*udev"):
        opened()


def test_a_button_no_model_has_is_refused_with_the_nearest(bus: Path) -> None:
    mouse = SocketMouse(bus)
    file = bus / "menu.yaml"
    file.write_text(PLAIN.format(mice="{}", convention="ros").replace("RIGHT:", "RIHGT:"))
    with pytest.raises(DeviceError, match="no SpaceMouse has a button 'RIHGT'.*mean 'RIGHT'"):
        Bench(str(file))
    mouse.unplug()


MODELS = {name: (vendor, product) for name, vendor, product in get_supported_devices()}


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"SpaceMouseUSB"}))
def test_every_model_holds_control_and_moves_with_the_file_that_comes_with_the_project(
    bus: Path, tmp_path: Path, model: str
) -> None:
    specification = get_device_specs()[model]
    name = next(n for n in ("LEFT", "MENU", "BTN_1") if n in specification.button_names)
    button = specification.button_specs[specification.button_names.index(name)]
    x = specification.mappings["x"]
    mouse = SocketMouse(bus, ids=MODELS[model])
    bench = Bench(patient("spacemouse", tmp_path))
    try:
        report = bytearray(8)
        report[0], report[button.byte] = button.channel, 1 << button.bit
        mouse.send(bytes(report))
        report = bytearray(specification.bytes_to_read)
        report[0], report[x.byte1:x.byte2 + 1] = x.channel, FULL.to_bytes(2, "little")
        mouse.send(bytes(report))
        bench.until(lambda done: done.delta is not None and done.delta[0] > 0)
        assert model in bench.lines[0]
    finally:
        bench.device.close()
        mouse.unplug()


def test_a_model_without_a_deadman_is_refused_but_for_a_pedal(bus: Path) -> None:
    mouse = SocketMouse(bus, ids=MODELS["SpaceMouseUSB"])
    with pytest.raises(DeviceError, match="no button of SpaceMouseUSB is.*use a pedal"):
        Bench("spacemouse")
    mouse.unplug()
    mouse.plug()
    Bench("spacemouse_pedal").device.close()
    mouse.unplug()


@pytest.mark.parametrize("name", ["spacemouse", "spacemouse_pair", "spacemouse_pedal"])
def test_the_files_that_come_with_the_project_are_read(name: str) -> None:
    assert load_device_file(name, "spacemouse", SpaceMouseFile).axes["x"].scale == 1.0


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("x: {dead_zone: 0}", "w: {dead_zone: 0}", ["axes", "unknown value 'w'", "roll"]),
        ("hid_z_up", "hid_zup", ["convention", "did you mean 'hid_z_up'"]),
        ("{}]", "{}, {}]", ["mice", "a path or a serial"]),
        ("[{}]", "[]", ["mice", "no mouse"]),
        ("LEFT: deadman", "LEFT: fork", ["buttons", "no button is the deadman"]),
        ("expo: 0.0", "expo: 2.0", ["motion.expo", "0 to 1"]),
        ("expo: 0.0", "lock: vertical", ["motion.lock", "none, translation, planar"]),
    ],
)
def test_a_wrong_file_is_refused_with_file_field_and_remedy(
    old: str, new: str, parts: list[str]
) -> None:
    text = PLAIN.format(mice="{}", convention="hid_z_up")
    assert old in text
    with pytest.raises(ConfigError) as refused:
        parse_device_file(text.replace(old, new), "m.yaml", "spacemouse", SpaceMouseFile)
    for part in ["m.yaml", *parts]:
        assert part in str(refused.value)
