"""Continuations beside the world: a thread computes them, the policy node plans for them.

The rule of cutting short: a later request, and whatever takes the world elsewhere (reset, rollback,
fork), ends the continuations under way at their next step. Ticks do not: a person may look at
them while the session runs.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from builtin_interfaces.msg import Time
from hiwm_interfaces import msg
from hiwm_interfaces.srv import PlanBatch
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from hiwm_core.errors import DeviceError, HiwmError
from hiwm_learning.simulators import ImaginedObservation, WorldSimulator, WorldState
from hiwm_nodes.messages import image_message
from hiwm_world.continuations import Continuation, CutShortError, Plans, Wanted, continuations
from hiwm_world.tick_priority import TickPriority, YieldingSimulator

POLICY_THERE_S = 1.0  # a policy node that has just come up is heard of within this
PLAN_S = 60.0  # for as many plans as there are continuations
_LOOK_S = 0.05


class _Job:
    """One request under way."""

    def __init__(self) -> None:
        self.answer = Future()
        self._cut = ""

    def cut(self, reason: str) -> None:
        """End it at its next step."""
        self._cut = reason

    def check(self) -> None:
        """Raise CutShortError where it was cut short."""
        if self._cut:
            raise CutShortError(
                f"the continuations were cut short: {self._cut}", where="world/continue_state",
                remedy="ask again where they are still wanted",
            )


class ContinuationService:
    """Serves continuations, one request at a time, in a thread of its own.

    Args:
        node: the world's.
        group: reentrant; of the policy's client.
        simulator: of the world.
        action_dim: entries of an action.
        priority: which the node takes for every tick.
    """

    def __init__(
        self, node: Node, group: CallbackGroup, simulator: WorldSimulator[Any], action_dim: int,
        priority: TickPriority,
    ) -> None:
        self._simulator = YieldingSimulator(simulator, priority)
        self._action_dim = action_dim
        self._threads = torch.get_num_threads()
        self._policy = node.create_client(PlanBatch, "policy/plan_batch", callback_group=group)
        # Wakes the executor, which then finds the answer.
        self._wake = node.create_guard_condition(lambda: None, callback_group=group)
        self._job = _Job()
        self._thread = threading.Thread()

    async def serve(self, state: WorldState, wanted: Wanted) -> list[Continuation]:
        """Return the continuations of a state.

        Raises:
            CutShortError: they were cut short.
            HiwmError: no policy answers, or it does not fit.
        """
        self.cut("a later request came")
        job = self._job = _Job()
        self._thread = threading.Thread(
            target=self._work, args=(job, state, wanted), name="continuations", daemon=True
        )
        self._thread.start()
        found: list[Continuation] = await job.answer
        return found

    def cut(self, reason: str) -> None:
        """End what is under way at its next step."""
        self._job.cut(reason)

    def close(self) -> None:
        """End what is under way, and wait for its end."""
        self.cut("the world ends")
        if self._thread.ident is not None:
            self._thread.join(timeout=5.0)

    def _work(self, job: _Job, state: WorldState, wanted: Wanted) -> None:
        # OpenMP keeps the number of threads for each calling thread of its own.
        torch.set_num_threads(self._threads)

        def ask(
            seeds: Sequence[int], observations: Sequence[Sequence[ImaginedObservation]]
        ) -> Plans:
            return self._plans(job, seeds, observations)

        try:
            found = continuations(self._simulator, state, wanted, ask, job.check)
        except HiwmError as error:
            job.answer.set_exception(error)
        except Exception as error:  # the GPU's memory, for one: no reason to end the world
            job.answer.set_exception(HiwmError(
                f"the continuations failed: {type(error).__name__}: {error}",
                where="world/continue_state", remedy="ask for fewer; the world is as it was",
            ))
        else:
            job.answer.set_result(found)
        self._wake.trigger()

    def _plans(
        self, job: _Job, seeds: Sequence[int],
        observations: Sequence[Sequence[ImaginedObservation]],
    ) -> Plans:
        """Return the policy's plans, asked through the executor that spins the node."""
        deadline = time.monotonic() + POLICY_THERE_S
        while not self._policy.service_is_ready():
            job.check()
            if time.monotonic() > deadline:
                raise _no_policy("no policy answers policy/plan_batch")
            time.sleep(_LOOK_S)
        answered = threading.Event()
        future = self._policy.call_async(plan_request(self._simulator.cameras, seeds, observations))
        future.add_done_callback(lambda _: answered.set())
        deadline = time.monotonic() + PLAN_S
        try:
            while not answered.wait(_LOOK_S):
                job.check()
                if not self._policy.service_is_ready():
                    raise _no_policy("the policy went away")
                if time.monotonic() > deadline:
                    raise DeviceError(
                        f"the policy gave no plans within {PLAN_S:g} s", where="policy/plan_batch",
                        remedy="see the policy's own log, or ask for fewer continuations",
                    )
        finally:
            if not future.done():
                self._policy.remove_pending_request(future)
        return plans_of(future.result(), len(seeds), self._action_dim)


def _no_policy(what: str) -> DeviceError:
    return DeviceError(
        what, where="world/continue_state", remedy="start the policy node in this session"
    )


def plan_request(
    cameras: Sequence[str], seeds: Sequence[int],
    observations: Sequence[Sequence[ImaginedObservation]],
) -> PlanBatch.Request:
    """Return what is asked of the policy: observations [N][S], newest last."""
    return PlanBatch.Request(
        seeds=list(seeds), cameras=list(cameras), observation_steps=len(observations[0]),
        images=[
            image_message(seen.others.get(camera, seen.image), Time(), f"{camera}_camera")
            for run in observations for seen in run for camera in cameras
        ],
        proprio=np.concatenate(
            [seen.proprioception for run in observations for seen in run]
        ).tolist(),
    )


def plans_of(answer: PlanBatch.Response, count: int, action_dim: int) -> Plans:
    """Return the plans of a policy's answer.

    Raises:
        DeviceError: it refused, or answered with something else.
    """
    if not answer.ok:
        raise DeviceError(answer.message, where="the policy's answer")
    horizon, execute, looks = answer.horizon, answer.execute_horizon, answer.observation_steps
    if not (1 <= execute <= horizon and looks >= 1
            and len(answer.actions) == count * horizon * action_dim):
        raise DeviceError(
            f"the policy answered with {len(answer.actions)} numbers, {horizon} actions a plan, "
            f"{execute} to run, {looks} observations", where="policy/plan_batch",
            remedy=f"it must give {count} plans of {action_dim} entries an action, and run at "
            "least one and at most all of a plan's actions",
        )
    return Plans(
        observation_steps=looks, execute_horizon=execute,
        actions=np.array(answer.actions, np.float64).reshape(count, horizon, action_dim),
    )


def continuation_message(found: Continuation, camera: str) -> msg.Continuation:
    """Return a continuation as it goes over the wire."""
    return msg.Continuation(
        seed=found.seed, steps=len(found.progress_by_step), end=found.end, success=found.success,
        progress=found.progress, trust=found.trust, progress_by_step=found.progress_by_step,
        frame_steps=[step for step, _ in found.frames],
        frames=[image_message(image, Time(), f"{camera}_camera") for _, image in found.frames],
    )
