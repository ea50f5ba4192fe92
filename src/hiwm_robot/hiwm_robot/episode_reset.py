"""Beginning an episode by the driver's own reset, while everything else goes on."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from rclpy.node import Node
from rclpy.task import Future

from hiwm_core.robot_config import RobotConfig
from hiwm_core.stamps import stamp_ns
from hiwm_core.task import Task
from hiwm_robot.bridge_core import BridgeCore, Phase
from hiwm_robot.robot_side import RobotSide

# Lock-step: the driver finishes a step well within this, or it is not there.
STEP_WAIT_S = 2.0


class EpisodeReset:
    """Places the scene and waits for the first observation of it.

    Args:
        node: its executor runs the waiting.
        robot: names the reset service.
        task: draws starts.
        core: told when the episode begins.
        side: calls the service.
        lockstep: as in the bridge.
        seed: of the first start drawn here; the next ones count up.
        timeout_s: for the service, and again for the first image.
    """

    def __init__(
        self, node: Node, robot: RobotConfig, task: Task, core: BridgeCore, side: RobotSide, *,
        lockstep: bool, seed: int, timeout_s: float,
    ) -> None:
        self._node = node
        self._robot = robot
        self._task = task
        self._core = core
        self._side = side
        self._lockstep = lockstep
        self._next_seed = seed
        self._timeout_s = timeout_s
        self._waits: list[tuple[Callable[[], bool], float, Future]] = []

    async def reset(
        self, pose: Sequence[float], seed: int, start: str, *, by_hand: bool
    ) -> str:
        """Begin a new episode; returns why it could not, or an empty string.

        Args:
            pose: object pose x [m], y [m], yaw [rad]; empty draws one.
            seed: of the draw; negative takes the next one.
            start: name of a start; robots have none.
            by_hand: a person has put the scene as it shall be: nothing is placed or moved.
        """
        robot = self._robot.name
        if not self._robot.reset_service and not by_hand:
            return (
                f"robot {robot} has no reset service: put the scene back by hand, then call "
                "world/reset with by_hand: true, which begins a new episode"
            )
        if start:
            return f"robot {robot} has no start named {start!r}: give object_pose or a seed"
        state = self._core.state
        if state.phase in (Phase.RESETTING, Phase.STARTING):
            # An episode is just beginning: resets take their turns.
            await self._until(lambda: state.phase is Phase.RUNNING, 2 * self._timeout_s)
        if self._lockstep and state.phase is Phase.RUNNING:
            # Let the driver finish the step it was sent, or it would take it after the reset.
            await self._until(lambda: state.waiting or bool(state.stale), STEP_WAIT_S)
        problem = self._core.begin_reset()
        if by_hand and not problem:
            self._core.start(time.monotonic())
            return await self._begun()
        return problem or await self.place(pose, seed)

    async def place(self, pose: Sequence[float], seed: int) -> str:
        """Do the reset the core has been told of; arguments and result as of `reset`."""
        if seed < 0:
            seed = self._next_seed
            self._next_seed += 1
        if not len(pose):
            pose = [float(v) for v in self._task.sample_start(np.random.default_rng(seed))]
        problem = await self._place(pose, seed)
        if problem:
            self._core.abandon_reset(time.monotonic())
        return problem

    async def _place(self, pose: Sequence[float], seed: int) -> str:
        service = self._robot.reset_service
        future = self._side.place(pose, seed)
        if not await self._until(future.done, self._timeout_s):
            self._side.give_up_placing(future)
            return f"no answer from {service} within {self._timeout_s:g} s: is the driver running?"
        placed = future.result()
        if placed is None or not placed.ok:
            return f"{service} refused: {placed.message if placed else future.exception()}"
        if self._core.state.phase is Phase.INACTIVE:
            return "the bridge was deactivated meanwhile: activate it again"
        self._core.start(time.monotonic(), stamp_ns(placed.header.stamp))
        return await self._begun()

    async def _begun(self) -> str:
        """Wait for the first observation of an episode; return why it did not come, or nothing."""
        if not await self._until(
            lambda: self._core.state.phase is Phase.RUNNING, self._timeout_s
        ):
            return f"no image of the scene within {self._timeout_s:g} s: check the driver"
        return ""

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait, letting other callbacks run; returns whether the condition came to hold."""
        if condition():
            return True
        future: Future = Future(executor=self._node.executor)
        self._waits.append((condition, time.monotonic() + timeout_s, future))
        return bool(await future)

    def look(self) -> None:
        """Look at what is waited for; call it after each tick and a few times a second."""
        now = time.monotonic()
        for wait in list(self._waits):
            condition, deadline, future = wait
            met = condition()
            if met or now > deadline:
                self._waits.remove(wait)
                future.set_result(met)
