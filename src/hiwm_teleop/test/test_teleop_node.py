"""The teleop node and the arbiter as processes; the test acts as the world."""

import os
import pty
import select
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
from hiwm_interfaces.msg import (
    Command,
)

from hiwm_core.ros_domains import domain_id
from hiwm_test_support.nodes import NodeProcess

sys.path.insert(0, str(Path(__file__).parent))
from teleop_rig import EMBODIMENT, HOME, PATIENT, graph_fixture  # noqa: E402, F401

pytestmark = pytest.mark.nodes


def test_the_scripted_operator_corrects_forks_and_leaves(graph):
    options = {
        "device": "scripted", "failures": 1, "branches": 3, "window_ticks": 8,
        "rollback_steps": 5, "correction_ticks": 80, "follow_ticks": 5, "max_seconds": 60.0,
    }
    with NodeProcess("hiwm_control", "arbiter", domain=graph.domain), NodeProcess(
        "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
    ) as teleop:
        assert graph.until(lambda: teleop.process.poll() is not None), teleop.output
        assert teleop.wait() == 0, teleop.output
        output = teleop.output
    world = graph.world
    assert len(world.labels) == 3, output
    assert len({branch for branch, _ in world.labels}) == 3
    assert len(world.forked) == 2
    assert len(set(world.forked)) == 1
    assert Command.SOURCE_HANDBACK in world.sources
    for line in ("failing at", "taking over", "handing back"):
        assert line in output, output


@pytest.mark.parametrize("graph", [{"can_restore": False}], indirect=True)
def test_without_rollback_the_reason_is_shown_and_control_taken_anyway(graph):
    options = {
        "device": "scripted", "failures": 2, "window_ticks": 8, "correction_ticks": 20,
        "follow_ticks": 3, "max_seconds": 60.0,
    }
    with NodeProcess("hiwm_control", "arbiter", domain=graph.domain), NodeProcess(
        "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
    ) as teleop:
        assert graph.until(lambda: teleop.process.poll() is not None), teleop.output
        assert teleop.wait() == 0, teleop.output
        output = teleop.output
    assert output.count("hardware cannot go back: reset the scene instead") >= 2, output
    assert Command.SOURCE_HUMAN in graph.world.sources
    assert not graph.world.forked


def test_keys_take_over_move_and_hand_back(graph):
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    options = {"device": "keyboard", "tty": os.ttyname(theirs)}
    said = graph.world.said
    with NodeProcess(
        "hiwm_control", "arbiter", domain=graph.domain, parameters=PATIENT
    ), NodeProcess(
        "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
    ) as teleop:
        assert graph.until(lambda: bool(said)), teleop.output
        assert not said[-1].deadman

        def held_down():
            os.write(ours, b"w")
            time.sleep(0.02)
            return any(
                command.deadman and command.action and command.action[1] > HOME[1] + 0.005
                for command in said
            )

        os.write(ours, b"t")
        assert graph.until(held_down), teleop.output
        assert graph.until(lambda: Command.SOURCE_HUMAN in graph.world.sources)
        assert not any(command.synchronous for command in said)
        moved = np.array([list(c.action) for c in said if c.action])
        leash = EMBODIMENT.actions[1].max_following_error
        assert (np.abs(moved - HOME)[:, 1] <= leash + 1e-9).all()
        np.testing.assert_allclose(moved[:, [0, 2, 3]], np.array([HOME] * len(moved))[:, [0, 2, 3]])

        os.write(ours, b"3b")
        assert graph.until(lambda: graph.world.epoch == 2)
        os.write(ours, b"y")
        assert graph.until(lambda: bool(graph.world.labels))
        os.write(ours, b"th")
        assert graph.until(lambda: not said[-1].deadman)
        os.write(ours, b"q")
        assert graph.until(lambda: teleop.process.poll() is not None), teleop.output
        assert teleop.wait() == 0, teleop.output
    os.close(ours)
    os.close(theirs)


def test_a_keyboard_without_a_terminal_is_one_clear_line(graph, tmp_path):
    options = {"device": "keyboard", "tty": str(tmp_path / "none")}
    with NodeProcess("hiwm_teleop", "teleop", domain=graph.domain, parameters=options) as teleop:
        assert teleop.wait() == 1
        lines = [line for line in teleop.output.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert "keyboard" in lines[0]
    assert "demo --interactive" in lines[0]


LAUNCH = """<launch>
  <node pkg="hiwm_control" exec="arbiter" name="arbiter" output="screen"/>
  <node pkg="hiwm_teleop" exec="teleop" name="teleop" output="screen" on_exit="shutdown">
    <param name="device" value="keyboard"/>
  </node>
</launch>
"""


def test_keys_reach_the_node_through_the_launcher_and_the_terminal_comes_back(tmp_path):
    file = tmp_path / "keys.launch.xml"
    file.write_text(LAUNCH)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(
            ROS_DOMAIN_ID=str(domain_id()), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST"
        )
        os.execv(sys.executable, [sys.executable, "-m", "hiwm_bringup.launcher", str(file)])
    shown, pressed, deadline = "", False, time.monotonic() + 120.0
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 4096).decode(errors="replace")
            except OSError:
                break  # every process closed the terminal
        if not pressed and "waiting for the world |" in shown:
            assert not termios.tcgetattr(terminal)[3] & termios.ECHO
            os.write(terminal, b"q")
            pressed = True
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert "t take over" in shown  # keys of arms are shown once the world is known
    assert "quitting" in shown
    assert termios.tcgetattr(terminal)[3] & termios.ECHO
    os.close(terminal)
