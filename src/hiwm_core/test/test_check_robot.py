"""What `check_robot` says of a robot file."""

from pathlib import Path

import pytest

from hiwm_core import check_robot
from hiwm_core.config_files import find_config


def test_a_robot_is_shown_with_what_it_reads_and_sends(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_robot.main(["so101"]) == 0
    said = capsys.readouterr().out
    for words in (
        "embodiment: so101, 6 action entries", "camera: /follower/cam_front/image_raw to front, 96",
        "joint_trajectory to /follower/arm_controller/joint_trajectory", "hold_last",
        "needs active: arm_controller", "interlocks: none",
    ):
        assert words in said, words
    assert "marks left" not in said


def test_marks_of_a_draft_and_mistakes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path))
    path = tmp_path / "robots" / "mine.yaml"
    path.parent.mkdir()
    text = find_config("robots", "so101").read_text()
    path.write_text(f"# CHECK: who stops it\n{text}")
    assert check_robot.main(["mine"]) == 0
    assert f"marks left in {path}: 1" in capsys.readouterr().out
    path.write_text(text.replace("hold_last", "hold"))
    assert check_robot.main(["mine"]) == 1
    assert "outputs.arm.silence" in capsys.readouterr().err
