"""Sends an operator's requests as service calls, one at a time and in order."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from hiwm_teleop.devices.base import Answer, OperatorEvent
from hiwm_teleop.service_routes import ROUTES, clients_of, succeeded

# How long to wait for a node that starts late before it is reported as missing.
_FIND_S = 5.0


class ServiceRequests:
    """Calls services for events without blocking, and passes on the answers.

    Args:
        node: the calling node.
        on_answer: called with each answer, in the order of the events.
    """

    def __init__(self, node: Node, on_answer: Callable[[Answer], None]) -> None:
        self._node = node
        self._on_answer = on_answer
        self._clients = clients_of(node)
        self._queue: deque[tuple[OperatorEvent, float]] = deque()
        self._call: Any = None  # the pending call, a Future
        self._called = 0.0

    @property
    def idle(self) -> bool:
        """Whether every request has its answer."""
        return not self._queue

    def ask(self, event: OperatorEvent) -> None:
        """Queue a request."""
        self._queue.append((event, time.monotonic()))
        self.pump()

    def pump(self) -> None:
        """Start the next call once its service is available; drop a call that timed out."""
        while self._queue:
            event, since = self._queue[0]
            route = ROUTES[event.kind]
            now = time.monotonic()
            client = self._clients[route.service]
            if self._call is not None:
                if now - self._called < route.patience_s:
                    return
                client.remove_pending_request(self._call)
                problem = f"{route.service} did not answer in {route.patience_s:g} s"
                self._node.get_logger().warning(problem)
                self._finish(event, False, problem)
                continue
            missing = route.missing(self._node, client)
            if missing:
                if not client.service_is_ready() and now - since < _FIND_S:
                    return
                self._finish(event, False, missing)
                continue
            self._called = now
            self._call = client.call_async(route.request(event))
            self._call.add_done_callback(lambda call, event=event: self._answered(event, call))
            return

    def _answered(self, event: OperatorEvent, call: Any) -> None:
        if call is not self._call:
            return  # timed out earlier
        answer = call.result()
        self._finish(
            event, succeeded(answer), str(answer.message),
            node_id=getattr(answer, "node_id", ""), branch_id=getattr(answer, "branch_id", ""),
            epoch=getattr(answer, "epoch", -1), step=getattr(answer, "step", -1),
        )
        self.pump()

    def _finish(self, event: OperatorEvent, ok: bool, message: str, **place: Any) -> None:
        self._call = None
        self._queue.popleft()
        self._on_answer(Answer(kind=event.kind, ok=ok, message=message, **place))
