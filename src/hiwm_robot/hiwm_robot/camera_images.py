"""Conversion of driver images to the embodiment's encoding and size."""

import array
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from sensor_msgs.msg import Image

from hiwm_core.embodiment import CameraSpec
from hiwm_core.errors import ConfigError
from hiwm_nodes.messages import image_message

# Supported encodings, with the channel order that gives rgb.
CHANNEL_ORDER = {"rgb8": slice(None), "bgr8": slice(None, None, -1)}
# Aspect ratios that differ by less than this fraction count as equal.
ASPECT_TOLERANCE = 0.01


def embodiment_image(message: Any, camera: CameraSpec) -> Image:
    """Return a driver's Image or CompressedImage in the embodiment's encoding and size.

    An image that already fits is returned unchanged. A larger one is area-averaged.

    Raises:
        ConfigError: an encoding, size or aspect ratio that cannot be converted.
    """
    compressed = not hasattr(message, "encoding")
    if compressed:
        pixels = _decoded(message, camera)
    else:
        _check_raw(message, camera)
        fits = (message.width, message.height, message.encoding) == (
            camera.width, camera.height, camera.encoding
        )
        if fits and message.step == message.width * 3:
            return message
        rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        pixels = rows[:, : message.width * 3].reshape(message.height, message.width, 3)
        pixels = pixels[:, :, CHANNEL_ORDER[message.encoding]]
    _check_size(pixels.shape[1], pixels.shape[0], camera)
    if pixels.shape[:2] != (camera.height, camera.width):
        picture = Picture.fromarray(np.ascontiguousarray(pixels))
        # BOX weights each source pixel by its area inside the target pixel.
        resized = picture.resize((camera.width, camera.height), Picture.Resampling.BOX)
        pixels = np.asarray(resized)
    return image_message(pixels, message.header.stamp, message.header.frame_id)


def _decoded(message: Any, camera: CameraSpec) -> NDArray[np.uint8]:
    data = message.data
    try:
        raw = data.tobytes() if isinstance(data, array.array) else bytes(data)
        return np.asarray(Picture.open(io.BytesIO(raw)).convert("RGB"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"compressed image cannot be decoded ({message.format!r}: {error})",
            where=f"camera {camera.name}", remedy="publish jpeg or png",
        ) from None


def _check_raw(message: Any, camera: CameraSpec) -> None:
    where = f"camera {camera.name}"
    if message.encoding not in CHANNEL_ORDER:
        raise ConfigError(
            f"unsupported encoding {message.encoding!r}", where=where,
            remedy=f"let the driver publish one of {', '.join(CHANNEL_ORDER)}",
        )
    if message.step < message.width * 3 or len(message.data) != message.step * message.height:
        raise ConfigError(
            f"{len(message.data)} bytes for {message.width}x{message.height}, step "
            f"{message.step}", where=where, remedy="fix the driver",
        )


def _check_size(width: int, height: int, camera: CameraSpec) -> None:
    where = f"camera {camera.name}"
    expected = f"{camera.width}x{camera.height}"
    if width < camera.width or height < camera.height:
        raise ConfigError(
            f"image {width}x{height} is smaller than the embodiment's {expected}", where=where,
            remedy="let the driver publish a larger image",
        )
    ratio = (width / height) / (camera.width / camera.height)
    if abs(ratio - 1) > ASPECT_TOLERANCE:
        raise ConfigError(
            f"image {width}x{height} has another aspect ratio than the embodiment's {expected}",
            where=where, remedy="crop it in the driver",
        )
