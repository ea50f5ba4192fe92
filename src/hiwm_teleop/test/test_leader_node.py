"""Leader, teleop node and arbiter as processes: servos' bytes in, commands to a robot out."""

import contextlib
import os
import pty
import time

import numpy as np
import pytest
from hiwm_interfaces.msg import Command

from hiwm_core.control import Mode
from hiwm_core.embodiment import load_embodiment
from hiwm_test_support.following_robot import Graph
from hiwm_test_support.leader_rig import EMBODIMENT, leader
from hiwm_test_support.nodes import NodeProcess
from hiwm_test_support.pty_servos import READ, SYNC_READ

pytestmark = pytest.mark.nodes
flaky = pytest.mark.flaky(
    reruns=2, reason="an operator silent for 0.5 s loses control; a starved process is silent"
)

NEAR = [0.4, 0.25, -0.35, -0.4, 0.25, 0.4]


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


@pytest.fixture
def graph(request):
    made = Graph(load_embodiment(getattr(request, "param", EMBODIMENT)))
    yield made
    made.end()


@flaky
def test_a_leader_leads_is_lost_comes_back_and_hands_back(graph, tmp_path, terminal):
    keys, tty = terminal
    robot = graph.robot
    with leader(tmp_path, "dynamixel") as made:
        shown = bytearray()

        def hold():
            """Hold the leader as a hand does, turning the elbows continuously, and look."""
            with contextlib.suppress(BlockingIOError):
                shown.extend(os.read(keys, 65536))
            turn = 0.3 * np.sin(2.0 * time.monotonic())
            for arm in made.servos:
                made.point(arm, [*NEAR[:2], NEAR[2] + turn, *NEAR[3:]])

        options = {"device": "leader_arm", "device_file": str(made.file), "tty": tty}
        hold()
        typed_at = 0.0

        def take_over():
            """Type t until it is accepted: a busy machine sometimes loses an arm briefly."""
            nonlocal typed_at
            hold()
            if robot.mode != Mode.HUMAN and time.monotonic() - typed_at > 3.0:
                os.write(keys, b"t")
                typed_at = time.monotonic()

        patient = {"operator_timeout_s": 5.0}  # the device itself must report the loss
        with NodeProcess(
            "hiwm_control", "arbiter", domain=graph.domain, parameters=patient
        ), NodeProcess(
            "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
        ) as teleop:
            assert graph.until(lambda: bool(robot.said), hold), teleop.output
            assert not robot.said[-1].deadman
            assert graph.until(lambda: len(robot.commands) > 40, take_over), (teleop.output, shown)
            assert {command.source for command in robot.commands} == {Command.SOURCE_HUMAN}
            assert {command.device for command in robot.commands} == {"leader_arm"}
            elbow = [command.action[9] for command in robot.commands]
            assert max(elbow) - min(elbow) > 0.2
            begun = np.abs(np.subtract(robot.commands[0].action, robot.embodiment.home))
            assert begun.max() < 0.2  # although the leader was elsewhere

            made.servos["left"].unplug()
            assert graph.until(lambda: robot.mode == Mode.PAUSED, hold), teleop.output
            assert "arm left is lost" in robot.reason
            stood = list(robot.place)
            count = len(robot.commands)
            made.servos["left"].plug_in()
            assert graph.until(lambda: b"leader_arm is back" in shown, hold), teleop.output
            assert robot.mode == Mode.PAUSED
            assert len(robot.commands) == count and robot.place == stood
            assert graph.until(lambda: robot.mode == Mode.HUMAN, take_over), (teleop.output, shown)
            os.write(keys, b"h")
            assert graph.until(lambda: robot.mode == Mode.PAUSED, hold), teleop.output
            assert "no policy is running" in robot.reason
            os.write(keys, b"q")
            assert graph.until(lambda: teleop.process.poll() is not None, hold), teleop.output
            assert teleop.wait() == 0, teleop.output
        assert made.servos["right"].instructions == {READ, SYNC_READ}


@pytest.mark.parametrize("graph", ["planar_bimanual"], indirect=True)
def test_a_robot_that_the_leader_does_not_fit_is_one_clear_line(graph, tmp_path, terminal):
    with leader(tmp_path, "feetech") as made:
        options = {"device": "leader_arm", "device_file": str(made.file), "tty": terminal[1]}
        with NodeProcess(
            "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
        ) as teleop:
            assert graph.until(lambda: teleop.process.poll() is not None), teleop.output
            assert teleop.wait() == 1
        assert "error: embodiment planar_bimanual has no joint 'left_waist_joint'" in teleop.output
        assert "Traceback" not in teleop.output
