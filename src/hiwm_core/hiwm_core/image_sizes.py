"""Images in another size: the only area average, live and for imported and exported data.

Tested by ``test_image_sizes.py``.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiwm_core.embodiment import CameraSpec
from hiwm_core.errors import ConfigError

# Aspect ratios that differ by less than this fraction count as equal.
_ASPECT_TOLERANCE = 0.01


def area_averaged(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return an image [H, W, 3] in another size; one that has it is returned as it is."""
    if image.shape[:2] == (height, width):
        return image
    # BOX weights each source pixel by its area inside the target pixel.
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))


def check_camera_size(
    height: int, width: int, camera: CameraSpec, *, where: str, remedy: str
) -> None:
    """Check that images can be averaged to a camera's size.

    Args:
        height: of the images, px.
        width: of the images, px.
        camera: of the embodiment.
        where: for the error.
        remedy: for the error.

    Raises:
        ConfigError: they are smaller, or of another aspect ratio.
    """
    expected = f"{camera.width}x{camera.height}"
    if width < camera.width or height < camera.height:
        raise ConfigError(
            f"image {width}x{height} is smaller than the embodiment's {expected}", where=where,
            remedy=remedy,
        )
    if abs(width * camera.height / (height * camera.width) - 1.0) > _ASPECT_TOLERANCE:
        raise ConfigError(
            f"image {width}x{height} has another aspect ratio than the embodiment's {expected}",
            where=where, remedy=remedy,
        )
