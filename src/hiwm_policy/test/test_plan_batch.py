"""A plan request's images reach the policy by camera, each in its own size."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hiwm_interfaces.srv import PlanBatch

from hiwm_core.errors import ConfigError
from hiwm_nodes.messages import image_message
from hiwm_policy.plan_batch import rows_of
from hiwm_test_support.arms import two_arms
from hiwm_test_support.two_cameras import noise_images

ARMS = two_arms()
PLANNER: Any = SimpleNamespace(
    image_shapes={"front": (48, 64, 3), "wrist": (41, 33, 3)}, observation_steps=2
)


def request(cameras: list[str], seeds: int = 2, steps: int = 3) -> Any:
    """Return a request with images in the order of `cameras`, and the images."""
    images = noise_images((seeds, steps), 0)
    return PlanBatch.Request(
        seeds=list(range(seeds)), cameras=cameras, observation_steps=steps,
        images=[
            image_message(images[camera][seed, step], Time(), "")
            for seed in range(seeds) for step in range(steps) for camera in cameras
        ],
        proprio=[0.0] * (seeds * steps * ARMS.proprio_dim),
    ), images


@pytest.mark.parametrize("cameras", [["front", "wrist"], ["wrist", "front"]])
def test_rows_have_the_newest_images_of_every_camera(cameras: list[str]) -> None:
    asked, images = request(cameras)
    rows = rows_of(asked, PLANNER, ARMS)
    for seed, row in enumerate(rows):
        assert set(row.images) == {"front", "wrist"}
        for camera, frames in row.images.items():
            np.testing.assert_array_equal(frames, images[camera][seed, 1:])


def test_a_request_without_one_of_the_policys_cameras_is_refused() -> None:
    asked, _ = request(["front"])
    with pytest.raises(ConfigError, match="no image of camera 'wrist' among front"):
        rows_of(asked, PLANNER, ARMS)
