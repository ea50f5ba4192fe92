"""Conversion of driver images to the embodiment's encoding and size: crop, rotate, resize."""

import array
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from sensor_msgs.msg import Image

from hiwm_core.embodiment import CameraSpec
from hiwm_core.errors import ConfigError
from hiwm_core.image_sizes import area_averaged, check_camera_size
from hiwm_core.robots.cameras import CameraTopic
from hiwm_nodes.messages import image_message

Pixels = NDArray[np.uint8]

# Larger compressed frames are refused before they are decoded: an 8K camera has 33 million pixels.
MOST_PIXELS = 40_000_000
MOST_BYTES = 64_000_000


def embodiment_image(message: Any, camera: CameraSpec, topic: CameraTopic) -> Image:
    """Return a driver's Image or CompressedImage in the embodiment's encoding and size.

    An image that already fits is returned unchanged; for errors see `embodiment_pixels`.
    """
    if hasattr(message, "encoding"):
        _check_raw(message, topic, f"camera {camera.name}")
        untouched = topic.crop is None and topic.rotate == 0 and message.encoding == "rgb8"
        fits = (message.width, message.height) == (camera.width, camera.height)
        if untouched and fits and message.step == message.width * 3:
            return message
    pixels = embodiment_pixels(message, camera, topic)
    return image_message(pixels, message.header.stamp, message.header.frame_id)


def embodiment_pixels(message: Any, camera: CameraSpec, topic: CameraTopic) -> Pixels:
    """Return the pixels of a driver's Image or CompressedImage in the embodiment's size, rgb.

    A larger image is area-averaged. The message may be of rclpy or of rosbags.

    Raises:
        ConfigError: an encoding, size or aspect ratio that cannot be converted, or a damaged frame.
    """
    where = f"camera {camera.name}"
    if hasattr(message, "encoding"):
        _check_raw(message, topic, where)
        pixels = _raw_pixels(message)
    else:
        pixels = _decoded(message, where)
    _check_driver_size(pixels, topic, where)
    if topic.crop is not None:
        crop = topic.crop
        pixels = pixels[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]
    if topic.rotate:
        pixels = np.rot90(pixels, -topic.rotate // 90)  # rot90 turns counter-clockwise
    check_camera_size(
        pixels.shape[0], pixels.shape[1], camera, where=where,
        remedy="let the driver publish a larger image, or give size and crop in the robot file",
    )
    return area_averaged(pixels, camera.height, camera.width)


def _raw_pixels(message: Any) -> Pixels:
    """Return the rgb pixels [H, W, 3] of a checked raw image."""
    channels, to_rgb = _RAW[message.encoding]
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    samples = rows[:, : message.width * channels]
    return to_rgb(samples.reshape(message.height, message.width, channels))


def _rgb_of_yuv(luma: int, first: int, second: int) -> Callable[[Pixels], Pixels]:
    """Return a converter of 4:2:2 pairs.

    Args:
        luma: channel of Y in each two-byte pixel.
        first: byte of Cb in each four-byte pair.
        second: byte of Cr.
    """

    def convert(samples: Pixels) -> Pixels:
        pairs = samples.reshape(samples.shape[0], -1, 4)
        chroma = pairs[:, :, (first, second)].repeat(2, axis=1)
        planes = np.concatenate([samples[:, :, luma : luma + 1], chroma], axis=2)
        # Full-range BT.601, as in JPEG: UVC cameras differ from it by a few grey levels at most.
        picture = Picture.frombytes(
            "YCbCr", (samples.shape[1], samples.shape[0]), np.ascontiguousarray(planes).tobytes()
        )
        return np.asarray(picture.convert("RGB"))

    return convert


# Encoding to bytes per pixel and conversion; the keys are those of CameraTopic.encodings.
_RAW: dict[str, tuple[int, Callable[[Pixels], Pixels]]] = {
    "rgb8": (3, lambda samples: samples),
    "bgr8": (3, lambda samples: samples[:, :, ::-1]),
    "rgba8": (4, lambda samples: samples[:, :, :3]),
    "bgra8": (4, lambda samples: samples[:, :, 2::-1]),
    "mono8": (1, lambda samples: samples.repeat(3, axis=2)),
    "yuv422_yuy2": (2, _rgb_of_yuv(0, 1, 3)),
    "yuv422": (2, _rgb_of_yuv(1, 0, 2)),
}


def _decoded(message: Any, where: str) -> Pixels:
    """Return the rgb pixels [H, W, 3] of a compressed image."""
    data = message.data
    raw = data.tobytes() if isinstance(data, array.array) else bytes(data)
    try:
        # Only the header is read here.
        picture = Picture.open(io.BytesIO(raw[:MOST_BYTES]), formats=("JPEG", "PNG"))
        deep = picture.mode.startswith(("I", "F")) or "16" in message.format.split(";")[0]
        if deep or "compressedDepth" in message.format:
            raise ConfigError(
                f"compressed image with 16 bits per channel ({message.format!r})", where=where,
                remedy="use the color topic: depth is not a picture",
            )
        if len(raw) > MOST_BYTES or picture.width * picture.height > MOST_PIXELS:
            raise ConfigError(
                f"compressed image of {picture.width}x{picture.height} px and {len(raw)} bytes",
                where=where, remedy=f"let the driver publish at most {MOST_PIXELS} pixels",
            )
        return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Picture.DecompressionBombError) as error:
        raise ConfigError(
            f"compressed image cannot be decoded ({message.format!r}: {error})",
            where=where, remedy="publish jpeg or png",
        ) from None


def _check_raw(message: Any, topic: CameraTopic, where: str) -> None:
    if message.encoding not in topic.encodings:
        raise ConfigError(
            f"unsupported encoding {message.encoding!r}", where=where,
            remedy=f"let the driver publish one of {', '.join(topic.encodings)}",
        )
    row = message.width * _RAW[message.encoding][0]
    odd = message.width % 2 and message.encoding.startswith("yuv")
    if odd or message.step < row or len(message.data) != message.step * message.height:
        raise ConfigError(
            f"{len(message.data)} bytes for {message.width}x{message.height} "
            f"{message.encoding}, step {message.step}", where=where, remedy="fix the driver",
        )


def _check_driver_size(pixels: Pixels, topic: CameraTopic, where: str) -> None:
    size = (pixels.shape[1], pixels.shape[0])
    if topic.size is not None and size != topic.size:
        raise ConfigError(
            f"image {size[0]}x{size[1]}, but the robot file says {topic.size[0]}x{topic.size[1]}",
            where=where, remedy="correct size and crop, or the driver's resolution",
        )
