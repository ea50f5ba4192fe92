"""The policy node: observations in, chunks of actions out.

Connects topics to `PlanSchedule` (when to plan), `ObservationFeed` (observations) and a
`Planner` (a network or a server, in its own thread). On a robot in real time, `RealTimeChunks`
plans ahead and blends chunks. A policy that fails or is late pauses the session; it never ends it.
"""

import array
import os
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
from hiwm_core.embodiment import Embodiment, parse_embodiment
from hiwm_core.errors import CheckpointError, ConfigError, DeviceError, HiwmError
from hiwm_core.frames import Observation
from hiwm_core.stamps import stamp_ns
from hiwm_learning.policies.families import make_planner
from hiwm_learning.policies.planning import API_KEY_VARIABLE, PlannerOptions, PlannerWorld
from hiwm_nodes import qos
from hiwm_nodes.diagnostics import ERROR, OK, Diagnostics, RateMeter
from hiwm_nodes.listening import Listening
from hiwm_nodes.messages import time_message
from hiwm_nodes.observation_feed import ObservationFeed
from hiwm_nodes.parameters import parameter
from hiwm_nodes.running import run
from hiwm_policy.inference_thread import Answer, InferenceThread, Question
from hiwm_policy.plan_batch import rows_of
from hiwm_policy.plan_schedule import PlanSchedule, Remedy, TickId
from hiwm_policy.real_time_chunks import RealTimeChunks


