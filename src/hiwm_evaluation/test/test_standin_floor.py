"""The stand-in's own spread: almost the same start, the same actions, and what frames show."""

import json

import numpy as np
import pytest

from hiwm_evaluation import standin_floor
from hiwm_evaluation.standin_floor import Floor, moved_start, table_of
from hiwm_test_support.shipped import TASK


def test_lengths_and_angles_are_off_and_all_else_stays() -> None:
    start = {"object_x_m": 0.1, "object_yaw_rad": -1.0, "light": 0.5}
    moved = moved_start(start, np.random.default_rng(0))
    assert abs(moved["object_x_m"] - 0.1) == pytest.approx(0.001)
    assert abs(moved["object_yaw_rad"] + 1.0) == pytest.approx(np.radians(0.7))
    assert moved["light"] == 0.5


def test_the_same_actions_from_almost_the_same_start_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standin_floor, "STEPS", (1, 4))
    floor = Floor(TASK)
    try:
        plain, other = floor.pair(0, 2000)
        assert len(plain.frames) == len(other.frames) == 3
        assert np.allclose(plain.actions, other.actions)
        table = table_of(floor.measure, [floor.compared(plain, other)])
    finally:
        floor.close()
    first = table["1"]
    assert first["n"] == 1
    # The start is off by 1 mm, which the frames show, and by no more.
    error = [value for key, value in first.items() if key.startswith("place")]
    assert error and 0.0 < float(error[0] or 0.0) < 0.05
    json.dumps(table, allow_nan=False)
