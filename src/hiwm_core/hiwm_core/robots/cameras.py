"""Cameras of a robot file: topic, and the transform from the driver's image to the embodiment's.

The order is crop, rotate, resize to the embodiment's camera. Tested by ``test_robot_config.py``.
"""

from dataclasses import dataclass
from typing import Literal

from hiwm_core.config_files import ros_name
from hiwm_core.config_schema import number
from hiwm_core.errors import ConfigError
from hiwm_core.robots.sources import Stamps

# Encodings of sensor_msgs/Image that `hiwm_robot.camera_images` converts to rgb8.
Encoding = Literal["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "yuv422_yuy2", "yuv422"]
ENCODINGS: tuple[Encoding, ...] = (
    "rgb8", "bgr8", "rgba8", "bgra8", "mono8", "yuv422_yuy2", "yuv422"
)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A rectangle of the driver's image, px."""

    x: int = number(lower=0, upper=20_000)  # of its left edge
    y: int = number(lower=0, upper=20_000)  # of its upper edge
    width: int = number(lower=8, upper=20_000)
    height: int = number(lower=8, upper=20_000)


@dataclass(frozen=True, kw_only=True)
class CameraTopic:
    """One camera's driver."""

    image: str  # topic of sensor_msgs/Image, or CompressedImage when compressed
    compressed: bool = False
    info: str = ""  # topic of sensor_msgs/CameraInfo; empty: the bridge publishes sizes only
    encodings: tuple[Encoding, ...] = ENCODINGS  # accepted ones; an image of another is refused
    size: tuple[int, int] | None = None  # width and height of the driver's image; checked [px]
    crop: Crop | None = None  # needs size
    rotate: Literal[0, 90, 180, 270] = 0  # clockwise, after the crop [degrees]
    stamps: Stamps = "driver"
    # Added to the driver's stamps: negative if the driver stamps late [s]
    stamp_offset_s: float = number(0.0, lower=-2.0, upper=2.0)
    stale_after_s: float | None = number(None, lower=1e-3, upper=60.0)  # as for joint sources

    def __post_init__(self) -> None:
        ros_name(self.image, "image")
        if self.info:
            ros_name(self.info, "info")
        if not self.encodings:
            raise ConfigError(
                "no encoding", where="encodings", remedy="leave it out to accept all known ones"
            )
        if self.size is not None and not all(8 <= side <= 20_000 for side in self.size):
            raise ConfigError(
                f"size {list(self.size)}", where="size", remedy="give width and height in px"
            )
        if self.crop is None:
            return
        if self.size is None:
            raise ConfigError(
                "crop without size", where="size",
                remedy="give the driver's [width, height], so that the crop can be checked",
            )
        width, height = self.size
        if self.crop.x + self.crop.width > width or self.crop.y + self.crop.height > height:
            raise ConfigError(
                f"the crop reaches ({self.crop.x + self.crop.width}, "
                f"{self.crop.y + self.crop.height}), outside the image of {width}x{height}",
                where="crop", remedy="keep x + width and y + height inside size",
            )

    @property
    def upright_size(self) -> tuple[int, int] | None:
        """Width and height after crop and rotation, px; None if the driver's size is not given."""
        if self.size is None:
            return None
        width, height = (self.crop.width, self.crop.height) if self.crop else self.size
        return (height, width) if self.rotate in (90, 270) else (width, height)


@dataclass(frozen=True, kw_only=True)
class ViewTopic:
    """A camera for the person who drives: only the console shows it. No observation has it."""

    image: str  # topic of sensor_msgs/Image, or CompressedImage when compressed
    compressed: bool = False
    size: tuple[int, int]  # width and height of its pictures, for their place on the page [px]

    def __post_init__(self) -> None:
        ros_name(self.image, "image")
        if not all(8 <= side <= 20_000 for side in self.size):
            raise ConfigError(
                f"size {list(self.size)}", where="size", remedy="give width and height in px"
            )
