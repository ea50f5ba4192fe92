"""The teleop node with a SpaceMouse, a gamepad and wrong device files."""

import array
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from hiwm_interfaces.msg import (
    Command,
    ControlState,
)
from sensor_msgs.msg import Joy

from hiwm_nodes import qos
from hiwm_test_support import usb_bus
from hiwm_test_support.nodes import NodeProcess
from hiwm_test_support.usb_bus import FULL, SocketMouse

sys.path.insert(0, str(Path(__file__).parent))
from spacemouse_rig import patient  # noqa: E402
from teleop_rig import HOME, PATIENT, graph_fixture  # noqa: E402, F401

pytestmark = pytest.mark.nodes


def repeating(send, done):
    """Return a function that sends at most a hundred times a second, as devices do."""
    sent = [0.0]

    def repeat():
        if time.monotonic() - sent[0] >= 0.01:
            sent[0] = time.monotonic()
            send()
        return done()

    return repeat


@pytest.fixture
def states(graph):
    heard = []
    graph.world.create_subscription(ControlState, "control_state", heard.append, qos.LATCHED)
    return heard


@pytest.fixture
def mouse(tmp_path, monkeypatch):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    library, bus = tmp_path / "lib", tmp_path / "usb"
    library.mkdir()
    bus.mkdir()
    for name, value in usb_bus.environment(usb_bus.build(library), bus).items():
        monkeypatch.setenv(name, value)
    plugged = SocketMouse(bus)
    yield plugged
    plugged.unplug()


def test_a_spacemouse_takes_over_moves_is_lost_comes_back_and_hands_back(
    graph, states, mouse, tmp_path
):
    said, world = graph.world.said, graph.world
    options = {"device": "spacemouse", "device_file": patient("spacemouse", tmp_path)}
    health = []
    world.create_subscription(
        DiagnosticArray, "/diagnostics",
        lambda array: health.extend(s for s in array.status if s.name == "/teleop"), 100,
    )
    with NodeProcess("hiwm_control", "arbiter", domain=graph.domain,
                     parameters={"start_mode": "policy", **PATIENT}), NodeProcess(
        "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
    ) as teleop:
        assert graph.until(lambda: bool(said) and Command.SOURCE_POLICY in world.sources), (
            teleop.output
        )
        assert not said[-1].deadman and said[-1].device == "spacemouse"

        mouse.press(0)
        assert graph.until(repeating(lambda: mouse.move(x=FULL), lambda: any(
            c.deadman and c.action and c.action[0] > HOME[0] + 0.008 for c in said
        ))), teleop.output
        assert Command.SOURCE_HUMAN in world.sources
        moved = np.array([list(c.action) for c in said if c.deadman and c.action]) - HOME
        # The target starts at the arm's position, and every step is small.
        np.testing.assert_allclose(moved[0], 0.0, atol=1e-6)
        assert (np.diff(moved[:, 0], prepend=0.0) <= 0.12 * 0.1 + 1e-6).all()
        np.testing.assert_allclose(moved[:, 1:], 0.0, atol=1e-6)

        mouse.unplug()
        assert graph.until(lambda: states[-1].mode == ControlState.PAUSED), teleop.output
        assert "lost" in states[-1].reason
        assert graph.until(lambda: any(status.level == DiagnosticStatus.ERROR for status in health))
        values = {pair.key: pair.value for pair in health[-1].values}
        assert "lost" in health[-1].message and float(values["takeover_to_frame_p95_s"]) > 0.0
        # Messages in transit arrive; then there is silence, and nothing moves.
        quiet = False
        for _ in range(20):
            count, steps = len(said), world.step
            graph.until(lambda: False, 0.5)
            quiet = (len(said), world.step) == (count, steps)
            if quiet:
                break
        assert quiet

        mouse.plug()
        assert graph.until(lambda: len(said) > count), teleop.output
        assert states[-1].mode == ControlState.PAUSED
        mouse.press(0)
        assert graph.until(lambda: states[-1].mode == ControlState.HUMAN), teleop.output
        mouse.press()
        assert graph.until(lambda: states[-1].mode == ControlState.POLICY), teleop.output
        assert Command.SOURCE_HANDBACK in world.sources
        assert "SpaceNavigator at" in teleop.output and "is back" in teleop.output


def test_a_gamepad_works_through_joy_and_its_silence_pauses(graph, states, tmp_path):
    said = graph.world.said
    options = {"device": "joy", "device_file": patient("gamepad", tmp_path)}
    sticks = graph.world.create_publisher(Joy, "joy", 10)
    down = array.array("i", [0] * 21)
    axes = array.array("f", [0.0] * 6)

    def drive(done):
        return repeating(lambda: sticks.publish(Joy(axes=axes, buttons=down)), done)

    with NodeProcess(
        "hiwm_control", "arbiter", domain=graph.domain, parameters=PATIENT
    ), NodeProcess(
        "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
    ) as teleop:
        assert graph.until(drive(lambda: bool(said))), teleop.output
        down[10], axes[2] = 1, -1.0
        assert graph.until(drive(lambda: any(
            c.deadman and c.action and c.action[2] > HOME[2] + 0.008 for c in said
        ))), teleop.output
        assert graph.until(drive(lambda: bool(states) and states[-1].mode == ControlState.HUMAN))
        assert graph.until(lambda: states[-1].mode == ControlState.PAUSED), teleop.output
        assert "no message on joy" in states[-1].reason
        # The driver returns with its last level, although nobody presses the button.
        count = len(said)
        assert graph.until(drive(lambda: len(said) > count + 20)), teleop.output
        assert not any(command.deadman for command in said[count + 2:])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("device: joy\ntopic: joy\nstale_after_s: 0.2\nbuttons: {0: deadman}\n"
         "hands: [{axes: {w: {axis: 0}}}]\n", ["hands[0].axes", "'w'", "x, y, z"]),
        ("device: spacemouse\n", ["device:=spacemouse"]),
    ],
)
def test_a_wrong_device_file_is_one_clear_line(graph, tmp_path, text, parts):
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    options = {"device": "joy", "device_file": str(file)}
    with NodeProcess("hiwm_teleop", "teleop", domain=graph.domain, parameters=options) as teleop:
        assert teleop.wait() == 1
        lines = [line for line in teleop.output.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    for part in [str(file), *parts]:
        assert part in lines[0]


def test_a_device_file_for_a_device_without_one_is_refused(graph):
    options = {"device": "scripted", "device_file": "gamepad"}
    with NodeProcess("hiwm_teleop", "teleop", domain=graph.domain, parameters=options) as teleop:
        assert teleop.wait() == 1
    assert "'scripted' reads no device file, and 'gamepad' was given" in teleop.output
