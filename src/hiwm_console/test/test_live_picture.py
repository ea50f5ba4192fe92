"""The picture shows the frame and who is in control."""

import numpy as np
import pytest

from hiwm_console.live_picture import Shown, live_picture
from hiwm_core.control import Mode
from hiwm_core.palette import MODE_COLOURS


def shown(mode, **changes):
    values = {
        "device": "scripted", "branch_id": "ep_0001-b002", "step": 81, "trust": 0.83,
        "progress": float("nan"), "world": "imagination", "reason": "scripted took over",
    }
    return Shown(mode=mode, **{**values, **changes})


@pytest.mark.parametrize("mode", list(Mode))
def test_the_border_shows_the_mode_and_the_frame_is_inside(mode):
    frame = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    picture = np.asarray(live_picture(frame, shown(mode)))
    assert tuple(picture[0, 0]) == MODE_COLOURS[mode]
    assert (picture[10 + 2, 10 + 2] == frame[0, 0]).all()
    assert (picture[10 + 4 * 95 + 2, 10 + 4 * 95 + 2] == frame[95, 95]).all()


def test_captions_change_the_picture():
    frame = np.zeros((96, 96, 3), np.uint8)
    one = np.asarray(live_picture(frame, shown(Mode.POLICY)))
    two = np.asarray(live_picture(frame, shown(Mode.POLICY, step=82)))
    assert (one != two).any()


def test_an_unknown_trust_is_left_out_not_drawn_as_a_number():
    frame = np.zeros((96, 96, 3), np.uint8)
    unknown = {"trust": float("nan"), "reason": ""}
    one = np.asarray(live_picture(frame, shown(Mode.POLICY, **unknown)))
    two = np.asarray(live_picture(frame, shown(Mode.POLICY, **unknown, progress=float("nan"))))
    shorter = np.asarray(live_picture(frame, shown(Mode.POLICY, reason="")))
    ink = [int((picture[-20:] == 255).all(axis=2).sum()) for picture in (one, shorter)]
    assert (one == two).all() and ink[0] < ink[1]


def test_a_very_long_reason_and_large_frames_fit():
    frame = np.zeros((480, 640, 3), np.uint8)
    picture = live_picture(frame, shown(Mode.PAUSED, reason="because " * 200))
    assert picture.width == 660
