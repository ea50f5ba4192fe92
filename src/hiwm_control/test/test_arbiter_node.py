"""The arbiter as its own process over DDS, with the test as world, policy and operator."""

import array
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from hiwm_interfaces.msg import Command, ControlState, OperatorCommand, PolicyPlan, Tick, WorldInfo
from hiwm_interfaces.srv import ControlRequest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from hiwm_core import control
from hiwm_core.embodiment import load_embodiment
from hiwm_core.frames import observation_streams
from hiwm_core.ros_domains import domain_id
from hiwm_core.stamps import stamp_ns
from hiwm_nodes import qos
from hiwm_nodes.messages import joint_state_message, stamp_tick, time_message
from hiwm_test_support.nodes import NodeProcess, spin_until

pytestmark = pytest.mark.nodes

EMBODIMENT = load_embodiment("planar_bimanual")
HOME = np.array(EMBODIMENT.home)
# Long enough for a busy machine between two messages of a test.
PARAMETERS = {"start_mode": "policy", "operator_timeout_s": 5.0, "handback_ticks": 4}


class Rig(Node):
    """World, policy and operator in one node; each message is sent only on request."""

    def __init__(self, context: Context, *, lockstep: bool) -> None:
        super().__init__("rig", context=context)
        self.executor_of_rig = SingleThreadedExecutor(context=context)
        self.executor_of_rig.add_node(self)
        self.commands: list[Command] = []
        self.strays: list[Command] = []
        self._waiting: tuple[int, int] | None = None
        self._answered: Command | None = None
        self.states: list[ControlState] = []
        self._info = self.create_publisher(WorldInfo, "world_info", qos.LATCHED)
        self._joints = self.create_publisher(JointState, "joint_states", qos.IMAGE_PUB)
        self._ticks = self.create_publisher(Tick, "tick", qos.TICK)
        self._plans = self.create_publisher(PolicyPlan, "policy/plan", qos.TICK)
        self._operator = self.create_publisher(OperatorCommand, "operator/command", qos.TICK)
        self._request = self.create_client(ControlRequest, "control/request")
        self.create_subscription(Command, "command", self._on_command, qos.COMMAND)
        self.create_subscription(ControlState, "control_state", self.states.append, qos.LATCHED)
        self._info.publish(WorldInfo(
            kind="imagination", lockstep=lockstep, embodiment_yaml=EMBODIMENT.text
        ))
        self.wait(lambda: bool(self.states) and self._connected())

    def _connected(self) -> bool:
        publishers = (self._info, self._joints, self._ticks, self._plans, self._operator)
        return all(each.get_subscription_count() for each in publishers) and bool(
            self._request.service_is_ready() and self.count_publishers("command")
        )

    def _on_command(self, command: Command) -> None:
        """Take one command for the waiting tick, as a world does; a repeated one is no harm."""
        if (command.epoch, command.step) == self._waiting:
            self._waiting, self._answered = None, command
            self.commands.append(command)
        elif command != self._answered:
            self.strays.append(command)

    def wait(self, predicate: Callable[[], bool]) -> None:
        """Spin until it is true; the long timeout is only a hang guard."""
        assert spin_until(self.executor_of_rig, predicate), (
            f"still waiting; commands {self.commands[-3:]}, state {self.states[-1:]}"
        )

    def spin_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        spin_until(self.executor_of_rig, lambda: time.monotonic() >= end)

    def wait_mode(self, mode: int) -> ControlState:
        self.wait(lambda: self.states[-1].mode == mode)
        return self.states[-1]

    def tick(self, step: int, epoch: int = 1, applied: Any = ()) -> None:
        stamp = time_message(1_000_000_000 * epoch + 100_000_000 * (step + 1))
        self._joints.publish(joint_state_message(EMBODIMENT.joint_names, HOME, stamp))
        message = Tick(epoch=epoch, step=step, applied_action=array.array("d", applied))
        stamp_tick(message, stamp, observation_streams(["top"]))
        self._waiting = (epoch, step)
        self._ticks.publish(message)

    def plan(self, step: int, epoch: int = 1, target: Any = HOME, execute: int = 4) -> None:
        self._plans.publish(PolicyPlan(
            epoch=epoch, step=step, horizon=8, execute_horizon=execute, action_dim=4,
            actions=array.array("d", np.tile(target, 8)), policy="push 12345678",
        ))

    def operator(self, step: int, epoch: int = 1, **fields: Any) -> None:
        values = {"device": "keys", "deadman": True, "action": HOME + 0.01} | fields
        values["action"] = array.array("d", values["action"])
        self._operator.publish(OperatorCommand(epoch=epoch, step=step, **values))

    def request(self, code: int, reason: str = "") -> ControlRequest.Response:
        future = self._request.call_async(ControlRequest.Request(request=code, reason=reason))
        self.wait(future.done)
        return future.result()

    def show_policy(self) -> None:
        """Send a plan of an older epoch: the arbiter drops it, and knows that there is a policy."""
        self.plan(0, epoch=0)
        self.wait(lambda: self.states[-1].plans_dropped > 0)

    def next_command(self) -> Command:
        self.wait(lambda: bool(self.commands))
        return self.commands.pop(0)


