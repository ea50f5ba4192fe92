"""The pictures and numbers of ticks for the pages: the newest complete ones, not too often.

Runs on the web server's thread, as `graph_link` does. Tested by `test_graph_link.py`.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from hiwm_interfaces.msg import Tick
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from hiwm_console.answers import number
from hiwm_console.page_commands import PageCommands
from hiwm_console.pictures import picture
from hiwm_console.session_files import SessionFiles
from hiwm_core.bags.cdr import stamp_ns
from hiwm_core.frames import camera_stream, image_array, stream_stamps

# Frame rate limit: nobody sees more, and a world at rate 0 makes more.
MOST_FRAMES_HZ = 30.0
# Interval between updates of the numbers that change with every tick.
_STATUS_S = 0.1
# Number of tick parts kept while they wait for the others.
_MOST_PARTS = 16


class Viewers(Protocol):
    """What the feed needs of the hub."""

    clients: dict[int, Any]
    page_commands: PageCommands

    def show(self, kind: str, message: Mapping[str, Any]) -> None:
        """Show a state on every page."""

    def on_frame(self, camera: int, epoch: int, step: int, data: bytes) -> None:
        """Show a picture of a tick."""


class LiveFeed:
    """Sends pictures and numbers of ticks.

    Args:
        session: keeps pictures if the world saves no states.
        ticks: the newest ticks by stamp, oldest first, kept by the caller.
        numbers: returns what is shown with a tick's own numbers.
    """

    def __init__(
        self, session: SessionFiles, ticks: OrderedDict[int, Tick],
        numbers: Callable[[], dict[str, Any]],
    ) -> None:
        self.cameras: list[str] = []
        self._session, self._ticks, self._numbers = session, ticks, numbers
        self._images: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._shown = -1  # stamp of the last pictures sent
        self._shown_at = float("-inf")
        self._status_at = float("-inf")
        self._held_back: asyncio.TimerHandle | None = None
        self._unreported: Tick | None = None  # shown, its numbers not sent yet
        self._report_later: asyncio.TimerHandle | None = None

    def on_image(self, viewers: Viewers, camera: int, raw: bytes) -> None:
        """Process a serialized image of a camera."""
        keep(self._images, (stamp_ns(raw), camera), raw)
        self.show_soon(viewers)

    def show_soon(self, viewers: Viewers) -> None:
        """Show the newest complete pictures, now or as soon as the frame rate limit allows."""
        if self._held_back is not None:
            return
        wait = self._shown_at + 1.0 / MOST_FRAMES_HZ - time.monotonic()
        if wait <= 0.0:
            self.show(viewers)
        else:
            loop = asyncio.get_running_loop()
            self._held_back = loop.call_later(wait, self._show_late, viewers)

    def show_again(self, viewers: Viewers) -> None:
        """Show the current pictures again."""
        self._shown = -1
        self.show(viewers)

    def show(self, viewers: Viewers) -> None:
        """Show the newest complete pictures unless they are shown already."""
        newest = next(
            (stamp for stamp in reversed(self._ticks)
             if all(place in self._images for place in self._places(stamp))),
            None,
        )
        if newest is None or newest == self._shown or not self.cameras:
            return
        tick, places, now = self._ticks[newest], self._places(newest), time.monotonic()
        if viewers.clients or not tick.state_id:
            self._shown, self._shown_at = newest, now
            # Nobody looks: only the picture to remember is made.
            for camera in range(len(self.cameras) if viewers.clients else 1):
                raw = self._images[places[camera]]
                data = picture(np.asarray(image_array(deserialize_message(raw, Image))))
                viewers.on_frame(camera, int(tick.epoch), int(tick.step), data)
                if camera == 0 and not tick.state_id:
                    self._session.remember(f"{tick.branch_id}:{tick.step}", data)
        # The newest tick is always sent in the end: a paused world makes no other one.
        self._unreported = tick
        wait = 0.0 if viewers.page_commands.holding else self._status_at + _STATUS_S - now
        if wait <= 0.0:
            self._report(viewers)
        elif self._report_later is None:
            loop = asyncio.get_running_loop()
            self._report_later = loop.call_later(wait, self._report, viewers)

    def _show_late(self, viewers: Viewers) -> None:
        self._held_back = None
        self.show(viewers)

    def _places(self, stamp: int) -> list[tuple[int, int]]:
        """Return stamp and number of each camera's image of a tick."""
        stamps = stream_stamps(self._ticks[stamp])
        return [
            (stamps.get(camera_stream(name), -1), camera)
            for camera, name in enumerate(self.cameras)
        ]

    def _report(self, viewers: Viewers) -> None:
        """Send the numbers of the newest shown tick."""
        if self._report_later is not None:
            self._report_later.cancel()
            self._report_later = None
        tick, self._unreported = self._unreported, None
        if tick is None:
            return
        self._status_at = time.monotonic()
        viewers.show("tick", {
            "epoch": tick.epoch, "step": tick.step, "episode": tick.episode_id,
            "branch": tick.branch_id, "trust": number(tick.trust),
            "progress": number(tick.progress), "success": number(tick.success),
            "source": tick.applied_source, "by": tick.applied_device, **self._numbers(),
        })


def keep(parts: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    """Keep a part of a tick; the oldest go."""
    parts[key] = value
    while len(parts) > _MOST_PARTS:
        parts.popitem(last=False)
