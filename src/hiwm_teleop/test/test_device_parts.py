"""Parts of a device as one operator, and a device that is lost."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_core.config_files import default_task
from hiwm_core.control import Mode, Source
from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.errors import DeviceError
from hiwm_core.tasks import load_task
from hiwm_teleop.devices.base import EventKind, OperatorInput, OperatorView, TickView, WorldView
from hiwm_teleop.devices.buttons import Buttons
from hiwm_teleop.devices.device_parts import Part, PartCombiner, Stick, StickState
from hiwm_teleop.devices.motion import AXES, AxisSetting, MotionSettings
from hiwm_test_support.robots import spatial_arm

PLANAR = load_embodiment("planar_bimanual")
TASK = load_task(default_task())
ALL = {axis: AxisSetting(dead_zone=0.0) for axis in AXES}
SETTINGS = MotionSettings(linear_m_s=0.1, angular_rad_s=1.0, expo=0.0)
USES: dict[str, Any] = {"A": "deadman", "B": "next_arm", "C": "gripper", "L": "next_lock",
                        "F": "next_frame", "S": "next_speed"}


class Bench:
    """A device with one stick; the test acts as its hardware."""

    def __init__(self, robot: Embodiment = PLANAR, arms: tuple[str, ...] = ()) -> None:
        self.robot = robot
        self.hand = Stick(arms=arms, axes=ALL, settings=SETTINGS, where="pad.yaml: hands[0]")
        self.buttons: Buttons[str] = Buttons(USES, 5, "pad")
        self.combiner = PartCombiner("pad")
        self.now = 100.0
        self.mode = Mode.HUMAN
        self.opening = 1.0
        self.read("")

    def read(self, down: str, problem: str = "", **values: float) -> OperatorInput:
        """Pass 10 ms, with buttons down and axes deflected."""
        self.now += 0.01
        self.buttons.feed(dict.fromkeys(down, True))
        deflected = {axis: values.get(axis, 0.0) for axis in AXES}
        state = StickState(hand=self.hand, values=deflected, received_s=self.now - 0.01)
        world = WorldView(
            kind="imagination", robot="", can_restore=True, can_fork=True, auto_reset=True,
            embodiment=self.robot, task=TASK,
        )
        tick = TickView(
            stamp_ns=1, epoch=1, step=1, episode_id="e", branch_id="b", applied_source=Source.NONE,
            trust=1.0, progress=0.0, success=0.0, images={},
            measured=np.full(self.robot.action_dim, self.opening),
        )
        view = OperatorView(now_s=self.now, world=world, tick=tick, mode=self.mode)
        return self.combiner.turn(
            view, [Part(buttons=self.buttons, hands=(state,), problem=problem)]
        )


def test_a_hand_moves_the_arm_it_is_on_and_a_button_takes_it_to_the_next() -> None:
    bench = Bench()
    np.testing.assert_allclose(bench.read("A", x=1.0).delta, [0.001, 0, 0, 0])
    done = bench.read("AB", x=1.0)
    assert done.message == "arm right"
    np.testing.assert_allclose(bench.read("A", x=1.0).delta, [0, 0, 0.001, 0])
    bench.read("AB")
    np.testing.assert_allclose(bench.read("A", y=-1.0).delta[:2], [0, -0.001])


def test_a_hand_keeps_to_the_arms_it_was_given() -> None:
    bench = Bench(arms=("right",))
    np.testing.assert_allclose(bench.read("AB", x=1.0).delta, [0, 0, 0.001, 0])


def test_nothing_moves_while_the_deadman_is_up() -> None:
    bench = Bench()
    assert bench.read("", x=1.0).delta is None and not bench.read("", x=1.0).deadman


def test_a_hand_moves_the_tip_of_a_joint_arm_in_the_chosen_frame_at_the_chosen_speed() -> None:
    bench = Bench(load_embodiment("yam_pair"))
    done = bench.read("A", x=1.0, pitch=1.0)
    assert done.delta is not None and not done.delta.any()
    np.testing.assert_allclose(done.tips["left"].displacement, [1e-3, 0, 0, 0, 0.01, 0])
    assert (done.tips["left"].frame, done.steering) == (
        "camera top", "camera top frame, 100 % speed"
    )
    assert bench.read("AFS").message == "base frame, 50 % speed"
    bench.read("A", x=1.0)
    done = bench.read("A", x=1.0)
    np.testing.assert_allclose(done.tips["left"].displacement, [5e-4, 0, 0, 0, 0, 0])
    assert done.tips["left"].frame == "base"
    bench.read("AB")
    assert set(bench.read("A", x=1.0).tips) == {"right"}
    assert bench.read("", x=1.0).tips == {}


def test_a_lock_button_goes_through_the_locks() -> None:
    bench = Bench(spatial_arm())
    lines = []
    free = []
    for down in ("A", "AL", "AL", "AL"):
        lines.append(bench.read(down, **dict.fromkeys(AXES, 1.0)).message)
        bench.read("A")
        moved = bench.read("A", **dict.fromkeys(AXES, 1.0)).delta
        free.append([axis for axis, way in zip(AXES, moved, strict=False) if way])
    assert lines == ["", "axis lock translation", "axis lock planar", "axis lock none"]
    assert free == [list(AXES), ["x", "y", "z"], ["x", "y", "yaw"], list(AXES)]


@pytest.mark.parametrize(("opening", "ways"), [(1.0, [-1, 1]), (0.0, [1, -1])])
def test_a_gripper_toggles_at_a_press_and_keeps_moving(opening: float, ways: list[int]) -> None:
    bench = Bench(spatial_arm())
    bench.opening = opening * 6 - 3
    for way in ways:
        done = bench.read("AC")
        assert ("closes" if way < 0 else "opens") in done.message
        for _ in range(3):
            assert bench.read("A").delta[6] == pytest.approx(0.01 * way)


def test_a_gripper_toggles_only_with_the_deadman_and_only_if_present() -> None:
    bench = Bench(spatial_arm())
    assert bench.read("C").message == ""
    assert bench.read("A").delta[6] == 0.0
    assert "no gripper" in Bench().read("AC").message


def test_a_robot_these_hands_cannot_drive_is_refused_by_name() -> None:
    with pytest.raises(DeviceError, match=r"spatial has no arm 'left' \(pad.yaml: hands\[0\]\)"):
        Bench(spatial_arm(), arms=("left",))


def test_a_device_lost_in_control_pauses_once_and_is_silent_until_it_is_back() -> None:
    bench = Bench()
    bench.read("A", x=1.0)
    lost = bench.read("A", problem="unplugged", x=1.0)
    assert [event.kind for event in lost.events] == [EventKind.PAUSE]
    assert "pad: unplugged" in lost.events[0].note and lost.message == "pad: unplugged"
    assert lost.silent and not lost.deadman and lost.delta is None
    again = bench.read("A", problem="unplugged")
    assert again.silent and not again.events and not again.message
    assert again.problem == "unplugged"


@pytest.mark.parametrize("mode", [Mode.POLICY, Mode.PAUSED, Mode.HANDBACK, Mode.STOPPED])
def test_a_device_lost_out_of_control_disturbs_nobody(mode: Mode) -> None:
    bench = Bench()
    bench.mode = mode
    lost = bench.read("", problem="unplugged")
    assert lost.silent and not lost.events


def test_after_a_loss_the_deadman_counts_only_after_a_release() -> None:
    bench = Bench()
    bench.read("A")
    bench.read("A", problem="unplugged")
    back = bench.read("A", x=1.0)
    assert not back.silent and not back.deadman and back.delta is None
    assert "release its deadman" in back.message
    assert not bench.read("A").deadman
    bench.read("")
    assert bench.read("A").deadman


def test_a_deadman_released_and_pressed_between_two_reads_counts() -> None:
    bench = Bench()
    bench.read("A")
    bench.read("A", problem="unplugged")
    bench.buttons.feed({})
    back = bench.read("A")
    assert back.deadman and back.message == "pad is back"


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(-1, 1)), max_size=50))
def test_it_moves_only_while_it_is_there_and_its_deadman_was_pressed_since_it_came(
    script: list[tuple[bool, bool, float]]
) -> None:
    bench = Bench()
    let_go, pauses, losses_in_control = True, 0, 0
    held = False
    for lost, down, x in script:
        done = bench.read("A" if down else "", problem="gone" if lost else "", x=x)
        pauses += sum(event.kind is EventKind.PAUSE for event in done.events)
        if lost:
            losses_in_control += held
            let_go = held = False
            assert done.silent and done.delta is None and not done.deadman
            continue
        let_go = let_go or not down
        held = down and let_go
        assert done.deadman == held and not done.silent
        assert (done.delta is not None) == held
    assert pauses == losses_in_control
