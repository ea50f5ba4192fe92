"""Reads the few header fields that the recorder needs from serialized CDR.

The recorder writes messages without deserializing them. To find the bag of a message, it reads the
stamp and, for some types, the fields that follow the header. Every recorded message starts with
std_msgs/Header. Layout: 4 bytes of encapsulation, then the message, aligned to its own start.
"""

import struct
from typing import NamedTuple

from hiwm_core.errors import BagError

Raw = bytes | memoryview

_ENCAPSULATION = 4
_STAMP = {True: struct.Struct("<iI"), False: struct.Struct(">iI")}
_UINT32 = {True: struct.Struct("<I"), False: struct.Struct(">I")}
_UINT32_PAIR = {True: struct.Struct("<II"), False: struct.Struct(">II")}


class TickKey(NamedTuple):
    """The segment that a tick belongs to."""

    episode_id: str
    branch_id: str
    epoch: int


def stamp_ns(raw: Raw) -> int:
    """Return the header stamp of a serialized message, in nanoseconds.

    Raises:
        BagError: too short for a header.
    """
    try:
        seconds, nanoseconds = _STAMP[_little(raw)].unpack_from(raw, _ENCAPSULATION)
    except (struct.error, IndexError):
        raise _too_short(raw) from None
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def epoch_and_step(raw: Raw) -> tuple[int, int]:
    """Return epoch and step of a message in which both follow the header.

    These are Tick, Command, PolicyPlan, OperatorCommand and ControlState.

    Raises:
        BagError: too short.
    """
    try:
        little = _little(raw)
        epoch, step = _UINT32_PAIR[little].unpack_from(raw, _after_header(raw, little))
    except (struct.error, IndexError):
        raise _too_short(raw) from None
    return int(epoch), int(step)


def tick_key(raw: Raw) -> TickKey:
    """Return the segment key of a serialized Tick.

    Raises:
        BagError: too short, or text that is not UTF-8.
    """
    try:
        little = _little(raw)
        at = _after_header(raw, little)
        (epoch,) = _UINT32[little].unpack_from(raw, at)
        episode_id, at = _string(raw, at + 8, little)
        branch_id, at = _string(raw, _aligned(at), little)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise _too_short(raw) from None
    return TickKey(episode_id, branch_id, int(epoch))


def _little(raw: Raw) -> bool:
    return bool(raw[1] & 1)


def _aligned(at: int) -> int:
    # The body starts at 4, so alignment to 4 within the body is alignment to 4 from the start.
    return (at + 3) & ~3


def _string(raw: Raw, at: int, little: bool) -> tuple[str, int]:
    (length,) = _UINT32[little].unpack_from(raw, at)
    start = at + 4
    if start + length > len(raw):
        raise IndexError
    return bytes(raw[start : start + max(0, length - 1)]).decode(), start + length


def _after_header(raw: Raw, little: bool) -> int:
    at = _ENCAPSULATION + 8
    (length,) = _UINT32[little].unpack_from(raw, at)
    return _aligned(at + 4 + int(length))


def _too_short(raw: Raw) -> BagError:
    return BagError(
        f"a message of {len(raw)} bytes has no readable header",
        remedy="check that the topic has the type that the recorder expects",
    )
