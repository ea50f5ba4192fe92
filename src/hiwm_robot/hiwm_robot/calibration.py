"""A camera's calibration after crop, rotation and resize.

The same pixel map is applied to the image by `camera_images`. Tested by ``test_calibration.py``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from hiwm_core.embodiment import CameraSpec
from hiwm_core.errors import ConfigError
from hiwm_core.robots.cameras import CameraTopic

Array = NDArray[np.float64]

# cos and sin of a clockwise turn of the picture, by degrees.
_TURNS = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}


def embodiment_info(info: Any, camera: CameraSpec, topic: CameraTopic) -> CameraInfo:
    """Return a driver's CameraInfo for the image that `embodiment_image` makes.

    After a rotation the camera's frame is turned about its optical axis as well.

    Raises:
        ConfigError: the calibration is of another image than the driver's.
    """
    width, height = topic.size or (int(info.width), int(info.height))
    if (info.width, info.height) != (width, height) or max(info.binning_x, info.binning_y) > 1:
        raise ConfigError(
            f"calibration of {info.width}x{info.height} px, binning {info.binning_x}, for an image "
            f"of {width}x{height}", where=f"camera {camera.name}: info",
            remedy="calibrate the camera at the size it publishes, or leave out info",
        )
    pixel = pixel_map(width, height, camera, topic)
    axes = _axes(topic)
    result = CameraInfo(
        header=info.header, width=camera.width, height=camera.height,
        distortion_model=info.distortion_model, d=_turned_distortion(info, topic),
        roi=RegionOfInterest(),
    )
    result.k = (pixel @ np.reshape(info.k, (3, 3)) @ axes.T).ravel()
    result.r = (axes @ np.reshape(info.r, (3, 3)) @ axes.T).ravel()
    projection: Array = np.reshape(info.p, (3, 4))
    turned: Array = np.eye(4)
    turned[:3, :3] = axes.T
    result.p = (pixel @ projection @ turned).ravel()
    return result


def pixel_map(width: int, height: int, camera: CameraSpec, topic: CameraTopic) -> Array:
    """Return the [3, 3] map from a driver's pixel (u, v, 1) to the embodiment's.

    Pixel centres have whole coordinates, as in CameraInfo.
    """
    left, top = (topic.crop.x, topic.crop.y) if topic.crop else (0, 0)
    if topic.crop is not None:
        width, height = topic.crop.width, topic.crop.height
    crop: Array = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])
    turn = _axes(topic)
    # The corner that becomes the origin: (0, 0), then lower left, lower right, upper right.
    corner = {0: (0, 0), 90: (0, height - 1), 180: (width - 1, height - 1), 270: (width - 1, 0)}
    turn[:2, 2] = -(turn[:2, :2] @ np.array(corner[topic.rotate], float))
    if topic.rotate in (90, 270):
        width, height = height, width
    across, down = camera.width / width, camera.height / height
    resize: Array = np.array([
        [across, 0.0, 0.5 * across - 0.5], [0.0, down, 0.5 * down - 0.5], [0.0, 0.0, 1.0]
    ])
    return resize @ turn @ crop


def _axes(topic: CameraTopic) -> Array:
    """Return the rotation of the camera's axes, [3, 3]."""
    cosine, sine = _TURNS[topic.rotate]
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]], float)


def _turned_distortion(info: Any, topic: CameraTopic) -> list[float]:
    """Return the distortion with its two tangential terms turned; radial terms do not change."""
    terms = [float(term) for term in info.d]
    if info.distortion_model in ("plumb_bob", "rational_polynomial") and len(terms) >= 4:
        cosine, sine = _TURNS[topic.rotate]
        # (p2, p1) is a vector in the picture's x and y.
        first, second = terms[2], terms[3]
        terms[2] = sine * second + cosine * first
        terms[3] = cosine * second - sine * first
    return terms
