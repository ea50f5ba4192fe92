"""The T's geometry."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hiwm_push_t import shape

UNIT = 0.035
poses = st.tuples(
    st.floats(-0.15, 0.15), st.floats(-0.15, 0.15), st.floats(-np.pi, np.pi)
).map(np.array)
points = st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)).map(lambda p: np.array([p]))


def test_centre_of_mass_is_the_origin() -> None:
    """The object frame sits where bar and stem balance."""
    area, moment = 0.0, np.zeros(2)
    for x0, x1, y0, y1 in (shape.BAR, shape.STEM):
        size = (x1 - x0) * (y1 - y0)
        area += size
        moment += size * np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    assert area == 7.0
    assert np.allclose(moment, 0.0)


@given(poses, points)
def test_frames_are_inverse(pose: np.ndarray, point: np.ndarray) -> None:
    """Table to object and back is where one began."""
    assert np.allclose(shape.to_table(shape.to_object(point, pose), pose), point)


@given(points)
def test_distance_is_negative_inside_alone(point: np.ndarray) -> None:
    """The sign of the distance says inside or outside."""
    distance = shape.signed_distance(point, UNIT)[0]
    assert (distance < 0) == bool(shape.inside(point, UNIT)[0]) or abs(distance) < 1e-9


def test_distance_of_known_points() -> None:
    """One unit above the bar is one unit away; the stem's middle is half a unit deep."""
    top = shape.BAR[3]
    found = shape.signed_distance(np.array([[0.0, top + 1.0], [0.0, -1.5]]) * UNIT, UNIT)
    assert np.allclose(found, [UNIT, -0.5 * UNIT])


@given(poses)
def test_coverage_is_whole_at_the_goal_alone(pose: np.ndarray) -> None:
    """A T on its goal covers it; moved by its own width it covers less than half."""
    assert shape.coverage(pose, pose, UNIT) == 1.0
    away = pose + np.array([4 * UNIT, 0.0, 0.0])
    assert shape.coverage(away, pose, UNIT) < 0.5
