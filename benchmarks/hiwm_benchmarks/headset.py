"""The way from a headset's pose to joint targets: page, console and inverse kinematics.

The headset is played in headless Chromium, and moves a hand by a few millimetres. The time starts
in the page, with the picture of the headset that has the new pose. It ends when this process
receives the operator's command, over loopback. The robot has two joint arms, always at their
targets.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hiwm_interfaces.msg import ControlState

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import HiwmError
from hiwm_test_support.following_robot import Graph
from hiwm_test_support.headless_browser import Page
from hiwm_test_support.nodes import NodeProcess
from hiwm_test_support.played_headset import emulator, headset_browser, wear

from .console import PAGE
from .rows import Measured, quantile

POSES = 100
_ROBOT = "yam_pair"
_STEP_M = 0.004
_STILL_S = 0.15  # until the command of the next pose does not wait for the one before
_MOVED_RAD = 1e-4
_LOSSES = 20  # most losses of control, on a machine too busy for the browser
# Moves a hand; returns when the page got the picture with that pose, ms since the epoch.
_MOVE = """new Promise((done) => {
  const { headset } = hiwmHeadset, { position } = headset.hands[0];
  played.move("left", %s);
  headset.look = function (frame, now) {
    const source = [...headset.session.inputSources].find((one) => one.handedness === "left");
    const at = performance.timeOrigin + performance.now();
    const { x, y, z } = frame.getPose(source.gripSpace, headset.space).transform.position;
    const moved = Math.hypot(x - position[0], y - position[1], z - position[2]) > 0.001;
    if (moved) { delete headset.look; done(at); }
    Object.getPrototypeOf(headset).look.call(headset, frame, now);
  };
})"""
# Pictures of the headset in two seconds, and their number each second.
_RATE = """new Promise((done) => {
  const { session } = hiwmHeadset.headset, start = performance.now();
  let count = 0;
  const turn = () => {
    const taken = performance.now() - start;
    if (taken > 2000) done(1000 * count / taken);
    else { count += 1; session.requestAnimationFrame(turn); }
  };
  session.requestAnimationFrame(turn);
})"""


def measure_headset(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the time from a hand's pose to the command that it changes.

    Args:
        launch_file: not used.
        folder: for the session.
        repeats: not used.
        more: not used.

    Raises:
        HiwmError: Chromium is missing, a node did not start, or the page lost control.
    """
    del launch_file, repeats, more
    graph = Graph(load_embodiment(_ROBOT))
    try:
        with NodeProcess("hiwm_control", "arbiter", domain=graph.domain), NodeProcess(
            "hiwm_console", "web_console", domain=graph.domain,
            parameters={"session_dir": str(folder / "session"), "port": 0},
        ) as console, headset_browser() as browser:
            graph.until(lambda: PAGE.search(console.output) is not None)
            address = PAGE.search(console.output)
            if address is None:
                raise HiwmError("the console did not start", where="bench headset",
                                remedy=f"read: {console.output}")
            page = browser.open("about:blank", width=320, height=240)
            wear(page, emulated=emulator() is not None)
            page.go(address[1] + "xr")
            graph.until(lambda: bool(page.run(
                "Boolean(window.hiwmHeadset) && !document.getElementById('enter').disabled"
            )))
            page.click("#enter")
            page.until("hiwmHeadset.headset.hands.length === 2")
            rate = float(page.run(_RATE))
            waits = _poses(graph, page)
    finally:
        graph.end()
    return {
        "headset": Measured(
            value=quantile(waits, 0.95),
            details={
                "p50": quantile(waits, 0.5), "worst": max(waits), "n": len(waits),
                "pictures/s": rate, "headset": "iwer" if emulator() else "simple",
            },
        )
    }


def _poses(graph: Graph, page: Page) -> list[float]:
    """Return the time from each pose to the command that shows it, ms."""
    robot = graph.robot
    page.run("played.move('left', -0.2, -0.4, -0.3)")
    waits: list[float] = []
    takeovers, raised = 0, False
    while len(waits) < POSES:
        if robot.mode != ControlState.HUMAN or not robot.said[-1].deadman:
            if takeovers > _LOSSES:
                raise HiwmError(
                    f"control was lost {_LOSSES} times: {robot.reason}", where="bench headset",
                    remedy="measure on a quieter machine",
                )
            takeovers += 1
            _take_over(graph, page)
        end = time.monotonic() + _STILL_S
        graph.until(lambda end=end: time.monotonic() > end)  # type: ignore[misc]
        received: list[float] = []
        before = np.array(robot.said[-1].action)
        count = len(robot.said)
        raised = not raised
        place = [-0.2, -0.4 + raised * _STEP_M, -0.3]
        started = page.start(_MOVE % json.dumps(place)[1:-1])

        def moved(count: int = count, before: np.ndarray = before,
                  received: list[float] = received) -> bool:
            if any(
                len(command.action) == len(before)
                and np.abs(np.array(command.action) - before).max() > _MOVED_RAD
                for command in robot.said[count:]
            ):
                received.append(1e3 * time.time())
            return bool(received)

        graph.until(lambda moved=moved: moved() or robot.mode != ControlState.HUMAN)  # type: ignore[misc]
        taken = float(started.result())
        if received:
            waits.append(received[0] - taken)
    return waits


def _take_over(graph: Graph, page: Page) -> None:
    """Open the grip and close it, until the robot is driven."""
    robot = graph.robot
    gripped = 0.0

    def grip() -> None:
        nonlocal gripped
        if time.monotonic() - gripped > 3.0:
            gripped = time.monotonic()
            page.run("void played.press('left', 'squeeze', 0)")
            page.until("[...hiwmHeadset.headset.down.values()].every((down) => !down[1])")
            page.run("void played.press('left', 'squeeze', 1)")

    def driven() -> bool:
        return robot.mode == ControlState.HUMAN and robot.said[-1].deadman

    if not graph.until(driven, grip):
        raise HiwmError("the headset did not take over", where=robot.reason)
