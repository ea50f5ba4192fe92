"""SpaceMice from raw reports: the unmodified pyspacemouse over a hidapi built here."""

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hiwm_teleop.devices.base import EventKind, JoySample
from hiwm_test_support import usb_bus
from hiwm_test_support.robots import spatial_arm
from hiwm_test_support.usb_bus import FULL, WIRELESS, SocketMouse

sys.path.insert(0, str(Path(__file__).parent))
from spacemouse_rig import (  # noqa: E402, F401
    LEFT,
    MARKS,
    RIGHT,
    Bench,
    bus_fixture,
    library_fixture,
    opened_fixture,
    patient,
)

pytestmark = MARKS


# Signs as pyspacemouse documents its conventions: HID is +x right, +y towards the user, +z down.
@pytest.mark.parametrize(
    ("convention", "signs"),
    [("hid", [1, 2, 3, 4, 5, 6]), ("hid_z_up", [1, -2, -3, 4, -5, -6]),
     ("ros", [-2, -1, -3, -5, -4, -6])],
)
@pytest.mark.parametrize("ids", [usb_bus.SPACE_NAVIGATOR, WIRELESS], ids=["two", "combined"])
def test_both_kinds_of_reports_move_the_axes_of_the_convention(
    bus: Path, opened: Callable[..., Bench], convention: str, signs: list[int],
    ids: tuple[int, int],
) -> None:
    mouse = SocketMouse(bus, ids=ids)
    bench = opened(convention=convention, robot=spatial_arm())
    mouse.press(LEFT)
    raw = [10, 20, 30, 40, 50, 60]

    def feed() -> None:
        if ids == WIRELESS:
            mouse.move_and_turn(*raw)
        else:
            mouse.move(*raw[:3])
            mouse.turn(*raw[3:])

    velocity = bench.velocity(feed)
    wanted = np.array([np.sign(s) * raw[abs(s) - 1] / FULL for s in signs])
    wanted[:3] *= 0.1
    # Time passes between the first report and the count: the shape is exact, the size nearly.
    np.testing.assert_allclose(velocity[:6], wanted, rtol=0.5)
    scaled = velocity[:6] / wanted
    np.testing.assert_allclose(scaled, scaled[0], rtol=0.1)
    assert velocity[6] == 0.0


def test_each_button_press_counts_once(bus: Path, opened: Callable[..., Bench]) -> None:
    mouse = SocketMouse(bus)
    bench = opened(robot=spatial_arm())
    for report in ([], [RIGHT], [], [RIGHT], []):
        mouse.press(*report)
    mouse.press(LEFT)
    events = []
    bench.until(lambda done: events.extend(done.events) or done.deadman)
    assert [event.kind for event in events] == [EventKind.ROLLBACK] * 2
    mouse.press(LEFT, RIGHT)
    assert "gripper closes" in bench.until(lambda done: bool(done.message)).message
    mouse.press()
    bench.until(lambda done: not done.deadman)


def test_a_burst_is_drained_and_the_newest_report_counts(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened()
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)
    for _ in range(150):
        mouse.move(x=FULL)
    mouse.move(x=0)
    mouse.press()
    bench.until(lambda done: not done.deadman)
    mouse.press(LEFT)
    done = bench.until(lambda done: done.deadman)
    assert not np.any(done.delta)


def test_garbage_moves_no_faster_than_a_hand_and_is_forgotten(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened()
    chance = random.Random(4)
    for _ in range(300):
        mouse.send(bytes(chance.randrange(256) for _ in range(chance.randrange(1, 40))))
        mouse.send(bytes([chance.choice((1, 2, 3)), *(chance.randrange(256) for _ in range(6))]))
        done = bench.read()
        if done.delta is not None:
            # At most full speed over the longest gap between reads.
            assert np.abs(done.delta).max() <= 0.1 * 0.1 + 1e-9
    mouse.move(x=32767, y=-32768)
    mouse.turn()
    mouse.press()
    bench.until(lambda done: not done.deadman)
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)
    # A value that no cap reaches counts as rest.
    assert not np.any(bench.read().delta)


def test_a_device_gone_wild_does_not_keep_the_node_busy(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened()
    before, began = bench.told, time.monotonic()
    for i in range(3000):
        mouse.move(x=i % 200)
    assert bench.told - before <= 600 * (time.monotonic() - began) + 5


def test_two_mice_by_path_and_serial_move_an_arm_each(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    other = SocketMouse(bus, "hidraw1", serial="other")
    right = SocketMouse(bus, "hidraw2", serial="R7")
    left = SocketMouse(bus, "hidraw3", ids=WIRELESS)
    link = bus / "left"
    link.symlink_to(left.node)
    bench = opened(f"{{path: {link}, arms: [left]}}, {{serial: R7, arms: [right]}}")
    left.press(LEFT)

    def feed() -> None:
        left.move_and_turn(100, 0, 0, 0, 0, 0)
        right.move(x=200)

    moved = bench.velocity(feed)
    assert moved[2] / moved[0] == pytest.approx(2.0, rel=0.3)
    assert not moved[[1, 3]].any()
    other.unplug()
    assert not bench.read().problem
    right.unplug()
    lost = bench.until(lambda done: bool(done.problem))
    assert lost.problem.startswith("R7 lost")


def test_a_receiver_is_opened_where_its_cap_is_and_not_its_keyboard(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    keyboard = SocketMouse(bus, "hidraw0", ids=WIRELESS, usage=(1, 6))
    cap = SocketMouse(bus, "hidraw1", ids=WIRELESS)
    bench = opened()
    cap.press(LEFT)
    bench.until(lambda done: done.deadman)
    assert str(cap.node) in bench.lines[0]
    keyboard.unplug()


def test_a_pedal_holds_control_and_the_cap_moves(
    bus: Path, tmp_path: Path
) -> None:
    mouse = SocketMouse(bus)
    bench = Bench(patient("spacemouse_pedal", tmp_path))
    try:
        assert bench.device.joy_topics == ("pedal/joy",)
        assert "start its driver" in bench.read().problem

        def pedal(down: int) -> None:
            bench.joy["pedal/joy"] = JoySample(
                axes=(), buttons=(down,), received_s=time.monotonic()
            )

        pedal(0)
        assert not bench.read().deadman
        for _ in range(5):
            mouse.move(x=FULL)
            time.sleep(0.01)
            pedal(1)
            done = bench.read()
        assert done.deadman and done.delta is not None and done.delta[0] > 0
        mouse.move()
        lost = bench.until(lambda done: "pedal/joy" in done.problem)
        assert lost.silent
    finally:
        bench.device.close()
