"""A world that only counts steps, as a real node: ticks, world_info, two services."""

import itertools
from collections.abc import Callable

from hiwm_interfaces.msg import Command, Continuation, Tick, WorldInfo
from hiwm_interfaces.srv import ContinueState, RestoreState
from rclpy.node import Node

from hiwm_nodes.messages import time_message
from hiwm_nodes.qos import LATCHED, TICK


class FakeWorld(Node):
    """Steps on request, and remembers every state.

    A non-empty `refusal` makes its services refuse with that reason.
    """

    def __init__(self, context: object, *, hardware: bool = False) -> None:
        super().__init__("world", context=context)  # type: ignore[arg-type]
        self.hardware = hardware
        self.epoch = self.step = self.episode = 0
        self.branch = ""
        self.refusal = ""
        self.before_answer: Callable[[], object] = lambda: None
        self.restored: list[tuple[str, str, str]] = []
        self._steps: dict[str, int] = {}
        self._stamps = itertools.count(1)
        self._tick = self.create_publisher(Tick, "tick", TICK)
        info = self.create_publisher(WorldInfo, "world_info", LATCHED)
        info.publish(
            WorldInfo(
                kind="hardware" if hardware else "imagination",
                robot="standin" if hardware else "",
                stand_in=hardware,
                can_restore=not hardware,
                can_fork=not hardware,
                labels=["success", "failure"],
            )
        )
        self._info = info
        self.service = self.create_service(RestoreState, "world/restore_state", self._restore)
        self.continued: list[ContinueState.Request] = []
        self.create_service(ContinueState, "world/continue_state", self._continue)

    def reset(self) -> None:
        self.episode += 1
        self.epoch += 1
        self.step = 0
        self.branch = f"ep_{self.episode:04d}-b000"
        self.send()

    def go(self, steps: int = 1, source: int = Command.SOURCE_POLICY, trust: float = 1.0) -> None:
        for _ in range(steps):
            self.step += 1
            self.send(source=source, trust=trust, action=[0.1, 0.2, 0.3, 0.4])

    def send(
        self,
        source: int = Command.SOURCE_NONE,
        trust: float = 1.0,
        action: list[float] | None = None,
        state_id: str | None = None,
    ) -> None:
        stamp = next(self._stamps)
        if state_id is None:
            state_id = "" if self.hardware else f"{stamp:032x}"
        self._steps[state_id] = self.step
        tick = Tick(
            epoch=self.epoch,
            step=self.step,
            episode_id=f"ep_{self.episode:04d}",
            branch_id=self.branch,
            state_id=state_id,
            trust=trust,
            progress=0.5,
            success=0.0,
            applied_action=action or [],
            applied_source=source,
        )
        tick.header.stamp = time_message(stamp)
        self._last = tick
        self._tick.publish(tick)

    def repeat(self) -> None:
        """Send the newest tick again, as a waiting world does for late subscribers."""
        self._tick.publish(self._last)

    def _restore(
        self, request: RestoreState.Request, response: RestoreState.Response
    ) -> RestoreState.Response:
        if self.refusal:
            response.message = self.refusal
            return response
        self.before_answer()
        self.restored.append((request.state_id, request.branch_id, request.episode_id))
        self.epoch += 1
        self.step = self._steps[request.state_id]
        self.branch = request.branch_id
        self.send(state_id=request.state_id)
        response.ok, response.epoch, response.step = True, self.epoch, self.step
        return response

    def _continue(
        self, request: ContinueState.Request, response: ContinueState.Response
    ) -> ContinueState.Response:
        self.continued.append(request)
        response.ok, response.message = not self.refusal, self.refusal
        response.continuations = [
            Continuation(seed=request.seed + i, steps=request.steps) for i in range(request.count)
        ]
        return response
