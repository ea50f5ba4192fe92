"""Driver images are converted to the embodiment's, or refused with the reason."""

import array
import io

import numpy as np
import pytest
from PIL import Image as Picture
from sensor_msgs.msg import CompressedImage, Image

from hiwm_core.embodiment import CameraSpec
from hiwm_core.errors import ConfigError
from hiwm_core.robots.cameras import ENCODINGS, CameraTopic, Crop
from hiwm_robot import camera_images
from hiwm_robot.camera_images import embodiment_image

CAMERA = CameraSpec(name="top", width=16, height=8, encoding="rgb8", view_m=(0.0, 0.0))
TOPIC = CameraTopic(image="image")
CROP = Crop(x=4, y=2, width=16, height=8)
RNG = np.random.default_rng(0)


def message(width: int, height: int, encoding: str = "rgb8", padding: int = 0) -> Image:
    channels = {"rgba8": 4, "bgra8": 4, "mono8": 1, "yuv422": 2, "yuv422_yuy2": 2}
    step = width * channels.get(encoding, 3) + padding
    data = RNG.integers(0, 256, (height, step), dtype=np.uint8)
    result = Image(width=width, height=height, encoding=encoding, step=step)
    result.header.stamp.sec = 7
    result.data = array.array("B", data.tobytes())
    return result


def pixels(image: Image) -> np.ndarray:
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)


def test_a_fitting_image_is_returned_unchanged() -> None:
    image = message(16, 8)
    assert embodiment_image(image, CAMERA, TOPIC) is image


def test_bgr_is_reordered() -> None:
    image = message(16, 8, "bgr8")
    np.testing.assert_array_equal(
        pixels(embodiment_image(image, CAMERA, TOPIC)), pixels(image)[:, :, ::-1]
    )


def test_row_padding_is_removed() -> None:
    image = message(16, 8, padding=5)
    rows = np.frombuffer(image.data, np.uint8).reshape(8, image.step)
    np.testing.assert_array_equal(
        pixels(embodiment_image(image, CAMERA, TOPIC)), rows[:, :48].reshape(8, 16, 3)
    )


def test_a_larger_image_is_averaged_over_areas() -> None:
    image = message(32, 16)
    mean = pixels(image).reshape(8, 2, 16, 2, 3).mean(axis=(1, 3))
    result = embodiment_image(image, CAMERA, TOPIC)
    assert np.abs(pixels(result) - mean).max() <= 1.0
    assert result.header.stamp.sec == 7


def encoded(picture: Picture.Image, kind: str = "png", label: str = "png") -> CompressedImage:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return CompressedImage(format=label, data=array.array("B", buffer.getvalue()))


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_crop_and_rotation_come_before_the_size(rotate: int) -> None:
    image = message(24, 24)
    upright = CROP if rotate in (0, 180) else Crop(x=1, y=5, width=8, height=16)
    topic = CameraTopic(image="image", size=(24, 24), crop=upright, rotate=rotate)
    part = pixels(image)[
        upright.y : upright.y + upright.height, upright.x : upright.x + upright.width
    ]
    expected = np.asarray(Picture.fromarray(part).rotate(-rotate, expand=True))
    np.testing.assert_array_equal(pixels(embodiment_image(image, CAMERA, topic)), expected)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_accepted_encoding_is_converted(encoding: str) -> None:
    grey = message(16, 8, encoding)
    values = np.full(len(grey.data), 90, np.uint8)
    if encoding == "yuv422_yuy2":
        values[1::2] = 128  # no colour
    elif encoding == "yuv422":
        values[::2] = 128
    grey.data = array.array("B", values.tobytes())
    result = pixels(embodiment_image(grey, CAMERA, TOPIC))
    np.testing.assert_array_equal(result, np.full((8, 16, 3), 90))


