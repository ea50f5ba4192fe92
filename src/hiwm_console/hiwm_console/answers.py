"""Service responses in the form that a page reads."""

import base64
import math
from typing import Any

import numpy as np

from hiwm_console.pictures import picture
from hiwm_core.frames import image_array
from hiwm_teleop.service_routes import succeeded


def answer_of(action: str, response: Any) -> dict[str, Any]:
    """Return a service's response in the form that a page reads."""
    answer = {"ok": succeeded(response), "message": str(response.message)}
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
    """Return a number for JSON; None if it is unknown."""
    return round(float(value), 4) if math.isfinite(value) else None


def data_address(image: Any) -> str:
    """Return a sensor_msgs/Image as a data URL of a picture."""
    data = picture(np.asarray(image_array(image)))
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
