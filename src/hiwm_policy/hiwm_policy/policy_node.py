"""The policy node: observations in, chunks of actions out.

Connects topics to `PlanSchedule` (when to plan), `ObservationFeed` (observations) and a
`Planner` (the network, in its own thread).
"""

import array
import sys
import time
from collections import deque

import numpy as np
import torch
from hiwm_interfaces.msg import ControlState, PolicyPlan, Tick, WorldInfo
from hiwm_interfaces.srv import PlanBatch
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from hiwm_core.control import Mode
from hiwm_core.control_period import require_period
from hiwm_core.embodiment import Embodiment, parse_embodiment
from hiwm_core.errors import CheckpointError, ConfigError, DeviceError, HiwmError
from hiwm_core.frames import Observation
from hiwm_core.stamps import stamp_ns
from hiwm_core.user_paths import user_path
from hiwm_learning.policies.planning import load_planner
from hiwm_nodes import qos
from hiwm_nodes.diagnostics import ERROR, OK, Diagnostics, RateMeter
from hiwm_nodes.listening import Listening
from hiwm_nodes.messages import time_message
from hiwm_nodes.observation_feed import ObservationFeed
from hiwm_nodes.parameters import parameter
from hiwm_nodes.running import run
from hiwm_policy.inference_thread import Answer, InferenceThread, Question, warm_up
from hiwm_policy.plan_batch import rows_of
from hiwm_policy.plan_schedule import PlanSchedule, Remedy, TickId


