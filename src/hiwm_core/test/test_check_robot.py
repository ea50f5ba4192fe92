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


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("tip: left_tip", "tip: left_tp", "no link 'left_tp'"),
     ("urdf: yam_pair.urdf", "urdf: none.urdf", "no URDF 'none.urdf'")],
)
def test_a_urdf_of_the_embodiment_without_the_named_link_is_refused(
    key: str, value: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check_robot.main(["yam_pair_joints"]) == 0
    assert "by their tips: left, right" in capsys.readouterr().out
    (tmp_path / "embodiments").mkdir()
    text = find_config("embodiments", "yam_pair").read_text()
    monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path))
    (tmp_path / "embodiments" / "yam_pair.yaml").write_text(text.replace(key, value, 1))
    assert check_robot.main(["yam_pair_joints"]) == 1
    shown = capsys.readouterr().err
    assert words in shown and "group left_arm: kinematics" in shown


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
