"""The one area average: exact means, and the sizes that it refuses."""

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.image_sizes import area_averaged, check_camera_size

CAMERA = load_embodiment("planar_bimanual").cameras[0]  # 96x96


def test_each_pixel_is_the_mean_of_its_area() -> None:
    image = np.arange(8 * 16 * 3, dtype=np.uint8).reshape(8, 16, 3)
    small = area_averaged(image, 4, 8)
    means = image.astype(float).reshape(4, 2, 8, 2, 3).mean(axis=(1, 3))
    assert small.shape == (4, 8, 3) and np.abs(small - means).max() <= 0.5
    assert area_averaged(image, 8, 16) is image


@pytest.mark.parametrize(("height", "width", "words"), [
    (96, 95, "95x96 is smaller than the embodiment's 96x96"),
    (96, 128, "128x96 has another aspect ratio"),
])
def test_sizes_that_do_not_fit_are_refused(height: int, width: int, words: str) -> None:
    check_camera_size(400, 403, CAMERA, where="here", remedy="crop")
    with pytest.raises(ConfigError, match=f"{words}.*here.*crop"):
        check_camera_size(height, width, CAMERA, where="here", remedy="crop")