class PolicyNode(Node):
    """Plans when the policy is in control and its chunk is used up."""

    def __init__(self) -> None:
        """Load the checkpoint and warm it up before creating publishers and subscriptions.

        Raises:
            ConfigError: invalid parameter.
            CheckpointError: the checkpoint is missing or not a policy.
        """
        super().__init__("policy")
        checkpoint = str(parameter(self, "checkpoint", "", "policy checkpoint, .safetensors"))
        device = str(parameter(self, "device", "cpu", "torch device: cpu or cuda"))
        execute = int(parameter(
            self, "execute_horizon", 0,
            "actions that run before the next chunk; 0 = as trained", 0, 1000,
        ))
        self._seed = int(parameter(self, "seed", 0, "seed of the sampling noise", 0, 2**31 - 1))
        threads = int(parameter(self, "threads", 1, "CPU threads of inference", 1, 64))
        if not checkpoint:
            raise ConfigError(
                "no checkpoint", where="parameter checkpoint of policy",
                remedy="give the path of a policy checkpoint",
            )
        torch.set_num_threads(threads)
        self._path = user_path(checkpoint)
        self._planner = load_planner(self._path, device)
        self._execute = execute or self._planner.execute_horizon
        if self._execute > self._planner.horizon:
            raise ConfigError(
                f"execute_horizon {execute} exceeds the chunk of {self._planner.horizon} actions",
                where="parameter execute_horizon of policy",
                remedy=f"use 1 to {self._planner.horizon}, or 0",
            )
        inference_s = warm_up(self._planner)
        self._schedule = PlanSchedule(self._execute)
        self._embodiment: Embodiment | None = None
        self._feed: ObservationFeed | None = None
        self._history: deque[Observation] = deque(maxlen=self._planner.observation_steps)
        self._plan: PolicyPlan | None = None
        self._refusal = ""  # why nothing is planned
        self._plans = self._dropped = self._unusable = 0
        self._inference_s = inference_s
        self._rate = RateMeter()
        self._wake = self.create_guard_condition(self._on_answer)
        self._inference = InferenceThread(self._planner, threads, self._wake.trigger)
        self._diagnostics = Diagnostics(self, self._diagnostic_values)
        self._publisher = self.create_publisher(PolicyPlan, "policy/plan", qos.TICK)
        self._listening = Listening(self)
        self.create_subscription(WorldInfo, "world_info", self._on_world_info, qos.LATCHED)
        self.create_subscription(ControlState, "control_state", self._on_control, qos.LATCHED)
        self.create_service(
            PlanBatch, "policy/plan_batch", self._on_plan_batch,
            # Awaits the network, and must not delay ticks.
            callback_group=ReentrantCallbackGroup(),
        )
        self.get_logger().info(
            f"{self._planner.label} ready: {self._execute} of {self._planner.horizon} actions per "
            f"plan, {inference_s * 1000:.0f} ms per plan on {device}"
        )

    def close(self) -> None:
        """Stop the inference thread."""
        self._inference.close()

    def _on_world_info(self, message: WorldInfo) -> None:
        if message.embodiment_hash != self._planner.embodiment_hash:
            raise CheckpointError(
                f"the policy was trained for an embodiment with hash "
                f"{self._planner.embodiment_hash}, the world's {message.embodiment} has hash "
                f"{message.embodiment_hash}",
                where=str(self._path),
                remedy="start the world with the policy's embodiment, or train a policy for this "
                "one",
            )
        world_s = float(message.control_period_s)
        if self._embodiment is not None:
            self._follow_rate(world_s)
            self._listening.on_world(message)
            return
        require_period(self._planner.period_s, world_s, "policy", str(self._path))
        self._embodiment = parse_embodiment(message.embodiment_yaml, "world_info")
        self._feed = ObservationFeed(self, self._embodiment, self._observe)
        self.create_subscription(Tick, "tick", self._on_tick, qos.TICK)
        self._listening.on_world(message)

    def _follow_rate(self, world_s: float) -> None:
        """Stop planning while a running robot has another control period, and report it.

        The session continues: without plans the arbiter pauses, and a person may still drive.
        """
        was, self._refusal = self._refusal, ""
        try:
            require_period(self._planner.period_s, world_s, "policy", str(self._path))
        except CheckpointError as error:
            self._refusal = f"no plans: {error}"
            self._diagnostics.report(ERROR, self._refusal)
            self.get_logger().error(self._refusal)
        if was and not self._refusal:
            self._diagnostics.report(OK, "running")
            self._plan_if_due()

    def _on_tick(self, message: Tick) -> None:
        assert self._feed is not None
        newest = self._history[-1] if self._history else None
        if newest and (newest.stamp_ns, newest.epoch, newest.step) == (
            stamp_ns(message.header.stamp), message.epoch, message.step
        ):
            remedy = self._schedule.on_repeated_tick(message.epoch, message.step)
            if remedy is Remedy.SEND_AGAIN and self._plan is not None:
                self._publisher.publish(self._plan)
            self._plan_if_due()
            return
        self._feed.tick(message)

    def _on_control(self, message: ControlState) -> None:
        self._schedule.on_control(
            Mode(message.mode), message.epoch, message.step, message.takeovers
        )
        self._plan_if_due()

    def _observe(self, observation: Observation) -> None:
        self._rate.count()
        if self._schedule.on_observation(observation.epoch, observation.step):
            self._history.clear()
        self._history.append(observation)
        self._plan_if_due()

    def _plan_if_due(self) -> None:
        if self._refusal:
            return
        tick_id = self._schedule.due()
        if tick_id is None:
            return
        self._schedule.start(tick_id)
        missing = self._planner.observation_steps - len(self._history)
        seen = [self._history[0]] * missing + list(self._history)
        self._inference.ask(Question(
            tick_id=tick_id, stamp_ns=seen[-1].stamp_ns,
            images={
                camera: np.stack([one.images[camera] for one in seen])
                for camera in self._planner.image_shapes
            },
            proprio=np.stack([one.proprio for one in seen]),
            asked_at=time.monotonic(), seed=(self._seed, tick_id.epoch, tick_id.step),
        ))

    def _on_answer(self) -> None:
        while (answer := self._inference.answer()) is not None:
            self._take(answer)
        self._plan_if_due()

    def _take(self, answer: Answer) -> None:
        tick_id = answer.question.tick_id
        if answer.actions is None:
            raise DeviceError(
                f"inference failed: {answer.failure}", where=self._planner.label,
                remedy="restart the policy; if the GPU failed, use torch_device:=cpu",
            )
        finite = bool(np.isfinite(answer.actions).all())
        if not finite:
            self._unusable += 1
            self._report_not_finite(tick_id)
        if not self._schedule.finish(tick_id, usable=finite):
            self._dropped += finite
            return
        self._inference_s = time.monotonic() - answer.question.asked_at
        self._plans += 1
        horizon, action_dim = answer.actions.shape
        self._plan = PolicyPlan(
            epoch=tick_id.epoch, step=tick_id.step, horizon=horizon,
            execute_horizon=self._execute, action_dim=action_dim,
            actions=array.array("d", answer.actions.ravel()), policy=self._planner.label,
            inference_s=self._inference_s,
        )
        self._plan.header.stamp = time_message(answer.question.stamp_ns)
        self._publisher.publish(self._plan)
        self._diagnostics.report(OK, "running")

    async def _on_plan_batch(
        self, request: PlanBatch.Request, response: PlanBatch.Response
    ) -> PlanBatch.Response:
        """Plan for any client; the session is not affected."""
        planned = Future()

        def done(plans: NDArray[np.float64] | None, failure: str) -> None:
            planned.set_result((plans, failure))
            self._wake.trigger()

        try:
            if self._embodiment is None:
                raise ConfigError(
                    "no world has published world_info yet", where="policy/plan_batch",
                    remedy="retry once the world is running",
                )
            self._inference.ask_many(rows_of(request, self._planner, self._embodiment), done)
            plans, failure = await planned
            if plans is None:
                raise DeviceError(
                    f"inference failed: {failure}", where=self._planner.label,
                    remedy="request fewer plans, or restart the policy",
                )
        except HiwmError as error:
            response.message = str(error)
            return response
        response.ok = True
        response.observation_steps = self._planner.observation_steps
        response.horizon, response.execute_horizon = plans.shape[1], self._execute
        response.actions = array.array("d", plans.ravel())
        return response

    def _report_not_finite(self, tick_id: TickId) -> None:
        text = (
            f"{self._planner.label} produced actions that are not finite (epoch {tick_id.epoch} "
            f"step {tick_id.step}); no plan was sent: take over, or train the policy again"
        )
        if self._unusable == 1:
            self.get_logger().error(text)
        self._diagnostics.report(ERROR, text)

    def _diagnostic_values(self) -> dict[str, object]:
        return {
            "policy": self._planner.label, "observations_per_s": f"{self._rate.rate:.1f}",
            "inference_ms": f"{self._inference_s * 1000:.1f}", "plans": self._plans,
            "plans_outdated": self._dropped, "plans_not_finite": self._unusable,
            "observations_incomplete": self._feed.dropped if self._feed else 0,
        }


def main() -> None:
    """Run the policy until interrupted."""
    sys.exit(run(PolicyNode))


if __name__ == "__main__":
    main()
