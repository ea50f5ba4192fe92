"""Valid robot configs, and the errors of invalid ones."""

from pathlib import Path

import pytest
import yaml

from hiwm_core.errors import ConfigError
from hiwm_core.robot_config import ADAPTERS, load_robot, parse_robot

GOOD = yaml.safe_load("""
name: twin
stand_in: false
embodiment: planar_bimanual
pace: camera
stale_after_s: 0.5
joint_states: joint_states
cameras:
  top: {image: camera/image_raw}
command:
  adapter: float64_multi_array
  topic: controller/commands
""")


def changed(**changes: object) -> str:
    """Return the good config's text with top-level keys replaced; None removes one."""
    data = {**GOOD, **changes}
    return yaml.safe_dump({key: value for key, value in data.items() if value is not None})


def test_shipped_standin_loads() -> None:
    robot = load_robot("standin")
    assert robot.stand_in
    assert robot.command.adapter == "joint_trajectory"
    assert robot.cameras[0].name == "top"
    assert robot.reset_service


def test_minimal_robot_has_no_reset_and_no_ground_truth() -> None:
    robot = parse_robot(changed(), "twin.yaml")
    assert robot.reset_service == ""
    assert robot.ground_truth == ""
    assert not robot.lockstep


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stale_after": 0.5, "stale_after_s": None}, ["stale_after", "did you mean"]),
        ({"stale_after_s": 500}, ["500", "seconds", "stale_after_s"]),
        ({"stale_after_s": 0}, ["stale_after_s", "seconds"]),
        ({"stale_after_s": float("nan")}, ["stale_after_s", "not finite"]),
        ({"stale_after_s": "0.5 s"}, ["stale_after_s", "float"]),
        ({"pace": "cam"}, ["pace", "camera", "timer"]),
        ({"pace": "timer", "lockstep": True}, ["lockstep", "camera"]),
        ({"cameras": {}}, ["camera"]),
        ({"cameras": {"top": {"imge": "x"}}}, ["imge", "image"]),
        ({"joint_states": "1joint states"}, ["1joint states", "ROS name"]),
        ({"command": {"adapter": "joint_trajectry", "topic": "c"}}, ["did you mean"]),
        ({"command": {"adapter": "twist_stamped", "topic": "c"}}, ["not yet supported"]),
        ({"command": {"adapter": "pose_stamped", "topic": "c"}}, ["not yet supported"]),
        (
            {"command": {"adapter": "joint_trajectory", "topic": "c", "time_from_start_s": 100}},
            ["time_from_start_s", "seconds"],
        ),
        (
            {"command": {"adapter": "float64_multi_array", "topic": "c",
                         "time_from_start_s": 0.1}},
            ["time_from_start_s", "joint_trajectory"],
        ),
        ({"reset": {"srv": "place"}}, ["srv", "service"]),
        ({"command": None}, ["command", "missing"]),
    ],
)
def test_wrong_config_is_refused_by_name(changes: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        parse_robot(changed(**changes), "twin.yaml")
    for word in ["twin.yaml", *words]:
        assert word in str(error.value)


def test_every_supported_adapter_loads() -> None:
    for adapter, served in ADAPTERS.items():
        if served:
            text = changed(command={"adapter": adapter, "topic": "c"})
            assert parse_robot(text, "twin.yaml").command.adapter == adapter


def test_robot_of_a_path(tmp_path: Path) -> None:
    path = tmp_path / "twin.yaml"
    path.write_text(changed())
    assert load_robot(path).name == "twin"