class PolicyNode(Node):
    """Plans when the policy is in control and its chunk is used up."""

    def __init__(self) -> None:
        """Load the policy and warm it up before creating publishers and subscriptions.

        Raises:
            ConfigError: invalid parameter.
            CheckpointError: the checkpoint is missing or not a policy.
            ServerError: a server that must describe itself does not answer.
        """
        super().__init__("policy")
        family = str(parameter(
            self, "policy", "checkpoint", "checkpoint, openpi, or the name of a plug-in"
        ))
        options = PlannerOptions(
            checkpoint=str(parameter(self, "checkpoint", "", "policy checkpoint, .safetensors")),
            device=str(parameter(self, "device", "cpu", "torch device: cpu or cuda")),
            host=str(parameter(self, "host", "127.0.0.1", "openpi: host of the server")),
            port=int(parameter(
                self, "port", 8000, "openpi: TCP port of the server; 0 = as host:=ws://... says",
                0, 65535,
            )),
            layout=str(parameter(
                self, "layout", "server",
                "openpi: name of policies/NAME.yaml, a path, or server = as the server says",
            )),
            api_key=os.environ.get(API_KEY_VARIABLE, ""),
        )
        self._asked_execute = int(parameter(
            self, "execute_horizon", 0,
            "actions that run before the next chunk; 0 = as trained", 0, 1000,
        ))
        self._blend_ticks = int(parameter(
            self, "blend_ticks", 3,
            "a robot in real time: actions over which a chunk blends into the next", 0, 100,
        ))
        self._seed = int(parameter(self, "seed", 0, "seed of the sampling noise", 0, 2**31 - 1))
        threads = int(parameter(self, "threads", 1, "CPU threads of inference", 1, 64))
        torch.set_num_threads(threads)
        self._planner = make_planner(family, options)
        self._check_execute()
        self._inference_s = self._planner.warm_up()
        self._schedule = PlanSchedule(self._execute)
        self._chunks: RealTimeChunks | None = None  # in real time only
        self._embodiment: Embodiment | None = None
        self._feed: ObservationFeed | None = None
        self._history: deque[Observation] = deque(maxlen=self._planner.observation_steps)
        self._plan: PolicyPlan | None = None
        self._refusal = ""  # why nothing is planned
        self._plans = self._dropped = self._failures = 0
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
        self.get_logger().info(f"{self._planner.label} is ready for a world")
        self._log_news()

    @property
    def _execute(self) -> int:
        """Actions of a chunk that run before the next one."""
        return self._asked_execute or self._planner.execute_horizon

    def close(self) -> None:
        """Stop the inference thread."""
        self._inference.close()
        self._planner.close()

    def _check_execute(self) -> None:
        if self._execute > self._planner.horizon:
            raise ConfigError(
                f"execute_horizon {self._execute} exceeds the chunk of {self._planner.horizon} "
                "actions", where="parameter execute_horizon of policy",
                remedy=f"use 1 to {self._planner.horizon}, or 0",
            )

    def _on_world_info(self, message: WorldInfo) -> None:
        embodiment = self._embodiment or parse_embodiment(message.embodiment_yaml, "world_info")
        world = PlannerWorld(
            embodiment=embodiment, embodiment_hash=message.embodiment_hash,
            period_s=float(message.control_period_s), instruction=message.instruction,
        )
        if self._embodiment is None:
            self._planner.fit(world)
            self._check_execute()
            self._embodiment = embodiment
            self._feed = ObservationFeed(self, embodiment, self._observe)
            self.create_subscription(Tick, "tick", self._on_tick, qos.TICK)
            self.get_logger().info(
                f"{self._planner.label}: {self._execute} of {self._planner.horizon} actions per "
                f"plan, {self._inference_s * 1000:.0f} ms per plan so far"
            )
        elif message.embodiment_hash != embodiment.hash:
            raise ConfigError(
                f"the world is now {message.embodiment}, with hash {message.embodiment_hash}, "
                f"after {embodiment.name}, with hash {embodiment.hash}", where="world_info",
                remedy="restart the session",
            )
        else:
            self._fit_again(world)
        self._pace(world, lockstep=message.lockstep)
        self._listening.on_world(message)

    def _fit_again(self, world: PlannerWorld) -> None:
        """Stop planning while a running world does not suit the policy, and report it.

        The session continues: without plans it pauses, and a person may still drive.
        """
        was, self._refusal = self._refusal, ""
        try:
            self._planner.fit(world)
            self._check_execute()  # a chunk has as many actions as its time at the new rate
        except (CheckpointError, ConfigError) as error:
            self._refusal = f"no plans: {error}"
            self._diagnostics.report(ERROR, self._refusal)
            self.get_logger().error(self._refusal)
        if was and not self._refusal:
            self._diagnostics.report(OK, "running")
            self._plan_if_due(new_tick=True)

    def _pace(self, world: PlannerWorld, *, lockstep: bool) -> None:
        """Choose when to plan: a lock-step world waits, a robot does not."""
        self._schedule.execute_horizon = self._execute
        self._chunks = None if lockstep else RealTimeChunks(
            schedule=self._schedule, embodiment=world.embodiment, horizon=self._planner.horizon,
            execute=self._execute, period_s=world.period_s, blend_ticks=self._blend_ticks,
        )

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
        if self._chunks and (
            late := self._chunks.on_observation(time.monotonic(), self._lost_connection)
        ):
            self._fail(
                TickId(observation.epoch, observation.step), observation.stamp_ns,
                self._refusal or late,
            )
            self._schedule.fail()
        self._plan_if_due(new_tick=True)

    def _lost_connection(self) -> str:
        """Return why the policy's server is not connected, or nothing."""
        connection = str(self._planner.status().get("connection", "open"))
        return "" if connection == "open" else connection

    def _plan_if_due(self, *, new_tick: bool = False) -> None:
        if self._refusal or (self._chunks and self._schedule.plan and not new_tick):
            return  # a moving robot's next tick is newer
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
        tick_id, actions, failure = answer.question.tick_id, answer.actions, answer.failure
        if actions is not None and not np.isfinite(actions).all():
            actions, failure = None, "its actions are not finite: take over, or train it again"
        running = self._schedule.plan
        if not self._schedule.finish(tick_id, usable=actions is not None):
            self._dropped += actions is not None
            return
        if actions is not None:
            self._inference_s = time.monotonic() - answer.question.asked_at
            if self._chunks:
                actions, failure = self._chunks.on_plan(
                    tick_id, actions, self._inference_s, running
                )
        if actions is None:
            self._fail(tick_id, answer.question.stamp_ns, failure)
            self._schedule.fail()
            return
        self._plans += 1
        horizon, action_dim = actions.shape
        self._plan = PolicyPlan(
            epoch=tick_id.epoch, step=tick_id.step, horizon=horizon,
            execute_horizon=self._execute, action_dim=action_dim,
            actions=array.array("d", actions.ravel()), policy=self._planner.label,
            inference_s=self._inference_s,
        )
        self._plan.header.stamp = time_message(answer.question.stamp_ns)
        self._publisher.publish(self._plan)
        self._diagnostics.report(OK, "running")

    def _fail(self, tick_id: TickId, stamp: int, failure: str) -> None:
        """Tell the arbiter that there is no plan, and why; it pauses the session."""
        self._failures += 1
        message = PolicyPlan(
            epoch=tick_id.epoch, step=tick_id.step, policy=self._planner.label, failure=failure
        )
        message.header.stamp = time_message(stamp)
        self._publisher.publish(message)
        self._log_news()
        text = f"{self._planner.label}: no plan for epoch {tick_id.epoch} step {tick_id.step}: "
        self.get_logger().error(text + failure)
        self._diagnostics.report(ERROR, failure)

    def _log_news(self) -> None:
        for line in self._planner.news():
            self.get_logger().info(line)

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
                    remedy="request fewer plans, or correct the policy",
                )
        except HiwmError as error:
            response.message = str(error)
            return response
        response.ok = True
        response.observation_steps = self._planner.observation_steps
        response.horizon, response.execute_horizon = plans.shape[1], self._execute
        response.actions = array.array("d", plans.ravel())
        return response

    def _diagnostic_values(self) -> dict[str, object]:
        self._log_news()
        return {
            "policy": self._planner.label, "observations_per_s": f"{self._rate.rate:.1f}",
            "inference_ms": f"{self._inference_s * 1000:.1f}", "plans": self._plans,
            "plans_outdated": self._dropped, "plans_failed": self._failures,
            "observations_incomplete": self._feed.dropped if self._feed else 0,
            **({"inference_trouble": trouble} if (trouble := self._inference.trouble) else {}),
            **self._planner.status(),
        }


def main() -> None:
    """Run the policy until interrupted."""
    sys.exit(run(PolicyNode))


if __name__ == "__main__":
    main()
