"""Starting an episode with the driver's reset service, without blocking the node."""

import time
from collections.abc import Callable, Mapping

import numpy as np
from rclpy.node import Node
from rclpy.task import Future

from hiwm_core.robot_config import RobotConfig
from hiwm_core.stamps import stamp_ns
from hiwm_core.tasks import Task
from hiwm_robot.bridge_core import BridgeCore
from hiwm_robot.bridge_state import Phase
from hiwm_robot.robot_side import RobotSide

# Lock-step: a running driver finishes a step well within this.
STEP_WAIT_S = 2.0


class EpisodeReset:
    """Places the scene and waits for the first observation of it.

    Args:
        node: its executor runs the waits.
        robot: names the reset service.
        task: samples starts.
        core: started when the scene is in place.
        side: calls the service.
        lockstep: as in the bridge.
        seed: of the first sampled start; the next ones count up.
        timeout_s: for the service, and again for the first image.
        activating: whether the bridge is about to become active by itself.
    """

    def __init__(
        self, node: Node, robot: RobotConfig, task: Task, core: BridgeCore, side: RobotSide, *,
        lockstep: bool, seed: int, timeout_s: float, activating: Callable[[], bool],
    ) -> None:
        self._node = node
        self._robot = robot
        self._task = task
        self._core = core
        self._side = side
        self._lockstep = lockstep
        self._next_seed = seed
        self._timeout_s = timeout_s
        self._activating = activating
        self._waits: list[tuple[Callable[[], bool], float, Future]] = []

    async def reset(
        self, values: Mapping[str, float], seed: int, start: str, *, by_hand: bool
    ) -> str:
        """Start a new episode; return the reason for a failure, or an empty string.

        Args:
            values: the task's start values by name; empty samples a start.
            seed: of the sample; negative uses the next one.
            start: name of a start; robots have none.
            by_hand: a person has arranged the scene: nothing is placed or moved.
        """
        robot = self._robot.name
        if not self._robot.reset_service and not by_hand:
            return (
                f"robot {robot} has no reset service: reset the scene by hand, then call "
                "world/reset with by_hand: true, which starts a new episode"
            )
        if start:
            return f"robot {robot} has no start named {start!r}: give start values or a seed"
        state = self._core.state
        if self._activating():
            await self._until(lambda: state.phase is not Phase.INACTIVE, self._timeout_s)
        if state.phase in (Phase.RESETTING, Phase.STARTING):
            # An episode is already starting: resets run one after the other.
            await self._until(lambda: state.phase is Phase.RUNNING, 2 * self._timeout_s)
        if self._lockstep and state.phase is Phase.RUNNING:
            # Let the driver finish its step, or it would take it after the reset.
            await self._until(lambda: state.waiting or bool(state.stale), STEP_WAIT_S)
        problem = self._core.begin_reset()
        if by_hand and not problem:
            self._core.start(time.monotonic())
            return await self._first_observation()
        return problem or await self.place(values, seed)

    async def place(self, values: Mapping[str, float], seed: int) -> str:
        """Place the scene, after `BridgeCore.begin_reset`; arguments and result as in `reset`."""
        if seed < 0:
            seed = self._next_seed
            self._next_seed += 1
        if not values:
            values = self._task.sample_start(np.random.default_rng(seed))
        problem = await self._place(values, seed)
        if problem:
            self._core.abandon_reset(time.monotonic())
        return problem

    async def _place(self, values: Mapping[str, float], seed: int) -> str:
        service = self._robot.reset_service
        future = self._side.place(values, seed)
        if not await self._until(future.done, self._timeout_s):
            self._side.forget_placing(future)
            return (
                f"no response from {service} within {self._timeout_s:g} s: is the driver running?"
            )
        placed = future.result()
        if placed is None or not placed.ok:
            return f"{service} refused: {placed.message if placed else future.exception()}"
        if self._core.state.phase is not Phase.RESETTING:
            return "the bridge was stopped or deactivated during the reset"
        self._core.start(time.monotonic(), stamp_ns(placed.header.stamp))
        return await self._first_observation()

    async def _first_observation(self) -> str:
        """Wait for the first observation of an episode; return the reason if none arrives."""
        if not await self._until(
            lambda: self._core.state.phase is Phase.RUNNING, self._timeout_s
        ):
            return f"no image of the scene within {self._timeout_s:g} s: check the driver"
        return ""

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait while other callbacks run; return whether the condition became true."""
        if condition():
            return True
        future: Future = Future(executor=self._node.executor)
        self._waits.append((condition, time.monotonic() + timeout_s, future))
        return bool(await future)

    def poll(self) -> None:
        """Check all waits; call it after each tick and a few times per second."""
        now = time.monotonic()
        for wait in list(self._waits):
            condition, deadline, future = wait
            met = condition()
            if met or now > deadline:
                self._waits.remove(wait)
                future.set_result(met)
