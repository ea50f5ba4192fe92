"""A shifted image agrees with shifted proprioception and actions."""

from dataclasses import replace

import numpy as np

from hiwm_learning.policies.augmentation import metres_per_pixel, shifted_images
from hiwm_test_support.policies import dot_embodiment, picture, seen_place


def test_a_shifted_image_agrees_with_shifted_proprioception() -> None:
    body = dot_embodiment()
    camera = body.cameras[0]
    place = np.array([0.035, -0.025])
    frames = picture(place)[None]
    shift = np.array([[3, 0], [0, 3], [-4, 2], [0, 0]])
    moved = shifted_images(frames, np.zeros((4, 1), np.int64), shift)
    told = seen_place(frames[0], 0) + (shift @ metres_per_pixel(body.proprioception, camera).T)
    for image, expected in zip(moved[:, 0], told, strict=True):
        np.testing.assert_allclose(seen_place(image, 0), expected, atol=1e-6)
    np.testing.assert_array_equal(metres_per_pixel(body.actions, camera)[2], [0, 0])


def test_an_oblique_camera_shifts_no_numbers() -> None:
    body = dot_embodiment()
    camera = replace(body.cameras[0], view_m=(0.0, 0.0))
    assert not metres_per_pixel(body.proprioception, camera).any()
