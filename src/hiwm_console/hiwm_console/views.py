"""A robot's views: cameras for the person who drives, beside those that observations have.

Their pictures come straight from the drivers and belong to no tick. They are shown with the newest
one. Nothing records them. Tested by `test_views.py`.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from hiwm_console.live_feed import Viewers
from hiwm_console.pictures import picture
from hiwm_core.errors import ConfigError
from hiwm_core.frames import image_array
from hiwm_core.robots.cameras import ViewTopic

# A driver may be faster than anybody needs: encoding takes time from the graph.
MOST_VIEWS_HZ = 15.0
# Starts of the compressed pictures that a browser shows.
_SHOWN = (b"\xff\xd8\xff", b"\x89PNG")


class Views:
    """Shows the views' pictures on every page.

    Args:
        views: by name, in the order of the page.
    """

    def __init__(self, views: Mapping[str, ViewTopic]) -> None:
        self._views = dict(views)
        self._shown_at = dict.fromkeys(self._views, float("-inf"))
        self._problems: dict[str, str] = {}

    @property
    def described(self) -> list[dict[str, Any]]:
        """Name and size of each, as the page's cameras."""
        return [
            {"name": name, "width": view.size[0], "height": view.size[1], "view": True}
            for name, view in self._views.items()
        ]

    def on_image(
        self, viewers: Viewers, name: str, raw: bytes, *, first: int, epoch: int, step: int
    ) -> str:
        """Show a serialized image of a view, unless one was shown just now.

        Args:
            viewers: the pages.
            name: of the view.
            raw: an Image or CompressedImage, as the view's topic has.
            first: number of cameras before the views.
            epoch: of the newest tick.
            step: of the newest tick.

        Returns:
            Why the image cannot be shown; empty if it can, or if the reason is known already.
        """
        now = time.monotonic()
        if not viewers.clients or now - self._shown_at[name] < 1.0 / MOST_VIEWS_HZ:
            return ""
        self._shown_at[name] = now
        try:
            data = _encoded(raw, self._views[name])
        except ConfigError as error:
            new = self._problems.get(name) != str(error)
            self._problems[name] = str(error)
            return f"view {name}: {error}" if new else ""
        self._problems.pop(name, None)
        viewers.on_frame(first + list(self._views).index(name), epoch, step, data)
        return ""


def _encoded(raw: bytes, view: ViewTopic) -> bytes:
    if not view.compressed:
        return picture(np.asarray(image_array(deserialize_message(raw, Image))))
    message = deserialize_message(raw, CompressedImage)
    data = bytes(message.data)
    if not data.startswith(_SHOWN):
        raise ConfigError(
            f"compressed image that is neither jpeg nor png ({message.format!r})",
            where=view.image, remedy="publish jpeg or png",
        )
    return data
