"""The service that answers each operator request: one table for devices and the console."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hiwm_interfaces.srv import (
    Continue,
    ControlRequest,
    Discard,
    Fork,
    Label,
    Propose,
    Reset,
    Rollback,
    SaveState,
)
from rclpy.client import Client
from rclpy.node import Node
from std_srvs.srv import Trigger

from hiwm_teleop.devices.base import EventKind, OperatorEvent

# The console shows a grid of continuations: as many as fit a screen, long enough to show where the
# policy is heading, with enough frames of each to show how.
DEFAULT_COUNT = 8
CONTINUE_STEPS = 60
CONTINUE_FRAMES = 4
DEFAULT_PROPOSALS = 12
# A reset may wait for a robot and its streams, or read through a long bag.
RESET_S = 30.0


@dataclass(frozen=True)
class Route:
    """How one kind of request is sent."""

    service: str
    kind: Any
    request: Callable[[OperatorEvent], Any]
    server: str  # node that offers the service, for the message if none does
    patience_s: float = 10.0
    # Topic that must have a publisher for the request to have an effect, and its usual publisher.
    topic: str = ""
    publisher: str = ""

    def missing(self, node: Node, client: Client) -> str:
        """Return why no node would act on this request now, human-readable; empty if one would.

        Args:
            node: queries the graph.
            client: for the route's service.
        """
        if not client.service_is_ready():
            return f"no node offers {self.service}: start the {self.server}"
        if self.topic and node.count_publishers(self.topic) == 0:
            return f"no node publishes {self.topic}: start the {self.publisher}"
        return ""


def _control(code: int, *, topic: str = "", publisher: str = "") -> Route:
    return Route(
        "control/request", ControlRequest,
        lambda event: ControlRequest.Request(request=code, reason=event.note), "arbiter",
        topic=topic, publisher=publisher,
    )


ROUTES: dict[EventKind, Route] = {
    EventKind.START: _control(
        ControlRequest.Request.START, topic="policy/plan", publisher="policy, or take over"
    ),
    EventKind.PAUSE: _control(ControlRequest.Request.PAUSE),
    EventKind.STOP: _control(ControlRequest.Request.STOP),
    EventKind.CLEAR_STOP: _control(ControlRequest.Request.CLEAR_STOP),
    EventKind.ROLLBACK: Route(
        "branches/rollback", Rollback,
        lambda event: Rollback.Request(node_id=event.node_id, steps=event.steps),
        "branch manager",
    ),
    EventKind.FORK: Route(
        "branches/fork", Fork, lambda event: Fork.Request(node_id=event.node_id),
        "branch manager",
    ),
    EventKind.LABEL: Route(
        "branches/label", Label,
        lambda event: Label.Request(
            branch_id=event.branch_id, label=str(event.label), note=event.note, who=event.who
        ),
        "branch manager",
    ),
    EventKind.DISCARD: Route(
        "branches/discard", Discard,
        lambda event: Discard.Request(branch_id=event.branch_id, restore=event.restore),
        "branch manager",
    ),
    EventKind.PROPOSE: Route(
        "branches/propose", Propose,
        lambda event: Propose.Request(count=event.count or DEFAULT_PROPOSALS), "branch manager",
    ),
    EventKind.CONTINUE: Route(
        "branches/continue", Continue,
        lambda event: Continue.Request(
            node_id=event.node_id, count=event.count or DEFAULT_COUNT,
            steps=event.steps or CONTINUE_STEPS, seed=event.seed, frames=CONTINUE_FRAMES,
        ),
        "branch manager", 120.0, "policy/plan", "policy",
    ),
    EventKind.RESET: Route(
        "world/reset", Reset, lambda event: Reset.Request(start=event.start, seed=-1), "world",
        RESET_S,
    ),
    # A person has arranged the scene to match the picture overlaid on the camera.
    EventKind.RESET_BY_HAND: Route(
        "world/reset", Reset, lambda event: Reset.Request(seed=-1, by_hand=True), "world"
    ),
    EventKind.SAVE: Route(
        "world/save_state", SaveState, lambda event: SaveState.Request(note=event.note), "world"
    ),
    # A person has cleared the interlock that stopped the robot.
    EventKind.REARM: Route(
        "world/rearm", Trigger, lambda event: Trigger.Request(), "robot bridge"
    ),
}


def succeeded(response: Any) -> bool:
    """Return whether a service did what was asked; std_srvs/Trigger has another field for it."""
    return bool(response.success if isinstance(response, Trigger.Response) else response.ok)


def clients_of(node: Node) -> dict[str, Client]:
    """Return a client of `node` for each service in the table, by service name."""
    return {
        route.service: node.create_client(route.kind, route.service)
        for route in {route.service: route for route in ROUTES.values()}.values()
    }
