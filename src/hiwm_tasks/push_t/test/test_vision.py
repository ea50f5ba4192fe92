"""The T and the pushers are found in drawn images, within what a planner needs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_push_t import shape
from hiwm_push_t.vision import TableVision, _share

VIEW = (0.40, 0.40)
UNIT = 0.035
BLUE, RED, GREEN = (45, 85, 215), (215, 50, 45), (40, 170, 70)
TABLE, GOAL = (238, 236, 230), (200, 202, 205)


def draw(pose, pushers, size=96, finer=4):
    """Draw the table by testing points: a way of drawing that shares nothing with the vision."""
    n = size * finer
    centres = (np.arange(n) + 0.5) / n - 0.5
    x, y = np.meshgrid(centres * VIEW[0], -centres * VIEW[1])
    points = np.stack([x.ravel(), y.ravel()], axis=-1)
    image = np.tile(np.array(TABLE, dtype=float), (n * n, 1))
    image[shape.inside(points, UNIT)] = GOAL  # goal at the origin
    if pose is not None:
        image[shape.inside(shape.to_object(points, np.array(pose)), UNIT)] = BLUE
    for centre, colour in ((pushers[:2], RED), (pushers[2:], GREEN)):
        image[np.linalg.norm(points - np.array(centre), axis=-1) < 0.012] = colour
    image = image.reshape(size, finer, size, finer, 3).mean(axis=(1, 3))
    return image.round().astype(np.uint8)


poses = st.tuples(st.floats(-0.09, 0.09), st.floats(-0.07, 0.09), st.floats(-3.14, 3.14))
CORNERS = (-0.17, -0.17, 0.17, -0.17)


@settings(max_examples=40, deadline=None)
@given(pose=poses)
def test_pose_within_a_millimetre_and_a_degree(pose):
    sight = TableVision(VIEW, UNIT).look(draw(pose, CORNERS))
    assert sight.object_pose is not None
    assert np.linalg.norm(sight.object_pose[:2] - pose[:2]) < 0.001
    assert abs(shape.wrap(sight.object_pose[2] - pose[2])) < np.deg2rad(1.0)
    assert sight.overlap > 0.9
    np.testing.assert_allclose(sight.pushers, CORNERS, atol=0.0007)


@settings(max_examples=20, deadline=None)
@given(pose=poses, seed=st.integers(0, 1000))
def test_noise_and_an_occluding_pusher_cost_little(pose, seed):
    rng = np.random.default_rng(seed)
    foot = shape.to_table(np.array([[0.0, -2.2 * UNIT]]), np.array(pose))[0]
    image = draw(pose, (*foot, 0.17, 0.17)).astype(float) + rng.normal(0, 8, (96, 96, 3))
    sight = TableVision(VIEW, UNIT).look(np.clip(image, 0, 255).astype(np.uint8))
    assert sight.object_pose is not None
    assert np.linalg.norm(sight.object_pose[:2] - pose[:2]) < 0.002
    assert abs(shape.wrap(sight.object_pose[2] - pose[2])) < np.deg2rad(2.0)
    np.testing.assert_allclose(sight.pushers[:2], foot, atol=0.002)


def test_nothing_in_sight_is_said():
    image = np.full((96, 96, 3), 235, dtype=np.uint8)
    sight = TableVision(VIEW, UNIT).look(image)
    assert sight.object_pose is None
    assert sight.overlap == 0.0
    assert np.isnan(sight.pushers).all()


def test_a_molten_t_overlaps_less_than_a_rigid_one():
    vision = TableVision(VIEW, UNIT)
    image = draw((0.02, 0.01, 0.4), CORNERS)
    molten = draw(None, CORNERS)
    y, x = np.mgrid[:96, :96]
    molten[(x - 50) ** 2 + (y - 45) ** 2 < 13**2] = BLUE
    rigid = vision.look(image).overlap
    assert vision.look(molten).overlap < 0.75 < 0.9 < rigid


@pytest.mark.parametrize("size", [64, 96, 256])
def test_any_image_size(size):
    sight = TableVision(VIEW, UNIT).look(draw((0.03, -0.02, 2.0), CORNERS, size=size))
    assert sight.object_pose is not None
    np.testing.assert_allclose(sight.object_pose, [0.03, -0.02, 2.0], atol=0.03)


def test_a_prior_is_only_a_suggestion():
    image = draw((0.03, -0.02, 2.0), CORNERS)
    sight = TableVision(VIEW, UNIT).look(image, prior=np.array([-0.08, 0.08, -1.0]))
    assert sight.object_pose is not None
    np.testing.assert_allclose(sight.object_pose, [0.03, -0.02, 2.0], atol=0.02)


@given(values=st.lists(st.integers(-255, 255), min_size=1, max_size=50), rank=st.integers(1, 50))
def test_the_strongest_pixels_of_a_rank_are_all_of_a_colour(values, rank):
    strength = np.array(values, np.int16)
    full = sorted(values)[-rank] if rank <= len(values) else -1
    share = _share(strength[None], rank, noise=0.0)
    if full < 30:
        assert share is None
    else:
        np.testing.assert_array_equal(share[0], np.clip(strength / full, 0.0, 1.0))
