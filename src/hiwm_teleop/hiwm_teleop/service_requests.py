"""An operator's requests as service calls, one at a time and in order."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hiwm_interfaces.srv import (
    ControlRequest,
    Discard,
    Fork,
    Label,
    Reset,
    Rollback,
    SaveState,
)
from rclpy.client import Client
from rclpy.node import Node

from hiwm_teleop.devices.base import Answer, EventKind, OperatorEvent

# A node that starts late is waited for; one that is not there is said to be missing.
_FIND_S = 5.0
_ANSWER_S = 10.0


@dataclass(frozen=True)
class _Route:
    service: str
    kind: Any
    request: Callable[[OperatorEvent], Any]
    server: str  # who answers it, for the message when nobody does


def _control(code: int) -> _Route:
    return _Route(
        "control/request", ControlRequest,
        lambda event: ControlRequest.Request(request=code, reason=event.note), "arbiter",
    )


ROUTES: dict[EventKind, _Route] = {
    EventKind.START: _control(ControlRequest.Request.START),
    EventKind.PAUSE: _control(ControlRequest.Request.PAUSE),
    EventKind.STOP: _control(ControlRequest.Request.STOP),
    EventKind.CLEAR_STOP: _control(ControlRequest.Request.CLEAR_STOP),
    EventKind.ROLLBACK: _Route(
        "branches/rollback", Rollback,
        lambda event: Rollback.Request(node_id=event.node_id, steps=event.steps),
        "branch manager",
    ),
    EventKind.FORK: _Route(
        "branches/fork", Fork, lambda event: Fork.Request(node_id=event.node_id),
        "branch manager",
    ),
    EventKind.LABEL: _Route(
        "branches/label", Label,
        lambda event: Label.Request(
            branch_id=event.branch_id, label=int(event.label), note=event.note
        ),
        "branch manager",
    ),
    EventKind.DISCARD: _Route(
        "branches/discard", Discard, lambda event: Discard.Request(branch_id=event.branch_id),
        "branch manager",
    ),
    EventKind.RESET: _Route(
        "world/reset", Reset, lambda event: Reset.Request(seed=-1), "world"
    ),
    EventKind.SAVE: _Route(
        "world/save_state", SaveState, lambda event: SaveState.Request(note=event.note), "world"
    ),
}


class ServiceRequests:
    """Calls services for events, without waiting, and hands back the answers.

    Args:
        node: the node that calls.
        on_answer: called with each answer, in the order of the events.
    """

    def __init__(self, node: Node, on_answer: Callable[[Answer], None]) -> None:
        self._node = node
        self._on_answer = on_answer
        self._clients: dict[str, Client] = {}
        for route in ROUTES.values():
            if route.service not in self._clients:
                self._clients[route.service] = node.create_client(route.kind, route.service)
        self._queue: deque[tuple[OperatorEvent, float]] = deque()
        self._call: Any = None  # the call under way, a Future
        self._called = 0.0

    @property
    def idle(self) -> bool:
        """Whether every request has its answer."""
        return not self._queue

    def ask(self, event: OperatorEvent) -> None:
        """Take a request."""
        self._queue.append((event, time.monotonic()))
        self.pump()

    def pump(self) -> None:
        """Go on: begin the next call when its service is there, give up on a lost one."""
        while self._queue:
            event, since = self._queue[0]
            route = ROUTES[event.kind]
            now = time.monotonic()
            if self._call is not None:
                if now - self._called < _ANSWER_S:
                    return
                self._node.get_logger().warning(f"{route.service} did not answer")
                self._finish(event, False, f"{route.service} did not answer in {_ANSWER_S:.0f} s")
                continue
            client = self._clients[route.service]
            if not client.service_is_ready():
                if now - since < _FIND_S:
                    return
                self._finish(
                    event, False, f"nobody offers {route.service}: start the {route.server}"
                )
                continue
            self._called = now
            self._call = client.call_async(route.request(event))
            self._call.add_done_callback(lambda call, event=event: self._answered(event, call))
            return

    def _answered(self, event: OperatorEvent, call: Any) -> None:
        if call is not self._call:
            return  # given up on before
        answer = call.result()
        self._finish(
            event, bool(answer.ok), str(answer.message),
            node_id=getattr(answer, "node_id", ""), branch_id=getattr(answer, "branch_id", ""),
            epoch=getattr(answer, "epoch", -1), step=getattr(answer, "step", -1),
        )
        self.pump()

    def _finish(self, event: OperatorEvent, ok: bool, message: str, **place: Any) -> None:
        self._call = None
        self._queue.popleft()
        self._on_answer(Answer(kind=event.kind, ok=ok, message=message, **place))
