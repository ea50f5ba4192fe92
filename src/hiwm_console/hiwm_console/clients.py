"""One connection's outgoing messages and frames; newer states replace older ones."""

import asyncio
import json
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hiwm_console import flood
from hiwm_console.access import Access
from hiwm_console.world_simulator import frame_message

# Frames sent to a page that it has not drawn yet. With two, one is drawn while the next is in
# transit; more would form a queue, and a slow viewer would see old frames.
FRAMES_IN_FLIGHT = 2
# Limit on waiting messages that must all arrive: answers, notices, the tree. A page that reads none
# of this many is gone.
MOST_WAITING = 500
# Version, camera, padding, epoch, step, frame number, page's stamp [ms] or -1.
_HEADER = struct.Struct("<BBHIIdd")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One camera's picture of one tick."""

    camera: int
    epoch: int
    step: int
    data: bytes  # PNG or JPEG
    t: float  # the driver's stamp of the newest message with an effect on this frame, ms; -1 = none
    driver: int  # client id of that driver


@dataclass
class Client:
    """A connection; the hub fills it and its writer empties it."""

    id: int
    access: Access
    now: float  # steady clock at the start
    plain: bool = False  # a page of the world simulator's protocol: frames only
    name: str = ""
    gone: str = ""  # why the connection must be closed
    held: bool = False  # its newest message held the deadman, whether or not that had an effect
    revision: int = 0  # of the tree it holds
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: deque[str] = field(default_factory=deque)
    _newest: dict[str, str] = field(default_factory=dict)
    _frames: dict[int, Frame] = field(default_factory=dict)
    _cameras: set[int] = field(default_factory=set)
    _echoed: float = 0.0
    _sent: int = 0
    _seen: int = 0

    def __post_init__(self) -> None:
        self.bucket = flood.Bucket(flood.MOST_A_SECOND, flood.BURST, self.now)
        self.patience = flood.Bucket(flood.FORGOTTEN_A_SECOND, flood.PATIENCE, self.now)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message that must arrive, in order."""
        self.send_text(json.dumps(message, separators=(",", ":"), allow_nan=False))

    def send_text(self, text: str) -> None:
        """Send a message that is JSON already."""
        if len(self._waiting) >= MOST_WAITING:
            self.gone = "the page reads no messages"
        self._waiting.append(text)
        self.wake.set()

    def show(self, kind: str, text: str) -> None:
        """Send a state; only the newest of its kind matters."""
        self._newest[kind] = text
        self.wake.set()

    def show_frame(self, frame: Frame) -> None:
        """Send a picture; it replaces a waiting one of the same camera."""
        self._frames[frame.camera] = frame
        self._cameras.add(frame.camera)
        self.wake.set()

    def seen(self, number: int) -> None:
        """Note that the page has drawn every frame up to a number."""
        self._seen = max(self._seen, min(number, self._sent))
        self.wake.set()

    def take(self) -> tuple[list[str], list[bytes]]:
        """Return texts and frames to send now."""
        self.wake.clear()
        texts = [*self._waiting, *self._newest.values()]
        new_world = "world" in self._newest and not self.plain
        self._waiting.clear()
        self._newest.clear()
        frames: list[bytes] = []
        if new_world and self._frames:
            # A page makes room for its cameras first; a paused world sends no further frame.
            self.wake.set()
            return texts, frames
        for camera in sorted(self._frames):
            in_flight = self._sent - self._seen
            if not self.plain and in_flight >= FRAMES_IN_FLIGHT * len(self._cameras):
                break
            frames.append(self._packed(self._frames.pop(camera)))
        return texts, frames

    def _packed(self, frame: Frame) -> bytes:
        t = frame.t if frame.driver == self.id else -1.0
        if self.plain:
            # Each stamp once: it measures the time from a key to the first frame that shows it.
            new, self._echoed = max(0.0, t) if t > self._echoed else 0.0, max(t, self._echoed)
            return frame_message(new, frame.data)
        self._sent += 1
        return _HEADER.pack(
            1, frame.camera, 0, frame.epoch, frame.step, float(self._sent), t
        ) + frame.data
