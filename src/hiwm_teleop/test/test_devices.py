"""Devices by name, and the keyboard device as a whole on a pseudo-terminal."""

import dataclasses
import os
import pty
import select

import numpy as np
import pytest

from hiwm_core.config_files import default_task
from hiwm_core.control import Mode, Source
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import DeviceError
from hiwm_core.tasks import load_task
from hiwm_teleop.devices import registry
from hiwm_teleop.devices.base import (
    Answer,
    Device,
    EventKind,
    OperatorEvent,
    OperatorInput,
    OperatorView,
    TickView,
    WorldView,
)
from hiwm_teleop.devices.keyboard import key_motions

WORLD = WorldView(
    kind="imagination", robot="", can_restore=True, can_fork=True, auto_reset=True,
    embodiment=load_embodiment("planar_bimanual"), task=load_task(default_task()),
)
TICK = TickView(
    stamp_ns=1, epoch=1, step=7, episode_id="ep_0001", branch_id="ep_0001-b000",
    applied_source=Source.POLICY, trust=0.8, progress=float("nan"), success=float("nan"),
    images={"top": np.full((96, 96, 3), 235, np.uint8)}, measured=np.zeros(4),
)


class PluggedDevice(Device):
    """A device as another package would add it."""

    name = "plugged"

    def read(self, view):
        return OperatorInput(deadman=True)


class FakeEntry:
    name = "plugged"
    value = "somewhere:PluggedDevice"

    def __init__(self, loaded):
        self.loaded = loaded

    def load(self):
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def test_built_in_devices_and_their_defaults():
    for name in ("keyboard", "scripted"):
        device = registry.device_class(name)()
        assert device.name == name
        assert device.options == {key: o.default for key, o in device.OPTIONS.items()}
    assert registry.device_class("scripted")({"branches": 5}).options["branches"] == 5


def test_an_unknown_device_is_refused_with_the_nearest():
    with pytest.raises(DeviceError, match="did you mean 'keyboard'"):
        registry.device_class("keybord")


def test_devices_of_other_packages(monkeypatch):
    monkeypatch.setattr(registry, "entry_points", lambda group: [FakeEntry(PluggedDevice)])
    assert registry.device_class("plugged")().read(OperatorView(now_s=0.0)).deadman
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [FakeEntry(ImportError("no hidapi"))]
    )
    with pytest.raises(DeviceError, match="no hidapi"):
        registry.device_class("plugged")()
    monkeypatch.setattr(registry, "entry_points", lambda group: [FakeEntry(dict)])
    with pytest.raises(DeviceError, match="not a Device class"):
        registry.device_class("plugged")()


@pytest.fixture
def keyboard():
    ours, theirs = pty.openpty()
    device = registry.device_class("keyboard")({"tty": os.ttyname(theirs)})
    device.open()
    yield device, ours
    device.close()
    os.close(ours)
    os.close(theirs)


def view(now_s, mode=Mode.HUMAN, answers=()):
    return OperatorView(now_s=now_s, world=WORLD, tick=TICK, mode=mode, answers=answers)


def test_keys_become_displacements_at_the_requested_speed(keyboard):
    device, ours = keyboard
    os.write(ours, b"t")
    device.read(view(0.0))
    moved = np.zeros(4)
    for i in range(1, 11):
        os.write(ours, b"wl")
        moved += device.read(view(i * 0.05)).delta
    np.testing.assert_allclose(moved, [0, 0.04, 0.04, 0], atol=1e-9)


def test_every_entry_of_a_joint_arm_has_keys_at_the_speed_of_its_unit(keyboard):
    device, ours = keyboard
    world = dataclasses.replace(WORLD, embodiment=load_embodiment("so101"))

    def read(now_s):
        return device.read(dataclasses.replace(view(now_s), world=world))

    os.write(ours, b"t")
    read(0.0)
    os.write(ours, b"aw[]e")  # [ and ] cancel out: the fifth and the last entry
    np.testing.assert_allclose(read(0.05).delta, [-0.02, 0.02, 0, 0, 0, 0.05], atol=1e-9)
    assert select.select([ours], [], [], 10.0)[0]
    assert "u/o wrist_roll, c/e gripper" in os.read(ours, 4096).decode()


