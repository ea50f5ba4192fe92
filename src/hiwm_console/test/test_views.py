"""Views of a robot: pictures for the person, beside the cameras of the observation."""

from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage

from hiwm_console.pictures import png
from hiwm_console.views import Views
from hiwm_core.robots.cameras import ViewTopic
from hiwm_nodes.messages import image_message, time_message

VIEWS = {
    "side": ViewTopic(image="side/image", size=(48, 32)),
    "wrist": ViewTopic(image="wrist/image", size=(16, 16), compressed=True),
}
PLACE = {"first": 1, "epoch": 2, "step": 7}
RAW = serialize_message(image_message(np.zeros((32, 48, 3), np.uint8), time_message(1), "side"))


class Pages:
    """Pages that keep what they are shown."""

    def __init__(self, clients=1):
        self.clients = dict.fromkeys(range(clients))
        self.frames = []

    def on_frame(self, *frame):
        self.frames.append(frame)


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(value=0.0)
    monkeypatch.setattr("hiwm_console.views.time", SimpleNamespace(monotonic=lambda: now.value))
    return now


def test_a_view_is_shown_after_the_cameras_and_not_too_often(clock):
    pages, views = Pages(), Views(VIEWS)
    for clock.value in (0.0, 0.01, 0.02, 0.1):
        assert views.on_image(pages, "side", RAW, **PLACE) == ""
    assert [frame[:3] for frame in pages.frames] == [(1, 2, 7)] * 2
    assert pages.frames[0][3].startswith(b"\x89PNG")
    assert [one["name"] for one in views.described] == ["side", "wrist"]
    assert all(one["view"] for one in views.described)
    assert (views.described[0]["width"], views.described[0]["height"]) == (48, 32)


def test_nothing_is_encoded_while_nobody_looks(clock):
    pages = Pages(clients=0)
    assert Views(VIEWS).on_image(pages, "side", b"not even a message", **PLACE) == ""
    assert pages.frames == []


def test_a_compressed_picture_is_passed_on_and_what_no_browser_shows_is_named_once(clock):
    pages, views = Pages(), Views(VIEWS)
    data = png(np.zeros((16, 16, 3), np.uint8))
    sent = [(data, "png"), (b"depth", "16UC1; compressedDepth"), (b"depth", "16UC1"), (data, "png")]
    said = []
    for clock.value, (picture, kind) in enumerate(sent, 1):
        raw = serialize_message(CompressedImage(format=kind, data=picture))
        said.append(views.on_image(pages, "wrist", raw, **PLACE))
    assert [frame[3] for frame in pages.frames] == [data, data]
    assert "view wrist" in said[1] and "publish jpeg or png" in said[1]
    assert said[0] == said[3] == ""


def test_an_image_of_an_unknown_encoding_is_named_once(clock):
    pages, views = Pages(), Views(VIEWS)
    message = image_message(np.zeros((32, 48, 3), np.uint8), time_message(1), "side")
    message.encoding = "32FC1"
    said = []
    for clock.value in (1.0, 2.0):
        said.append(views.on_image(pages, "side", serialize_message(message), **PLACE))
    assert "32FC1" in said[0] and said[1] == "" and pages.frames == []
