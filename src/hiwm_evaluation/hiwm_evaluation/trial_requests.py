"""An evaluation's requests to the arbiter and the world, sent one at a time."""

from collections.abc import Callable

from hiwm_interfaces.srv import ControlRequest, Reset
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

from hiwm_evaluation.evaluation_messages import Request, RequestKind


class TrialRequests:
    """Clients of the services that a person uses.

    Args:
        node: owner of the clients.
        on_reply: called with the request's number, whether it was accepted, the message, and the
            epoch of a reset, or -1.
    """

    def __init__(self, node: Node, on_reply: Callable[[int, bool, str, int], None]) -> None:
        self.control = node.create_client(ControlRequest, "control/request")
        self.reset = node.create_client(Reset, "world/reset")
        self.start_names: list[str] = []  # of the task
        self._on_reply = on_reply
        self._waiting: Request | None = None  # for its service
        self._unanswered: tuple[Client, Future] | None = None

    def ask(self, request: Request) -> None:
        """Send a request, now or once its service is available."""
        self._waiting = request
        self.send()

    def send(self) -> None:
        """Send the waiting request if its service is available."""
        request = self._waiting
        if request is None:
            return
        client = self.reset if request.kind is RequestKind.RESET else self.control
        if not client.service_is_ready():
            return
        self._waiting = None
        if self._unanswered is not None:  # never answered; its trial was aborted
            asked, call = self._unanswered
            asked.remove_pending_request(call)
        future = client.call_async(self._message(request))
        self._unanswered = client, future
        future.add_done_callback(lambda done: self._on_answer(request, done))

    def _message(self, request: Request) -> Reset.Request | ControlRequest.Request:
        if request.kind is RequestKind.RESET:
            return Reset.Request(
                start_names=self.start_names,
                start_values=[float(value) for value in request.start], seed=request.seed,
                by_hand=request.by_hand,
            )
        code = getattr(ControlRequest.Request, request.kind.name)
        return ControlRequest.Request(request=code, reason="evaluation")

    def _on_answer(self, request: Request, future: Future) -> None:
        self._unanswered = None
        answer = future.result()
        if answer is not None:
            epoch = answer.epoch if request.kind is RequestKind.RESET else -1
            self._on_reply(request.number, answer.ok, answer.message, epoch)
