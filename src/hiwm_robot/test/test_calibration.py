"""Calibrations follow crop, rotation and resize: a point stays on its pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo

from hiwm_core.embodiment import CameraSpec
from hiwm_core.errors import ConfigError
from hiwm_core.robots.cameras import CameraTopic, Crop
from hiwm_robot.calibration import embodiment_info, pixel_map

TURNS = [0, 90, 180, 270]


def driver_info() -> CameraInfo:
    info = CameraInfo(width=64, height=48, distortion_model="plumb_bob")
    info.d = [0.1, -0.05, 0.01, -0.02, 0.003]
    info.k = [60.0, 0.0, 30.0, 0.0, 55.0, 25.0, 0.0, 0.0, 1.0]
    info.r = np.eye(3).ravel()
    info.p = [58.0, 0.0, 31.0, -3.0, 0.0, 54.0, 24.0, 0.5, 0.0, 0.0, 1.0, 0.0]
    return info


def setting(rotate: int) -> tuple[CameraSpec, CameraTopic]:
    crop = Crop(x=8, y=4, width=40, height=32)
    topic = CameraTopic(image="i", size=(64, 48), crop=crop, rotate=rotate)
    size = (20, 16) if rotate in (0, 180) else (16, 20)
    return CameraSpec(name="top", width=size[0], height=size[1], encoding="rgb8"), topic


def image_of(point: np.ndarray, info: CameraInfo) -> np.ndarray:
    """Return the pixel of a point in the camera's frame, by plumb_bob."""
    x, y = point[:2] / point[2]
    k1, k2, p1, p2, k3 = info.d
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    distorted = np.array([
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y, 1.0,
    ])
    return np.reshape(info.k, (3, 3)) @ distorted


@pytest.mark.parametrize("rotate", TURNS)
@settings(max_examples=30, deadline=None)
@given(x=st.floats(-1, 1), y=st.floats(-1, 1), z=st.floats(1, 3))
def test_a_point_stays_on_its_pixel(rotate: int, x: float, y: float, z: float) -> None:
    camera, topic = setting(rotate)
    info = driver_info()
    adapted = embodiment_info(info, camera, topic)
    pixel = pixel_map(64, 48, camera, topic)
    angle = np.radians(rotate)
    turn = np.array([
        [np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]
    ])
    point = np.array([x, y, z])
    turned = turn @ point  # the same point in the turned camera's frame
    np.testing.assert_allclose(image_of(turned, adapted), pixel @ image_of(point, info), atol=1e-9)
    rectified = np.reshape(info.p, (3, 4)) @ [x, y, z, 1.0]
    again = np.reshape(adapted.p, (3, 4)) @ [*turned, 1.0]
    np.testing.assert_allclose(again, pixel @ rectified, atol=1e-9)


@pytest.mark.parametrize("rotate", TURNS)
def test_pixels_move_as_the_image_does(rotate: int) -> None:
    camera, topic = setting(rotate)
    driver = np.zeros((48, 64))
    driver[10, 20] = 1.0
    part = driver[4:36, 8:48]
    turned = np.rot90(part, -rotate // 90)
    v, u = np.argwhere(turned == 1.0)[0]
    expected = (np.array([u, v]) + 0.5) / 2 - 0.5  # resized by one half
    np.testing.assert_allclose((pixel_map(64, 48, camera, topic) @ [20, 10, 1])[:2], expected)


def test_a_calibration_of_another_size_is_refused() -> None:
    camera, topic = setting(0)
    info = driver_info()
    info.width = 640
    with pytest.raises(ConfigError, match="calibrate"):
        embodiment_info(info, camera, topic)
