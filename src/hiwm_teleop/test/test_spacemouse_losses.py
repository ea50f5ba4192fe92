"""A SpaceMouse that is unplugged, replaced or frozen, and what it takes to drive again."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hiwm_teleop.devices.base import EventKind
from hiwm_test_support.usb_bus import FULL, SocketMouse

sys.path.insert(0, str(Path(__file__).parent))
from spacemouse_rig import (  # noqa: E402, F401
    LEFT,
    MARKS,
    Bench,
    bus_fixture,
    library_fixture,
    opened_fixture,
)

pytestmark = MARKS


def test_an_unplugged_mouse_is_lost_and_not_at_rest(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened()
    mouse.press(LEFT)
    mouse.move(x=FULL)
    bench.until(lambda done: done.deadman and done.delta is not None and done.delta[0] > 0)
    mouse.unplug()
    lost = bench.until(lambda done: bool(done.problem))
    assert lost.silent and not lost.deadman and lost.delta is None
    assert [event.kind for event in lost.events] == [EventKind.PAUSE]
    assert "lost" in lost.events[0].note
    time.sleep(0.3)
    again = bench.read()
    assert again.silent and not again.events


def test_a_driver_that_reads_on_as_if_nothing_had_happened_is_found_out_by_the_node(
    bus: Path, opened: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_HIDAPI_QUIET", "1")
    mouse = SocketMouse(bus)
    bench = opened()
    mouse.press(LEFT)
    mouse.move(x=0)
    bench.until(lambda done: done.deadman)
    mouse.unplug()
    lost = bench.until(lambda done: bool(done.problem))
    assert "is gone" in lost.problem and lost.silent


def test_another_mouse_in_its_place_is_not_the_one_that_was_there(
    bus: Path, opened: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_HIDAPI_QUIET", "1")
    mouse = SocketMouse(bus)
    bench = opened()
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)
    mouse.unplug()
    mouse.plug()
    # Replaced faster than the loss is detected: the new mouse does not hold the deadman.
    bench.until(lambda done: not done.deadman)
    monkeypatch.delenv("FAKE_HIDAPI_QUIET")
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)


def test_after_a_loss_it_is_read_again_and_needs_a_new_press(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened()
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)
    mouse.unplug()
    bench.until(lambda done: bool(done.problem))
    mouse.plug()
    back = bench.until(lambda done: not done.problem)
    assert not back.deadman and not back.silent
    mouse.press(LEFT)
    mouse.move(x=FULL)
    bench.until(lambda done: done.deadman and done.delta is not None and done.delta[0] > 0)


def test_a_cap_held_aside_that_sends_nothing_is_frozen_and_one_at_rest_is_not(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened(silent_after_s=0.1)
    mouse.press(LEFT)
    mouse.move(x=FULL)
    frozen = bench.until(lambda done: bool(done.problem))
    assert "frozen" in frozen.problem and frozen.silent
    assert [event.kind for event in frozen.events] == [EventKind.PAUSE]
    mouse.move(x=FULL)
    held = bench.until(lambda done: not done.problem)
    assert not held.deadman
    mouse.move(x=0)
    mouse.press()
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)
    for _ in range(30):
        time.sleep(0.01)
        assert not bench.read().problem