@pytest.mark.parametrize(("encoding", "order"), [("rgba8", [0, 1, 2]), ("bgra8", [2, 1, 0])])
def test_alpha_is_dropped(encoding: str, order: list[int]) -> None:
    image = message(16, 8, encoding)
    samples = np.frombuffer(image.data, np.uint8).reshape(8, 16, 4)
    result = pixels(embodiment_image(image, CAMERA, TOPIC))
    np.testing.assert_array_equal(result, samples[:, :, order])


def test_yuv_has_the_colours_of_jpeg() -> None:
    orange = Picture.new("RGB", (1, 1), (220, 120, 30)).convert("YCbCr").getpixel((0, 0))
    luma, blue, red = orange
    image = message(16, 8, "yuv422_yuy2")
    image.data = array.array("B", bytes([luma, blue, luma, red]) * 64)
    assert np.abs(
        pixels(embodiment_image(image, CAMERA, TOPIC)).astype(int) - [220, 120, 30]
    ).max() <= 2
    image.encoding = "yuv422"
    image.data = array.array("B", bytes([blue, luma, red, luma]) * 64)
    assert np.abs(
        pixels(embodiment_image(image, CAMERA, TOPIC)).astype(int) - [220, 120, 30]
    ).max() <= 2


def test_jpeg_of_image_transport_is_decoded() -> None:
    picture = Picture.new("RGB", (32, 16), (200, 100, 50))
    image = encoded(picture, "jpeg", "rgb8; jpeg compressed bgr8")
    result = pixels(embodiment_image(image, CAMERA, TOPIC)).astype(int)
    assert np.abs(result - [200, 100, 50]).max() <= 3


def test_a_huge_compressed_frame_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = encoded(Picture.new("RGB", (200, 100)))
    monkeypatch.setattr(camera_images, "MOST_PIXELS", 10_000)
    monkeypatch.setattr(Picture.Image, "convert", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ConfigError, match="200x100"):
        embodiment_image(image, CAMERA, TOPIC)


def test_a_truncated_jpeg_is_refused() -> None:
    image = encoded(Picture.new("RGB", (64, 32), (9, 9, 9)), "jpeg", "jpeg")
    image.data = image.data[: len(image.data) // 2]
    with pytest.raises(ConfigError, match="cannot be decoded"):
        embodiment_image(image, CAMERA, TOPIC)


@pytest.mark.parametrize(
    ("mode", "label"), [("I;16", "png"), ("RGB", "16UC1; png compressed"), ("L", "compressedDepth")]
)
def test_sixteen_bits_are_not_a_picture(mode: str, label: str) -> None:
    with pytest.raises(ConfigError, match="16 bits"):
        embodiment_image(encoded(Picture.new(mode, (16, 8)), label=label), CAMERA, TOPIC)


def test_an_image_of_another_size_than_the_robot_file_says_is_refused() -> None:
    topic = CameraTopic(image="image", size=(32, 16), crop=CROP)
    with pytest.raises(ConfigError, match="64x32, but the robot file says 32x16"):
        embodiment_image(message(64, 32), CAMERA, topic)


def test_only_listed_encodings_are_accepted() -> None:
    topic = CameraTopic(image="image", encodings=("rgb8",))
    with pytest.raises(ConfigError, match="bgr8"):
        embodiment_image(message(16, 8, "bgr8"), CAMERA, topic)


def test_png_is_decoded_exactly() -> None:
    image = message(16, 8)
    compressed = encoded(Picture.fromarray(pixels(image)))
    result = embodiment_image(compressed, CAMERA, TOPIC)
    np.testing.assert_array_equal(pixels(result), pixels(image))


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (message(8, 8), "smaller"),
        (message(32, 32), "aspect ratio"),
        (message(16, 8, "16UC1"), "16UC1"),
        (message(15, 8, "yuv422"), "fix the driver"),
        (Image(width=16, height=8, encoding="rgb8", step=48), "bytes"),
        (CompressedImage(format="jpeg", data=array.array("B", b"not an image")), "decoded"),
    ],
)
def test_an_unusable_image_is_refused(image: object, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        embodiment_image(image, CAMERA, TOPIC)
