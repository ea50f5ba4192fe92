"""The command that compares cameras with a world model's training data."""

from pathlib import Path

import pytest
from PIL import Image

from hiwm_learning.world_models.view_check_picture import is_view_check
from hiwm_test_support.bags import robot_bag
from hiwm_test_support.latent_worlds import write_untrained_checkpoint
from hiwm_world.check_view import UNUSUAL, main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained_checkpoint(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return robot_bag(tmp_path_factory.mktemp("robot"), 5)


def test_a_bag_is_compared_and_a_picture_is_written(
    checkpoint: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "view.png"
    words = [str(checkpoint), f"bag:{bag}@2", "-o", str(picture)]
    code = main(words)
    assert code in (0, UNUSUAL)
    said = capsys.readouterr().out
    assert ("nothing unusual" in said) == (code == 0)
    assert is_view_check(picture)
    # It may replace its own picture.
    assert main(words) == code


def test_a_photo_is_never_replaced(
    checkpoint: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "holiday.png"
    Image.new("RGB", (8, 8)).save(photo)
    before = photo.read_bytes()
    assert main([str(checkpoint), f"bag:{bag}@2", "-o", str(photo)]) == 1
    assert "holiday.png" in capsys.readouterr().err
    assert photo.read_bytes() == before


@pytest.mark.parametrize(("view", "reason"), [
    ("session:/nowhere@b:1", "live or bag:PATH@STEP"), ("push/0003", "live or bag:PATH@STEP"),
    ("bag:/nowhere", "bag:PATH@STEP"),
])
def test_a_view_that_is_none_is_refused(
    checkpoint: Path, view: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(checkpoint), view, "-o", str(tmp_path / "view.png")]) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "view.png").exists()