@pytest.fixture(params=[True], ids=["lockstep"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    domain = domain_id()
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    try:
        with NodeProcess("hiwm_control", "arbiter", domain=domain, parameters=PARAMETERS) as node:
            rig = Rig(context, lockstep=request.param)
            yield rig
            assert node.process.poll() is None, node.output
            assert not rig.strays
            rig.destroy_node()
    finally:
        rclpy.shutdown(context=context)


real_time = pytest.mark.parametrize("rig", [False], indirect=True, ids=["real_time"])


def test_numbers_of_modes_sources_and_requests_are_those_of_the_messages() -> None:
    for mode in control.Mode:
        assert getattr(ControlState, mode.name) == mode
    for source in control.Source:
        assert getattr(Command, f"SOURCE_{source.name}") == source
    for number, event in enumerate(control.REQUESTS):
        assert getattr(ControlRequest.Request, event.name) == number


def test_policy_then_takeover_on_the_waiting_tick(rig: Rig) -> None:
    rig.tick(0)
    rig.plan(0, execute=1)
    command = rig.next_command()
    assert (command.epoch, command.step, command.source) == (1, 0, Command.SOURCE_POLICY)
    assert command.device == "push 12345678"
    assert stamp_ns(command.header.stamp) == 1_100_000_000
    rig.tick(1, applied=HOME)
    rig.operator(1)
    command = rig.next_command()
    assert (command.step, command.source, command.device) == (1, Command.SOURCE_HUMAN, "keys")
    np.testing.assert_array_equal(command.action, HOME + 0.01)
    rig.wait(lambda: not math.isnan(rig.states[-1].takeover_latency_s))
    state = rig.states[-1]
    assert (state.mode, state.takeovers) == (ControlState.HUMAN, 1)
    # If a tick and an operator command arrive together, the command is processed first.
    assert state.takeover_latency_ticks in (0, 1)
    assert state.deadman and state.device == "keys"


def test_takeover_while_no_tick_waits_is_in_force_on_the_next_tick(rig: Rig) -> None:
    rig.tick(0)
    rig.plan(0)
    rig.next_command()
    rig.operator(0)
    rig.wait_mode(ControlState.HUMAN)
    rig.tick(1, applied=HOME)
    command = rig.next_command()
    assert (command.step, command.source) == (1, Command.SOURCE_HUMAN)
    rig.wait(lambda: rig.states[-1].takeover_latency_ticks == 1)


def test_plan_and_command_of_an_older_epoch_move_nothing(rig: Rig) -> None:
    rig.tick(5)
    rig.plan(5)
    rig.next_command()
    rig.tick(2, epoch=2)
    rig.plan(5, epoch=1)
    rig.wait(lambda: rig.states[-1].plans_dropped == 1)
    assert not rig.commands
    rig.operator(5, epoch=1)
    rig.wait(lambda: rig.states[-1].commands_dropped == 1)
    assert not rig.commands and rig.states[-1].mode == ControlState.HUMAN
    rig.operator(2, epoch=2)
    assert rig.next_command().epoch == 2


def test_a_silent_operator_pauses_and_only_a_person_resumes(rig: Rig) -> None:
    rig.tick(0)
    rig.operator(0)
    rig.next_command()
    state = rig.wait_mode(ControlState.PAUSED)
    assert "keys" in state.reason and "silent" in state.reason
    rig.tick(1, applied=HOME)
    rig.plan(1)
    rig.spin_for(0.6)
    assert not rig.commands and rig.states[-1].mode == ControlState.PAUSED
    rig.operator(1)
    assert rig.next_command().source == Command.SOURCE_HUMAN


@pytest.mark.parametrize("target", [np.full(4, math.nan), np.zeros(3)], ids=["nan", "short"])
def test_an_unusable_plan_pauses_with_the_reason_and_start_resumes(rig: Rig, target: Any) -> None:
    rig.tick(0)
    rig.plan(0, target=target)
    state = rig.wait_mode(ControlState.PAUSED)
    assert state.plans_dropped == 1 and "push 12345678" in state.reason
    assert not rig.commands
    rig.plan(0)
    answer = rig.request(ControlRequest.Request.START, "fixed")
    assert answer.ok and answer.mode == ControlState.POLICY
    assert rig.next_command().source == Command.SOURCE_POLICY


def test_an_unusable_operator_action_moves_nothing_and_says_why(rig: Rig) -> None:
    rig.tick(0)
    rig.operator(0, action=[math.nan, 0.0, 0.0, 0.0])
    rig.wait(lambda: rig.states[-1].commands_dropped == 1)
    assert "left_x" in rig.states[-1].reason and not rig.commands
    rig.operator(0)
    assert rig.next_command().source == Command.SOURCE_HUMAN


def test_handback_waits_for_a_plan_of_now_and_ramps(rig: Rig) -> None:
    rig.tick(0)
    rig.show_policy()
    rig.operator(0, action=HOME)
    applied = np.array(rig.next_command().action)
    rig.operator(0, deadman=False)
    rig.wait_mode(ControlState.HANDBACK)
    rig.tick(1, applied=applied)
    rig.spin_for(0.3)
    assert not rig.commands
    gap = 0.05
    rig.plan(1, target=HOME + gap, execute=8)
    targets, sources = [applied], []
    for step in range(1, 6):
        command = rig.next_command()
        assert command.step == step
        targets.append(np.array(command.action))
        sources.append(command.source)
        rig.tick(step + 1, applied=command.action)
    assert sources == [Command.SOURCE_HANDBACK] * 4 + [Command.SOURCE_POLICY]
    np.testing.assert_allclose(np.diff(targets, axis=0), gap / 5)
    rig.wait_mode(ControlState.POLICY)


def test_a_request_outside_the_table_is_refused_with_what_is_possible(rig: Rig) -> None:
    answer = rig.request(ControlRequest.Request.CLEAR_STOP)
    assert not answer.ok and "pause" in answer.message and answer.mode == ControlState.POLICY
    assert rig.request(ControlRequest.Request.STOP, "smoke").ok
    assert "smoke" in rig.wait_mode(ControlState.STOPPED).reason
    rig.tick(0)
    rig.plan(0)
    rig.operator(0)
    rig.spin_for(0.3)
    assert not rig.commands


def test_control_state_is_latched_and_repeated(rig: Rig) -> None:
    late: list[ControlState] = []
    rig.create_subscription(ControlState, "control_state", late.append, qos.LATCHED)
    rig.wait(lambda: len(late) >= 3)
    assert {state.mode for state in late} == {ControlState.POLICY}


def test_lock_step_gives_the_same_commands_however_long_the_policy_takes(rig: Rig) -> None:
    runs = []
    for epoch, delay in ((1, 0.0), (2, 0.15)):
        sent = []
        step = 0
        rig.tick(0, epoch)
        while step < 10:
            if step % 4 == 0:
                rig.spin_for(delay)
                rig.plan(step, epoch, target=HOME + 0.001 * step)
            command = rig.next_command()
            assert command.step == step
            sent.append((command.step, command.source, tuple(command.action)))
            step += 1
            if step < 10:
                rig.tick(step, epoch, applied=command.action)
        runs.append(sent)
        assert not rig.commands
    assert runs[0] == runs[1]


@real_time
def test_real_time_bridges_a_late_plan_and_then_says_nothing(rig: Rig) -> None:
    rig.tick(0)
    rig.plan(0)
    steps = []
    for step in range(1, 9):
        steps.append(rig.next_command().step)
        rig.tick(step, applied=HOME)
    rig.spin_for(0.3)
    assert steps == list(range(8)) and not rig.commands
    rig.plan(7)
    assert rig.next_command().step == 8
