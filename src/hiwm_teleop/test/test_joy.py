"""Gamepads and pedals through sensor_msgs/Joy, with the files that come with the project."""

import dataclasses
import math

import numpy as np
import pytest

from hiwm_core.config_files import default_task
from hiwm_core.control import Mode, Source
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.tasks import load_task
from hiwm_teleop.devices.base import (
    EventKind,
    JoySample,
    OperatorInput,
    OperatorView,
    TickView,
    WorldView,
)
from hiwm_teleop.devices.device_files import load_device_file, parse_device_file
from hiwm_teleop.devices.joy import JoyDevice, JoyFile

WORLD = WorldView(
    kind="imagination", robot="", can_restore=True, can_fork=True, auto_reset=True,
    embodiment=load_embodiment("planar_bimanual"), task=load_task(default_task()),
)
TICK = TickView(
    stamp_ns=1, epoch=1, step=7, episode_id="e", branch_id="b", applied_source=Source.POLICY,
    trust=1.0, progress=0.0, success=0.0, images={}, measured=np.zeros(4),
)
LEFT_SHOULDER, A, START, LEFT_STICK = 9, 0, 6, 7


class Bench:
    """A joy device; the test acts as its driver, with 100 messages a second."""

    def __init__(self, file: str, world: WorldView = WORLD, tick: TickView = TICK) -> None:
        self.world, self.tick = world, tick
        self.device = JoyDevice({"device_file": file})
        self.now = 50.0
        self.sample: JoySample | None = None

    def feed(
        self, *down: int, axes: tuple[float, ...] = (0.0,) * 6, buttons: int = 21,
        mode: Mode = Mode.HUMAN,
    ) -> OperatorInput:
        self.now += 0.01
        self.sample = JoySample(
            axes=axes, buttons=tuple(int(i in down) for i in range(buttons)), received_s=self.now
        )
        return self.read(mode)

    def read(self, mode: Mode = Mode.HUMAN, wait: float = 0.0) -> OperatorInput:
        self.now += wait
        heard = {self.device.joy_topics[0]: self.sample} if self.sample else {}
        return self.device.read(
            OperatorView(now_s=self.now, world=self.world, tick=self.tick, mode=mode, joy=heard)
        )


def test_sticks_move_both_arms_up_and_right_being_plus() -> None:
    bench = Bench("gamepad")
    bench.feed()
    # The driver's sticks are positive to the left and up.
    full = (-1.0, 1.0, 1.0, -1.0, 0.0, 0.0)
    for _ in range(2):
        done = bench.feed(LEFT_SHOULDER, axes=full)
    assert done.deadman
    np.testing.assert_allclose(done.delta, np.array([1, 1, -1, -1]) * 0.12 * 0.01)


def test_buttons_ask_for_what_the_file_says() -> None:
    bench = Bench("gamepad")
    bench.feed()
    done = bench.feed(A)
    assert [event.kind for event in done.events] == [EventKind.LABEL]
    assert not bench.feed(A).events
    assert bench.feed(START, mode=Mode.PAUSED).events[0].kind is EventKind.START
    bench.feed(LEFT_SHOULDER)
    assert "arm left has no gripper" in bench.feed(LEFT_SHOULDER, LEFT_STICK).message


def test_a_driver_that_falls_silent_is_a_lost_device() -> None:
    bench = Bench("gamepad")
    assert "start its driver" in bench.read().problem and bench.read().silent
    bench.feed()
    assert bench.feed(LEFT_SHOULDER).deadman
    assert bench.read(wait=0.19).deadman
    lost = bench.read(wait=0.02)
    assert lost.silent and lost.events[0].kind is EventKind.PAUSE and "0.2 s" in lost.problem
    # A driver may return with its last level, although nobody holds the button.
    assert not bench.feed(LEFT_SHOULDER).deadman
    bench.feed()
    assert bench.feed(LEFT_SHOULDER).deadman


@pytest.mark.parametrize(
    ("axes", "said"),
    [((0.0, 0.0), "2 axes"), ((), "0 axes"), ((0.0, math.nan, 0.0, 0.0), "not a number"),
     ((0.0, 0.0, math.inf, 0.0), "not a number")],
)
def test_a_message_that_cannot_be_used_moves_nothing_and_says_why(
    axes: tuple[float, ...], said: str
) -> None:
    bench = Bench("gamepad")
    bench.feed()
    bench.feed(LEFT_SHOULDER)
    done = bench.feed(LEFT_SHOULDER, axes=axes)
    assert done.silent and done.delta is None and said in done.problem


