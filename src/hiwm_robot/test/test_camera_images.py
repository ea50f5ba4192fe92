"""Driver images are converted to the embodiment's, or refused with the reason."""

import array
import io

import numpy as np
import pytest
from PIL import Image as Picture
from sensor_msgs.msg import CompressedImage, Image

from hiwm_core.embodiment import CameraSpec
from hiwm_core.errors import ConfigError
from hiwm_robot.camera_images import embodiment_image

CAMERA = CameraSpec(name="top", width=16, height=8, encoding="rgb8", view_m=(0.0, 0.0))
RNG = np.random.default_rng(0)


def message(width: int, height: int, encoding: str = "rgb8", padding: int = 0) -> Image:
    step = width * 3 + padding
    data = RNG.integers(0, 256, (height, step), dtype=np.uint8)
    result = Image(width=width, height=height, encoding=encoding, step=step)
    result.header.stamp.sec = 7
    result.data = array.array("B", data.tobytes())
    return result


def pixels(image: Image) -> np.ndarray:
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)


def test_a_fitting_image_is_returned_unchanged() -> None:
    image = message(16, 8)
    assert embodiment_image(image, CAMERA) is image


def test_bgr_is_reordered() -> None:
    image = message(16, 8, "bgr8")
    np.testing.assert_array_equal(
        pixels(embodiment_image(image, CAMERA)), pixels(image)[:, :, ::-1]
    )


def test_row_padding_is_removed() -> None:
    image = message(16, 8, padding=5)
    rows = np.frombuffer(image.data, np.uint8).reshape(8, image.step)
    np.testing.assert_array_equal(
        pixels(embodiment_image(image, CAMERA)), rows[:, :48].reshape(8, 16, 3)
    )


def test_a_larger_image_is_averaged_over_areas() -> None:
    image = message(32, 16)
    mean = pixels(image).reshape(8, 2, 16, 2, 3).mean(axis=(1, 3))
    result = embodiment_image(image, CAMERA)
    assert np.abs(pixels(result) - mean).max() <= 1.0
    assert result.header.stamp.sec == 7


def test_png_is_decoded_exactly() -> None:
    image = message(16, 8)
    buffer = io.BytesIO()
    Picture.fromarray(pixels(image)).save(buffer, "png")
    compressed = CompressedImage(format="png", data=array.array("B", buffer.getvalue()))
    np.testing.assert_array_equal(pixels(embodiment_image(compressed, CAMERA)), pixels(image))


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (message(8, 8), "smaller"),
        (message(32, 32), "aspect ratio"),
        (message(16, 8, "mono16"), "mono16"),
        (Image(width=16, height=8, encoding="rgb8", step=48), "bytes"),
        (CompressedImage(format="jpeg", data=array.array("B", b"not an image")), "decoded"),
    ],
)
def test_an_unusable_image_is_refused(image: object, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        embodiment_image(image, CAMERA)
