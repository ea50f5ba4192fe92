"""Continuations beside the world: a thread computes them, the policy node plans them.

A later request, a reset, a rollback or a fork cancels the running continuations at their next step.
Ticks do not cancel them: a person may look at continuations while the session runs.
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
from hiwm_learning.world_models.simulators import ImaginedObservation, WorldSimulator, WorldState
from hiwm_nodes.messages import image_message
from hiwm_world.continuations import (
    CancelledError,
    Continuation,
    ContinuationSpec,
    Plans,
    continuations,
)
from hiwm_world.tick_priority import TickPriority, YieldingSimulator

POLICY_WAIT_S = 1.0  # discovery of a policy node that has just started takes less
PLAN_S = 60.0  # timeout for the plans of all continuations
_POLL_S = 0.05


class _Job:
    """One running request."""

    def __init__(self) -> None:
        self.answer = Future()
        self._cancelled = ""

    def cancel(self, reason: str) -> None:
        """Cancel it at its next step."""
        self._cancelled = reason

    def check(self) -> None:
        """Raise CancelledError if it was cancelled."""
        if self._cancelled:
            raise CancelledError(
                f"the continuations were cancelled: {self._cancelled}",
                where="world/continue_state", remedy="repeat the request if you still need them",
            )


class ContinuationService:
    """Serves continuations, one request at a time, in its own thread.

    Args:
        node: the world's node.
        group: reentrant callback group for the policy client.
        simulator: the world's simulator.
        action_dim: entries of an action.
        priority: the node takes it for every tick.
    """

    def __init__(
        self, node: Node, group: CallbackGroup, simulator: WorldSimulator[Any], action_dim: int,
        priority: TickPriority,
    ) -> None:
        self._simulator = YieldingSimulator(simulator, priority)
        self._action_dim = action_dim
        self._threads = torch.get_num_threads()
        self._policy = node.create_client(PlanBatch, "policy/plan_batch", callback_group=group)
        # Wakes the executor, which then resumes the waiting service callback.
        self._wake = node.create_guard_condition(lambda: None, callback_group=group)
        self._job = _Job()
        self._thread = threading.Thread()

    async def serve(self, state: WorldState, spec: ContinuationSpec) -> list[Continuation]:
        """Return the continuations of a state.

        Raises:
            CancelledError: they were cancelled.
            HiwmError: no policy responds, or its plans do not fit.
        """
        self.cancel("a later request arrived")
        job = self._job = _Job()
        self._thread = threading.Thread(
            target=self._work, args=(job, state, spec), name="continuations", daemon=True
        )
        self._thread.start()
        found: list[Continuation] = await job.answer
        return found

    def cancel(self, reason: str) -> None:
        """Cancel the running request at its next step."""
        self._job.cancel(reason)

    def close(self) -> None:
        """Cancel the running request and wait until it stops."""
        self.cancel("the world is shutting down")
        if self._thread.ident is not None:
            self._thread.join(timeout=5.0)

    def _work(self, job: _Job, state: WorldState, spec: ContinuationSpec) -> None:
        # OpenMP stores the number of threads per calling thread.
        torch.set_num_threads(self._threads)

        def ask(
            seeds: Sequence[int], observations: Sequence[Sequence[ImaginedObservation]]
        ) -> Plans:
            return self._plans(job, seeds, observations)

        try:
            found = continuations(self._simulator, state, spec, ask, job.check)
        except HiwmError as error:
            job.answer.set_exception(error)
        except Exception as error:  # e.g. out of GPU memory: no reason to stop the world
            job.answer.set_exception(HiwmError(
                f"the continuations failed: {type(error).__name__}: {error}",
                where="world/continue_state", remedy="request fewer; the world is unchanged",
            ))
        else:
            job.answer.set_result(found)
        self._wake.trigger()

    def _plans(
        self, job: _Job, seeds: Sequence[int],
        observations: Sequence[Sequence[ImaginedObservation]],
    ) -> Plans:
        """Return the policy's plans; the executor that spins the node makes the call."""
        deadline = time.monotonic() + POLICY_WAIT_S
        while not self._policy.service_is_ready():
            job.check()
            if time.monotonic() > deadline:
                raise _no_policy("no policy serves policy/plan_batch")
            time.sleep(_POLL_S)
        answered = threading.Event()
        future = self._policy.call_async(plan_request(self._simulator.cameras, seeds, observations))
        future.add_done_callback(lambda _: answered.set())
        deadline = time.monotonic() + PLAN_S
        try:
            while not answered.wait(_POLL_S):
                job.check()
                if not self._policy.service_is_ready():
                    raise _no_policy("the policy node stopped")
                if time.monotonic() > deadline:
                    raise DeviceError(
                        f"the policy returned no plans within {PLAN_S:g} s",
                        where="policy/plan_batch",
                        remedy="check the policy's log, or request fewer continuations",
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
    """Return the request to the policy for observations [N][S], newest last."""
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
    """Return the plans in a policy's response.

    Raises:
        DeviceError: it refused, or the response is malformed.
    """
    if not answer.ok:
        raise DeviceError(answer.message, where="the policy's response")
    horizon, execute, window = answer.horizon, answer.execute_horizon, answer.observation_steps
    if not (1 <= execute <= horizon and window >= 1
            and len(answer.actions) == count * horizon * action_dim):
        raise DeviceError(
            f"the policy returned {len(answer.actions)} numbers, {horizon} actions per plan, "
            f"{execute} to run, {window} observations", where="policy/plan_batch",
            remedy=f"it must return {count} plans with {action_dim} entries per action, and run "
            "at least one and at most all actions of a plan",
        )
    return Plans(
        observation_steps=window, execute_horizon=execute,
        actions=np.array(answer.actions, np.float64).reshape(count, horizon, action_dim),
    )


def continuation_message(found: Continuation, camera: str) -> msg.Continuation:
    """Return a continuation as a message."""
    return msg.Continuation(
        seed=found.seed, steps=len(found.progress_by_step), end=found.end, success=found.success,
        progress=found.progress, trust=found.trust, progress_by_step=found.progress_by_step,
        frame_steps=[step for step, _ in found.frames],
        frames=[image_message(image, Time(), f"{camera}_camera") for _, image in found.frames],
    )