def test_more_than_full_deflection_is_full_and_missing_buttons_are_up() -> None:
    bench = Bench("gamepad")
    bench.feed(buttons=0)
    for _ in range(2):
        done = bench.feed(LEFT_SHOULDER, axes=(-900.0, 0, 0, 0, 0, 0), buttons=10)
    np.testing.assert_allclose(done.delta, [0.0012, 0, 0, 0])


def test_a_pedal_by_itself_holds_the_robot_in_place() -> None:
    bench = Bench("foot_pedal")
    assert bench.device.joy_topics == ("pedal/joy",)
    bench.feed(axes=(), buttons=1)
    done = bench.feed(0, axes=(), buttons=1)
    assert done.deadman and not np.any(done.delta)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("topic: a b\nbuttons: {0: deadman}", ["pad.yaml: topic", "'a b'"]),
        ("topic: joy\nbuttons: {0: pause}", ["pad.yaml: buttons", "no button is the deadman"]),
        ("topic: joy\nbuttons: {0: deadman, 1: gripper}", ["buttons.1", "under that hand"]),
        ("topic: joy\nbuttons: {0: deadman, 1: {driving: next_arm}}", ["buttons.1", "next_arm"]),
        ("topic: joy\nbuttons: {0: deadmn}", ["buttons.0", "did you mean 'deadman'"]),
        ("topic: joy\nbuttons: {0: deadman}\nhands: [{axes: {w: {axis: 0}}}]",
         ["hands[0].axes", "unknown value 'w'", "x, y, z, roll, pitch, yaw"]),
        ("topic: joy\nbuttons: {0: deadman}\nhands: [{axes: {x: {scale: 1}}}]",
         ["hands[0].axes.x", "missing key 'axis'"]),
    ],
)
def test_a_wrong_file_is_refused_with_file_field_and_remedy(
    text: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_device_file(f"device: joy\nstale_after_s: 0.2\n{text}\n", "pad.yaml", "joy", JoyFile)
    for part in parts:
        assert part in str(refused.value)


def test_a_file_of_another_device_is_refused_with_the_way_to_start_it() -> None:
    with pytest.raises(ConfigError, match="device:=spacemouse"):
        load_device_file("spacemouse", "joy", JoyFile)


def test_a_gamepad_for_six_axes_moves_tips_in_turn_and_a_trigger_is_the_gripper() -> None:
    robot = load_embodiment("yam_pair")
    tick = dataclasses.replace(TICK, measured=np.array(robot.home))
    bench = Bench("gamepad_6dof", dataclasses.replace(WORLD, embodiment=robot), tick)
    bench.feed()
    done = bench.feed(LEFT_SHOULDER, axes=(-1.0, 0, 0, 1.0, 0, 0))
    done = bench.feed(LEFT_SHOULDER, axes=(-1.0, 0, 0, 1.0, 0, 0.75))
    step = done.tips["left"]
    np.testing.assert_allclose(step.displacement, [0.0012, 0, 0.0012, 0, 0, 0], atol=1e-9)
    assert step.frame == "camera top"
    assert done.action is not None and done.action[6] == 0.25
    assert np.isnan(np.delete(done.action, 6)).all()
    done = bench.feed(LEFT_SHOULDER, 8, 13, 14, axes=(0.0, 0, 1.0, 0, 0, 0.75))
    assert "arm right" in done.message and "base frame, 50 % speed" in done.message
    assert done.action is not None and np.isnan(done.action).all()  # it holds what it holds
    bench.feed(LEFT_SHOULDER, axes=(0.0, 0, 1.0, 0, 0, 0.0))
    done = bench.feed(LEFT_SHOULDER, axes=(0.0, 0, 1.0, 0, 0, 0.3))
    np.testing.assert_allclose(done.tips["right"].displacement, [0, 0, 0, 0, 0, 0.004])
    assert done.action is not None and done.action[13] == pytest.approx(0.7)
    lost = bench.feed(LEFT_SHOULDER, axes=(0.0, 0, 1.0, 0))
    assert lost.silent and "trigger is set to axis 5" in lost.problem