def test_robots_with_more_entries_than_keys_have_a_set_of_keys_for_each_arm():
    aloha = load_embodiment("aloha")
    sets = key_motions(aloha)
    assert [len(motions) for motions in sets] == [7, 7]
    assert {aloha.actions[motion.entry].arm for motion in sets[1]} == {aloha.arms[1]}


def test_keys_move_the_tip_of_a_joint_arm_in_the_chosen_frame_at_the_chosen_speed(keyboard):
    device, ours = keyboard
    world = dataclasses.replace(WORLD, embodiment=load_embodiment("yam_pair"))

    def read(now_s):
        return device.read(dataclasses.replace(view(now_s), world=world))

    os.write(ours, b"t")
    read(0.0)
    os.write(ours, b"dsl]")  # right, nearer, up, gripper opens
    done = read(0.05)
    assert done.steering == "camera top frame, 100 % speed"
    assert done.tips["left"].frame == "camera top"
    np.testing.assert_allclose(done.tips["left"].displacement, [4e-3, -4e-3, 4e-3, 0, 0, 0])
    np.testing.assert_allclose(done.delta[6], 0.05)
    os.write(ours, b"vggpd")  # the other arm, tool, half speed
    done = read(0.2 + 0.15)
    assert done.steering == "tool frame, 50 % speed"
    np.testing.assert_allclose(done.tips["right"].displacement, [4e-3, 0, 0, 0, 0, 0])
    assert set(done.tips) == {"right"} and done.tips["right"].frame == "tool"


def test_a_person_s_next_episode_is_arranged_by_hand_where_no_robot_can_place_the_scene():
    reset = OperatorEvent(kind=EventKind.RESET)
    by_hand = dataclasses.replace(WORLD, auto_reset=False)
    keys, script = (registry.device_class(name)() for name in ("keyboard", "scripted"))
    assert keys.request(reset, by_hand).kind is EventKind.RESET_BY_HAND
    assert keys.request(reset, WORLD).kind is EventKind.RESET
    assert script.request(reset, by_hand).kind is EventKind.RESET


def test_the_status_line_says_mode_step_trust_and_the_last_answer(keyboard):
    device, ours = keyboard
    refused = Answer(kind=EventKind.ROLLBACK, ok=False, message="hardware cannot go back")
    device.read(view(0.0, answers=(refused,)))
    parts = ("[HUMAN]", "ep_0001-b000", "step 7", "trust 0.80", "hardware cannot go back")
    shown = ""
    while not all(part in shown for part in parts):
        assert select.select([ours], [], [], 10.0)[0], shown
        shown += os.read(ours, 4096).decode()


def test_forking_uses_the_node_of_the_last_rollback(keyboard):
    device, ours = keyboard
    done = Answer(kind=EventKind.ROLLBACK, ok=True, message="", node_id="ep_0001-b000:3", epoch=2)
    device.read(view(0.0, answers=(done,)))
    os.write(ours, b"f")
    assert device.read(view(0.1)).events[0].node_id == "ep_0001-b000:3"


def test_the_scripted_operator_waits_for_a_world_but_not_for_ever():
    device = registry.device_class("scripted")({"max_seconds": 1.0})
    device.open()
    start = device._started
    assert device.read(OperatorView(now_s=start)).silent
    with pytest.raises(DeviceError, match="no world"):
        device.read(OperatorView(now_s=start + 2.0))


def test_the_scripted_operator_starts_a_paused_policy():
    device = registry.device_class("scripted")()
    device.open()
    done = device.read(OperatorView(now_s=device._started, world=WORLD, tick=TICK))
    assert [event.kind for event in done.events] == [EventKind.START]
    assert not done.deadman
