"""The messages between a world-model server and its client; see docs/world_servers.md.

Both sides check what they receive here. The encoding is `hiwm_core.wire_codec`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.errors import WireError
from hiwm_core.world_heads import HEADS

PROTOCOL, VERSION = "hiwm-world", 1
_WHERE = "world server"
_NUMBER = (float, int, np.number)


@dataclass(frozen=True, kw_only=True)
class CameraView:
    """A camera that a model draws."""

    name: str
    height: int  # px
    width: int  # px


@dataclass(frozen=True, kw_only=True)
class WorldMetadata:
    """What a server says of its model when a client connects."""

    name: str  # shown to people
    model: str  # identifies weights and settings: states fit only an equal one
    cameras: tuple[CameraView, ...]
    actions: int  # entries of an action, A
    proprioception: int  # P; 0: the model predicts none, joints follow the targets
    period_s: float  # of one step
    heads: tuple[str, ...] = ()  # of `hiwm_core.world_heads.HEADS`, those that mean something
    can_restore: bool = True  # states travel to the client and back
    embodiment_hash: str = ""  # of the embodiment it was trained for; empty: not known
    task_hash: str = ""  # of the task; empty: not known

    def message(self) -> dict[str, Any]:
        """Return the first message of a server."""
        return {"protocol": PROTOCOL, "version": VERSION, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class WorldObservation:
    """What a world shows in a state."""

    images: tuple[NDArray[np.uint8], ...]  # of each camera, [H, W, 3] rgb
    # [P] in the embodiment's units; None if the model predicts none
    proprioception: NDArray[np.float64] | None = None
    # Probabilities, 0..1; NaN from heads that the metadata do not list.
    trust: float = math.nan
    progress: float = math.nan
    success: float = math.nan
    strangeness: float = math.nan  # above 1: the picture has left the training data


@dataclass(frozen=True, kw_only=True)
class ServedState(WorldObservation):
    """A state as the client gets it."""

    id: str  # under which the server knows it
    parts: Mapping[str, bytes]  # all that restores it; empty if the server cannot restore


def state_message(served: ServedState) -> dict[str, Any]:
    """Return a state as a message."""
    return {entry.name: getattr(served, entry.name) for entry in fields(ServedState)}


def read_metadata(message: Any) -> WorldMetadata:
    """Return the metadata in a server's first message.

    Raises:
        WireError: a server of another protocol or version (named), or a malformed field (named).
    """
    if not isinstance(message, dict) or message.get("protocol") != PROTOCOL:
        keys = sorted(map(str, message))[:8] if isinstance(message, dict) else type(message)
        raise WireError(
            f"a server of another protocol: its first message has {keys}", where=_WHERE,
            remedy=f"this needs a {PROTOCOL} server (docs/world_servers.md); a policy server is "
            "used with policy:=NAME",
        )
    if message.get("version") != VERSION:
        raise WireError(
            f"protocol version {message.get('version')!r}, this client speaks {VERSION}",
            where=_WHERE, remedy="use the same version of hiwm on both sides",
        )
    views = _field(message, "cameras", list)
    read = WorldMetadata(
        name=_field(message, "name", str), model=_field(message, "model", str),
        cameras=tuple(
            CameraView(
                name=_field(view, "name", str), height=_count(view, "height", 1),
                width=_count(view, "width", 1),
            )
            for view in views
        ),
        actions=_count(message, "actions", 1), proprioception=_count(message, "proprioception", 0),
        period_s=float(_field(message, "period_s", _NUMBER)),
        heads=tuple(_field(message, "heads", list)),
        can_restore=_field(message, "can_restore", bool),
        embodiment_hash=_field(message, "embodiment_hash", str),
        task_hash=_field(message, "task_hash", str),
    )
    for name, wrong in (
        ("cameras", not views), ("period_s", not 0.0 < read.period_s < math.inf),
        ("heads", not set(read.heads) <= set(HEADS)), ("model", not read.model),
    ):
        if wrong:
            raise _malformed(name, message[name])
    return read


def read_states(
    reply: Any, metadata: WorldMetadata, count: int, steps: int
) -> list[list[ServedState]]:
    """Return the states in a reply: of each of `count` worlds, after each of `steps` steps.

    Raises:
        WireError: fewer or more than requested, a wrong shape, or a value that is not finite.
    """
    rows = _field(reply, "states", list)
    if len(rows) != count:
        raise WireError(
            f"the server returned {len(rows)} worlds instead of {count}", where=_WHERE,
            remedy="return one row for each world",
        )
    for row in rows:
        if not isinstance(row, list) or len(row) != steps:
            raise WireError(
                f"the server returned {len(row) if isinstance(row, list) else row!r} steps "
                f"instead of {steps}",
                where=_WHERE, remedy="return one state for each action of a chunk",
            )
    return [[_served_state(entry, metadata) for entry in row] for row in rows]


def read_actions(request: Any, actions: int, count: int) -> NDArray[np.float64]:
    """Return the actions [N, K, A] of a step request for N worlds.

    Raises:
        WireError: another shape, or a value that is not finite.
    """
    found = np.asarray(_field(request, "actions", np.ndarray), np.float64)
    if found.ndim != 3 or found.shape[0] != count or not found.shape[1]:
        raise WireError(
            f"actions of shape {list(found.shape)}", where=_WHERE,
            remedy=f"send [{count} worlds, steps, {actions} entries]",
        )
    if found.shape[2] != actions or not np.isfinite(found).all():
        raise WireError(
            f"actions of {found.shape[2]} entries, or not finite", where=_WHERE,
            remedy=f"send {actions} finite entries",
        )
    return found


def read_images(
    images: Sequence[Any], cameras: Sequence[CameraView]
) -> tuple[NDArray[np.uint8], ...]:
    """Return the frames of a state, one for each camera.

    Raises:
        WireError: another number, shape or type.
    """
    wanted = [(view.height, view.width, 3) for view in cameras]
    found = [getattr(image, "shape", None) for image in images]
    if found != wanted or any(image.dtype != np.uint8 for image in images):
        raise WireError(
            f"images of shapes {found}, the model's are {wanted}, uint8", where=_WHERE,
            remedy="send one [height, width, 3] uint8 image for each camera of the metadata",
        )
    return tuple(images)


def _served_state(entry: Any, metadata: WorldMetadata) -> ServedState:
    parts = _field(entry, "parts", dict)
    if not all(isinstance(k, str) and isinstance(v, bytes) for k, v in parts.items()):
        raise _malformed("parts", {k: type(v).__name__ for k, v in parts.items()})
    if metadata.can_restore and not parts:
        raise WireError(
            "a state without parts from a server that can restore", where=_WHERE,
            remedy="send all that restores a state, or say can_restore: false",
        )
    joints = entry.get("proprioception")
    if metadata.proprioception or joints is not None:
        joints = np.asarray(joints, np.float64)
        if joints.shape != (metadata.proprioception,) or not np.isfinite(joints).all():
            raise WireError(
                f"proprioception {joints.tolist()}", where=_WHERE,
                remedy=f"send {metadata.proprioception} finite numbers, as the metadata say",
            )
    heads = {
        name: float(_field(entry, name, _NUMBER)) for name in (*HEADS, "strangeness")
    }
    return ServedState(
        id=_field(entry, "id", str), parts=parts, proprioception=joints, **heads,
        images=read_images(_field(entry, "images", list | tuple), metadata.cameras),
    )


def _field(message: Any, name: str, kind: Any) -> Any:
    value = message.get(name) if isinstance(message, dict) else None
    if not isinstance(value, kind):
        raise _malformed(name, value)
    return value


def _count(message: Any, name: str, least: int) -> int:
    value = _field(message, name, int)
    if isinstance(value, bool) or value < least:
        raise _malformed(name, value)
    return int(value)


def _malformed(name: str, value: Any) -> WireError:
    return WireError(
        f"field {name!r} is {value!r}"[:200], where=_WHERE,
        remedy="see the messages in docs/world_servers.md",
    )
