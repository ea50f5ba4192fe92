"""What a view check finds in pictures, with a model that draws grey scenes and nothing pink."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hiwm_learning.world_models.view_check import CameraFinding, ViewCheck
from hiwm_learning.world_models.view_check_picture import draw_view_check, is_view_check

PINK = (230, 40, 200)
SIZE = 64
Picture = NDArray[np.uint8]


class GreySimulator:
    """Draws everything but pink things, with the error of a usual model."""

    cameras = ("top",)

    def redraw(self, recordings: Sequence[Any]) -> list[list[Any]]:
        """Return each picture as it is, pink things left out."""
        return [
            [SimpleNamespace(image=self._drawn(views[0])) for views in frames]
            for frames, _ in recordings
        ]

    def _drawn(self, picture: Picture) -> Picture:
        """Return the picture with pixels that are far from grey made grey, and slightly darker."""
        spread = picture.max(axis=-1).astype(int) - picture.min(axis=-1)
        drawn = np.where((spread > 90)[..., None], 150, picture)
        return np.asarray(np.clip(drawn.astype(int) - 3, 0, 255).astype(np.uint8))


def scene(at: int = 20) -> Picture:
    """Return a table with marks, and an object at a place."""
    rng = np.random.default_rng(1)
    picture = np.full((SIZE, SIZE, 3), 150, np.uint8)
    for _ in range(12):
        row, column = rng.integers(4, SIZE - 10, 2)
        picture[row : row + 6, column : column + 3] = rng.integers(40, 240)
    picture[at : at + 8, at : at + 8] = 20
    return picture


@pytest.fixture(scope="module")
def check() -> ViewCheck:
    starts = [scene(at) for at in range(10, 50, 2)]
    return ViewCheck(GreySimulator(), starts, np.zeros((len(starts), 2)))


def found(check: ViewCheck, picture: Picture) -> CameraFinding:
    [finding] = check.look(picture, np.zeros(2))
    return finding


def test_a_usual_view_with_the_object_elsewhere_is_unremarkable(check: ViewCheck) -> None:
    assert found(check, scene(33)).problems == ()


@pytest.mark.parametrize(("right", "down"), [(2, 0), (0, -3), (-4, 5)])
def test_a_moved_camera_is_named_with_its_shift(
    check: ViewCheck, right: int, down: int
) -> None:
    finding = found(check, np.roll(scene(), (down, right), (0, 1)))
    assert finding.moved_px == (right, down)
    assert len(finding.problems) == 1 and "move the camera back" in finding.problems[0]


def test_a_large_picture_is_searched_on_a_thinned_grid() -> None:
    starts = [scene(at).repeat(6, 0).repeat(6, 1) for at in range(10, 50, 4)]
    large = ViewCheck(GreySimulator(), starts, np.zeros((len(starts), 2)))
    assert found(large, np.roll(starts[2], (-6, 12), (0, 1))).moved_px == (12, -6)


@pytest.mark.parametrize("factor", [0.7, 1.25])
def test_other_light_is_named_and_is_not_a_moved_camera(
    check: ViewCheck, factor: float
) -> None:
    finding = found(check, (scene() * factor).clip(0, 255).astype(np.uint8))
    assert finding.moved_px == (0, 0)
    assert any("brightness" in problem for problem in finding.problems)


def test_an_unknown_thing_is_found_where_it_lies(check: ViewCheck) -> None:
    picture = scene()
    picture[40:48, 16:24] = PINK
    finding = found(check, picture)
    assert np.argwhere(finding.unknown).tolist() == [[5, 2]]
    assert any("cannot draw" in problem for problem in finding.problems)


def test_another_scene_is_named(check: ViewCheck) -> None:
    turned = np.rot90(scene()).copy()
    assert any("stands still" in problem for problem in found(check, turned).problems)


def test_a_camera_without_a_still_picture_is_judged_by_its_drawing_only() -> None:
    rng = np.random.default_rng(0)
    starts = list(rng.integers(0, 80, (12, SIZE, SIZE, 1), np.uint8).repeat(3, axis=-1))
    moving = ViewCheck(GreySimulator(), starts, np.zeros((12, 2)))
    picture = rng.integers(0, 80, (SIZE, SIZE, 1), np.uint8).repeat(3, axis=-1) + 100
    assert found(moving, picture.astype(np.uint8)).problems == ()
    picture[:16, :16] = PINK
    assert found(moving, picture.astype(np.uint8)).unknown[:2, :2].all()


def test_the_picture_is_known_as_ours(check: ViewCheck, tmp_path: Path) -> None:
    path, other = tmp_path / "view.png", tmp_path / "photo.png"
    draw_view_check([found(check, np.roll(scene(), 2, 1))], path)
    assert is_view_check(path)
    Image.fromarray(scene()).save(other)
    assert not is_view_check(other) and not is_view_check(tmp_path / "none.png")
