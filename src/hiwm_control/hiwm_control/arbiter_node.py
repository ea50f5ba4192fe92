"""The arbiter node: connects topics to ``hiwm_control.arbiter`` and sends its commands."""

import array
import dataclasses
import sys
import time

import numpy as np
from hiwm_interfaces.msg import Command, ControlState, OperatorCommand, PolicyPlan, Tick, WorldInfo
from hiwm_interfaces.srv import ControlRequest
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import QoSSubscriptionMatchedInfo, SubscriptionEventCallbacks
from rclpy.node import Node

from hiwm_control.arbiter import Arbiter, CommandDecision, OperatorSample, TickSeen
from hiwm_core.control import Mode
from hiwm_core.embodiment import parse_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.frames import Observation
from hiwm_core.plan_buffer import Plan
from hiwm_core.stamps import stamp_ns
from hiwm_nodes import qos
from hiwm_nodes.diagnostics import ERROR, OK, WARN, Diagnostics, RateMeter
from hiwm_nodes.listening import Listening
from hiwm_nodes.messages import time_message
from hiwm_nodes.observation_feed import ObservationFeed
from hiwm_nodes.only_one import ARBITER, OnlyOne
from hiwm_nodes.parameters import parameter
from hiwm_nodes.running import run

_START_MODES = {"policy": Mode.POLICY, "paused": Mode.PAUSED}
# control_state is repeated at this interval without a change, so that its ages stay current.
_REPEAT_S = 0.5
# A tick unanswered for this long while the policy is in control raises a warning.
_WAIT_WARNING_S = 2.0


