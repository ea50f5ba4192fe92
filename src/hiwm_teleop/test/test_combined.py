"""Several devices as one operator, each with its own arms."""

from dataclasses import replace

import numpy as np
import pytest

from hiwm_core.config_files import default_task
from hiwm_core.control import Mode, Source
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError, DeviceError
from hiwm_core.tasks import load_task
from hiwm_core.tips import TipStep
from hiwm_teleop.devices.base import (
    ARMS,
    Device,
    EventKind,
    OperatorEvent,
    OperatorInput,
    OperatorView,
    TickView,
    WorldView,
)
from hiwm_teleop.devices.combined import CombinedDevice
from hiwm_teleop.devices.device_files import load_device_file
from hiwm_teleop.devices.registry import device_class

ROBOT = load_embodiment("yam_pair")
HOME = np.array(ROBOT.home)
WORLD = WorldView(
    kind="imagination", robot="", can_restore=True, can_fork=True, auto_reset=True,
    embodiment=ROBOT, task=load_task(default_task()),
)
TICK = TickView(
    stamp_ns=1, epoch=1, step=7, episode_id="e", branch_id="b", applied_source=Source.POLICY,
    trust=1.0, progress=0.0, success=0.0, images={}, measured=HOME, applied=HOME,
)
STEP = TipStep(displacement=np.array([0.01, 0, 0, 0, 0, 0]))


class Played(Device):
    """A device whose input the test sets."""

    name = "played"
    OPTIONS = {"arms": ARMS}
    made: list["Played"] = []

    def __init__(self, options=None):
        super().__init__(options)
        self.done, self.opened = OperatorInput(), False
        self.made.append(self)

    def open(self):
        self.opened = True

    def close(self):
        self.opened = False

    def read(self, view):
        return self.done


@pytest.fixture
def pair(tmp_path):
    Played.made.clear()
    file = tmp_path / "pair.yaml"
    file.write_text("device: combined\ndevices:\n  - {device: played, arms: [left]}\n"
                    "  - {device: played, arms: [right]}\n")
    device = CombinedDevice({"device_file": str(file)}, find=lambda name: Played)
    device.open()
    left, right = Played.made

    def read(mode=Mode.HUMAN, world=WORLD):
        return device.read(OperatorView(now_s=1.0, world=world, tick=TICK, mode=mode))

    return device, left, right, read


def moving(**more):
    """A device that moves the tips and all entries of both arms, whichever it has."""
    return OperatorInput(deadman=True, delta=np.full(14, 0.1),
                         tips={"left": STEP, "right": STEP}, **more)


def test_each_device_moves_its_own_arms_while_its_own_deadman_is_held(pair):
    device, left, right, read = pair
    assert left.options["arms"] == "left" and left.opened
    assert not read().deadman
    left.done = moving(steering="tool frame, 50 % speed")
    done = read()
    assert done.deadman and set(done.tips) == {"left"}
    np.testing.assert_allclose(done.delta, [0.1] * 7 + [0.0] * 7)
    assert done.action is None and done.steering == "left: tool frame, 50 % speed"
    right.done = OperatorInput(deadman=True, action=HOME + 0.2)  # a leader arm
    done = read()
    np.testing.assert_allclose(done.action, [np.nan] * 7 + list(HOME[7:] + 0.2))
    np.testing.assert_allclose(done.delta, [0.1] * 7 + [0.0] * 7)
    left.done = OperatorInput()
    assert read().deadman and not read().tips
    device.close()
    assert not left.opened and not right.opened


def test_a_lost_device_is_a_loss_of_all_until_every_deadman_was_released(pair):
    _, left, right, read = pair
    left.done = moving()
    read()
    pause = OperatorEvent(kind=EventKind.PAUSE, note="lost")
    right.done = OperatorInput(silent=True, problem="unplugged", events=(pause,))
    lost = read()
    assert lost.silent and lost.problem == "unplugged" and lost.delta is None
    assert [event.kind for event in lost.events] == [EventKind.PAUSE]
    assert [event.kind for event in read().events] == [EventKind.PAUSE]  # the device's own
    right.done = OperatorInput()
    back = read(Mode.PAUSED)
    assert not back.deadman and not back.tips and "is back" in back.message
    left.done = OperatorInput()
    read(Mode.PAUSED)
    left.done = moving()
    assert read(Mode.PAUSED).deadman


@pytest.mark.parametrize(("text", "said"), [
    ("[{device: played, arms: [left]}]", "fewer than two devices"),
    ("[{device: played, arms: [left]}, {device: played, arms: [left]}]", "has two devices"),
    ("[{device: played, arms: [left]}, {device: played, arms: []}]", "has no arm"),
])
def test_a_file_that_does_not_say_who_moves_what_is_refused(tmp_path, text, said):
    file = tmp_path / "pair.yaml"
    file.write_text(f"device: combined\ndevices: {text}\n")
    with pytest.raises(ConfigError, match=said):
        CombinedDevice({"device_file": str(file)}, find=lambda name: Played)


def test_devices_that_no_person_moves_and_arms_that_are_not_there_are_refused(pair, tmp_path):
    _, _, _, read = pair
    with pytest.raises(DeviceError, match="planar_bimanual|no arm"):
        read(world=replace(WORLD, embodiment=load_embodiment("so101")))
    file = tmp_path / "script.yaml"
    file.write_text("device: combined\ndevices:\n  - {device: scripted, arms: [left]}\n"
                    "  - {device: keyboard, arms: [right]}\n")
    with pytest.raises(DeviceError, match="scripted cannot be combined"):
        CombinedDevice({"device_file": str(file)})
    with pytest.raises(DeviceError, match="no devices are named"):
        device_class("combined")()


def test_the_shipped_file_gives_each_device_its_arm():
    device = CombinedDevice({"device_file": "mouse_and_gamepad"})
    assert device.joy_topics == ("joy",)
    mouse, pad = (one for _, one in device._parts)
    assert (mouse.given_arms, pad.given_arms) == (("left",), ("right",))
    with pytest.raises(ConfigError, match="made for device 'combined'"):
        load_device_file("mouse_and_gamepad", "joy", dict)
