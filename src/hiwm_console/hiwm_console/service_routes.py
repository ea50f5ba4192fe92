"""A page's requests as service calls, and the answers as a page reads them."""

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
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

from hiwm_console.pictures import picture
from hiwm_console.protocol import Act
from hiwm_core.frames import image_array

# A grid of continuations: as many as fit a screen, for as long as the policy needs to show where it
# is going, with enough frames of each to see how.
DEFAULT_COUNT = 8
CONTINUE_STEPS = 60
CONTINUE_FRAMES = 4
DEFAULT_PROPOSALS = 12


@dataclass(frozen=True)
class Route:
    """How one action is asked for."""

    service: str
    kind: Any
    request: Callable[[Act], Any]
    server: str  # who answers it, for the message when nobody does
    patience_s: float = 10.0


def _control(code: int) -> Route:
    return Route(
        "control/request", ControlRequest,
        lambda act: ControlRequest.Request(request=code, reason=act.note), "arbiter",
    )


ROUTES: dict[str, Route] = {
    "start": _control(ControlRequest.Request.START),
    "pause": _control(ControlRequest.Request.PAUSE),
    "stop": _control(ControlRequest.Request.STOP),
    "clear_stop": _control(ControlRequest.Request.CLEAR_STOP),
    "rollback": Route(
        "branches/rollback", Rollback,
        lambda act: Rollback.Request(node_id=act.node, steps=act.steps), "branch manager",
    ),
    "fork": Route(
        "branches/fork", Fork, lambda act: Fork.Request(node_id=act.node), "branch manager"
    ),
    "label": Route(
        "branches/label", Label,
        lambda act: Label.Request(branch_id=act.branch, label=act.label, note=act.note),
        "branch manager",
    ),
    "discard": Route(
        "branches/discard", Discard,
        lambda act: Discard.Request(branch_id=act.branch, restore=act.restore), "branch manager",
    ),
    "propose": Route(
        "branches/propose", Propose,
        lambda act: Propose.Request(count=act.count or DEFAULT_PROPOSALS), "branch manager",
    ),
    "continue": Route(
        "branches/continue", Continue,
        lambda act: Continue.Request(
            node_id=act.node, count=act.count or DEFAULT_COUNT, steps=act.steps or CONTINUE_STEPS,
            seed=act.seed, frames=CONTINUE_FRAMES,
        ),
        "branch manager, with a policy and a world that continue in batches", 120.0,
    ),
    "reset": Route("world/reset", Reset, lambda act: Reset.Request(seed=-1), "world"),
    # A person has put the scene as the picture over the camera shows it.
    "reset_by_hand": Route(
        "world/reset", Reset, lambda act: Reset.Request(seed=-1, by_hand=True), "world"
    ),
    "save": Route(
        "world/save_state", SaveState, lambda act: SaveState.Request(note=act.note), "world"
    ),
}


def answer_of(action: str, response: Any) -> dict[str, Any]:
    """Return a service's response as a page reads it."""
    answer = {"ok": bool(response.ok), "message": str(response.message)}
    for field, key in (("node_id", "node"), ("branch_id", "branch"), ("episode_id", "episode")):
        if hasattr(response, field):
            answer[key] = str(getattr(response, field))
    if action == "propose":
        answer["proposals"] = [
            {"node": node, "score": round(float(score), 3), "reason": reason}
            for node, score, reason in zip(
                response.node_ids, response.scores, response.reasons, strict=True
            )
        ]
    elif action == "continue":
        answer["continuations"] = [
            {
                "seed": int(one.seed), "steps": int(one.steps), "success": number(one.success),
                "progress": number(one.progress), "trust": number(one.trust),
                "frames": [data_address(image) for image in one.frames],
            }
            for one in response.continuations
        ]
    return answer


def number(value: float) -> float | None:
    """Return a number JSON can hold; None where it is unknown."""
    return round(float(value), 4) if math.isfinite(value) else None


def data_address(image: Any) -> str:
    """Return a sensor_msgs/Image as a data address of a picture."""
    data = picture(np.asarray(image_array(image)))
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