class ArbiterNode(Node):
    """Decides who answers each tick; the only publisher of ``command``."""

    def __init__(self) -> None:
        """Declare parameters and wire topics. Raises ConfigError for an unusable parameter."""
        super().__init__("arbiter")
        self._sender = OnlyOne(self, ARBITER).sender
        start_mode = str(
            parameter(self, "start_mode", "paused", "mode at start: policy or paused")
        )
        if start_mode not in _START_MODES:
            raise ConfigError(
                f"start_mode {start_mode!r}", where="parameter start_mode of arbiter",
                remedy=f"use one of {', '.join(_START_MODES)}",
            )
        timeout = float(parameter(
            self, "operator_timeout_s", 0.5,
            "silence after which the operator in control counts as lost [s]", 0.05, 10.0,
        ))
        self._arbiter = Arbiter(
            operator_timeout_s=timeout,
            handback_ticks=int(parameter(
                self, "handback_ticks", 5,
                "ticks over which control blends from a person to the policy", 0, 100,
            )),
            start_mode=_START_MODES[start_mode],
            clock=time.monotonic,
        )
        self._embodiment_hash = ""
        self._robot: ObservationFeed | None = None  # without cameras
        self._published_key: tuple[object, ...] = ()
        self._published_at = 0.0
        self._tick_rate = RateMeter()
        self._command_publisher = self.create_publisher(Command, "command", qos.COMMAND)
        self._state_publisher = self.create_publisher(ControlState, "control_state", qos.LATCHED)
        # Created first, since callbacks run in this order: if an operator command and a tick are
        # both waiting, the command is processed before the tick is answered.
        self.create_subscription(
            OperatorCommand, "operator/command", self._on_operator, qos.TICK
        )
        self._listening = Listening(self)
        self.create_subscription(WorldInfo, "world_info", self._on_world_info, qos.LATCHED)
        self.create_subscription(Tick, "tick", self._on_tick, qos.TICK)
        # The graph's count of publishers may lag behind their messages; this event does not.
        self.create_subscription(
            PolicyPlan, "policy/plan", self._on_plan, qos.TICK,
            event_callbacks=SubscriptionEventCallbacks(matched=self._on_policies_matched),
        )
        self.create_service(ControlRequest, "control/request", self._on_request)
        self._diagnostics = Diagnostics(self, self._diagnostic_values)
        # Steady clock: a stopped /clock must not keep a lost operator in control.
        self.create_timer(
            min(timeout / 10.0, 0.05), self._on_time,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self._finish(None)

    def _on_world_info(self, message: WorldInfo) -> None:
        embodiment = parse_embodiment(message.embodiment_yaml, "world_info")
        if self._robot is None or message.embodiment_hash != self._embodiment_hash:
            self._embodiment_hash = message.embodiment_hash
            if self._robot is not None:
                self._robot.close()
            self._robot = ObservationFeed(
                self, dataclasses.replace(embodiment, cameras=()), self._on_robot
            )
        self._listening.on_world(message)
        self._finish(self._arbiter.on_world(lockstep=message.lockstep, embodiment=embodiment))

    def _on_robot(self, seen: Observation) -> None:
        self._finish(self._arbiter.on_positions(seen.stamp_ns, seen.measured))

    def _on_tick(self, message: Tick) -> None:
        self._tick_rate.count()
        self._finish(self._arbiter.on_tick(TickSeen(
            epoch=message.epoch, step=message.step, stamp_ns=stamp_ns(message.header.stamp),
            applied_action=np.asarray(message.applied_action),
        )))
        if self._robot is not None:
            self._robot.tick(message)

    def _on_policies_matched(self, policies: QoSSubscriptionMatchedInfo) -> None:
        self._arbiter.on_policy_present(policies.current_count > 0)

    def _on_plan(self, message: PolicyPlan) -> None:
        self._arbiter.on_policy_present(True)  # the event may come after the first plan
        self._finish(self._arbiter.on_plan(Plan(
            epoch=message.epoch, step=message.step, horizon=message.horizon,
            execute_horizon=message.execute_horizon, action_dim=message.action_dim,
            actions=np.asarray(message.actions), policy=message.policy, failure=message.failure,
        )))

    def _on_operator(self, message: OperatorCommand) -> None:
        self._finish(self._arbiter.on_operator(OperatorSample(
            epoch=message.epoch, step=message.step, device=message.device,
            deadman=message.deadman, synchronous=message.synchronous,
            demonstration=message.demonstration, action=np.asarray(message.action),
        )))

    def _on_request(
        self, request: ControlRequest.Request, response: ControlRequest.Response
    ) -> ControlRequest.Response:
        transition, decision = self._arbiter.on_request(request.request, request.reason)
        response.ok = transition.accepted
        response.message = transition.message
        response.mode = int(transition.mode)
        self._finish(decision)
        return response

    def _on_time(self) -> None:
        self._finish(self._arbiter.on_time())

    def _finish(self, decision: CommandDecision | None) -> None:
        """Send the command first, then publish what changed."""
        if decision is not None:
            message = Command(
                epoch=decision.epoch, step=decision.step, source=int(decision.source),
                device=decision.device, action=array.array("d", decision.action),
                sender=self._sender,
            )
            message.header.stamp = time_message(decision.stamp_ns)
            self._command_publisher.publish(message)
        state = self._arbiter.state
        key = (
            state.mode, state.explanation, state.device, state.deadman, state.source,
            state.takeovers, str(state.takeover_latency_s), state.plans_dropped,
            state.commands_dropped,
        )
        now = time.monotonic()
        if key == self._published_key and now - self._published_at < _REPEAT_S:
            return
        if not self._published_key or key[:3] != self._published_key[:3]:
            self.get_logger().info(f"{state.mode.name}: {state.explanation}")
        self._published_key, self._published_at = key, now
        tick = self._arbiter.tick
        report = ControlState(
            mode=int(state.mode), source=int(state.source), device=state.device,
            reason=state.explanation, deadman=state.deadman,
            operator_age_s=self._arbiter.operator_age_s,
            takeover_latency_s=state.takeover_latency_s,
            takeover_latency_ticks=state.takeover_latency_ticks, takeovers=state.takeovers,
            plans_dropped=state.plans_dropped, commands_dropped=state.commands_dropped,
        )
        if tick is not None:
            report.epoch, report.step = tick.epoch, tick.step
            report.header.stamp = time_message(tick.stamp_ns)
        self._state_publisher.publish(report)
        self._report_health()

    def _report_health(self) -> None:
        state = self._arbiter.state
        waiting = self._arbiter.waiting_s
        if state.notice:
            self._diagnostics.report(ERROR, state.notice)
        elif state.mode in (Mode.POLICY, Mode.HANDBACK) and waiting > _WAIT_WARNING_S:
            missing = "the operator" if self._arbiter.waits_for_operator else "a plan of the policy"
            self._diagnostics.report(WARN, f"waiting for {missing}")
        else:
            self._diagnostics.report(OK, f"{state.mode.name}: {state.reason}")

    def _diagnostic_values(self) -> dict[str, object]:
        state = self._arbiter.state
        return {
            "mode": state.mode.name, "ticks_per_s": f"{self._tick_rate.rate:.1f}",
            "tick_unanswered_s": f"{self._arbiter.waiting_s:.2f}",
            "operator_age_s": f"{self._arbiter.operator_age_s:.2f}",
            "takeovers": state.takeovers,
            "takeover_latency_s": f"{state.takeover_latency_s:.4f}",
            "plans_dropped": state.plans_dropped, "commands_dropped": state.commands_dropped,
        }


def main() -> None:
    """Run the arbiter until interrupted."""
    sys.exit(run(ArbiterNode))


if __name__ == "__main__":
    main()
