"""The page's map of keys and its arrangement of pictures, in JavaScript, for every embodiment.

Runs where node is installed; elsewhere only the browser tests run this code.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hiwm_console.drive_axes import DriveAxes
from hiwm_core.config_files import config_directories
from hiwm_core.embodiment import load_embodiment
from hiwm_core.tips import tip_axes

PAGE = Path(__file__).parents[1] / "hiwm_console" / "page"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")
MAP = """
const { armsOf, movesOf } = await import(process.argv[1]);
const { world, frame } = JSON.parse(process.argv[2]);
const arms = armsOf(world, frame);
console.log(JSON.stringify({ arms, moves: [...movesOf(arms)] }));
"""
ARRANGE = """
const { arrange } = await import(process.argv[1]);
const { aspects, width, height } = JSON.parse(process.argv[2]);
console.log(JSON.stringify(arrange(aspects, width, height, 4)));
"""


def run(script: str, module: str, given: Any) -> Any:
    assert NODE is not None
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", script, str(PAGE / module), json.dumps(given)],
        capture_output=True, text=True, check=True, timeout=60,
    )
    return json.loads(done.stdout)


def key_map(name: str, frame: str = "") -> Any:
    embodiment = load_embodiment(name)
    world = DriveAxes(embodiment).described()
    return embodiment, run(MAP, "key_map.js", {"world": world, "frame": frame})


@pytest.mark.parametrize("frame", ["base", "joints"])
@pytest.mark.parametrize("name", sorted(
    file.stem for file in (config_directories()[-1] / "embodiments").glob("*.yaml")
))
def test_every_motion_of_two_arms_has_two_keys_of_its_own(name: str, frame: str) -> None:
    embodiment, found = key_map(name, frame)
    controls = [one for arm in found["arms"] for one in arm["controls"]]
    keys = [key for one in controls for key in (one["minus"], one["plus"])]
    assert all(keys) and len(set(keys)) == len(keys) == len(found["moves"])
    # STOP and pause are never a motion, whatever else is held.
    assert not {"x", "S+x", " ", "S+ "} & set(keys)
    entries = [one["entry"] for one in controls]
    assert len(set(entries)) == len(entries)
    assert len(entries) == sum(
        len(tip_axes(embodiment, group.arm))
        if group.kind == "ee_position" or (group.kinematics and frame != "joints") else group.size
        for group in embodiment.groups
    )
    grippers = {one["entry"] for one in controls if one["kind"] == "gripper"}
    assert grippers == {
        place for group in embodiment.groups if group.kind == "gripper"
        for place in range(group.start, group.start + group.size)
    }


def test_planar_arms_keep_their_keys_and_a_tool_moves_by_them_too() -> None:
    _, planar = key_map("planar_bimanual")
    moves = dict(map(tuple, ((key, tuple(move)) for key, move in planar["moves"])))
    assert moves == {
        "a": (0, -1), "d": (0, 1), "s": (1, -1), "w": (1, 1),
        "j": (2, -1), "l": (2, 1), "k": (3, -1), "i": (3, 1),
    }
    _, tool = key_map("ur5e_tool")
    moves = dict(map(tuple, ((key, tuple(move)) for key, move in tool["moves"])))
    first = load_embodiment("ur5e_tool").action_dim  # the tip's axes come after the entries
    assert moves["w"] == (first + 1, 1) and moves["S+w"] == (first + 2, 1)
    assert moves["S+a"] == (first + 5, 1)
    assert tool["arms"][0]["plane"] == [first, first + 1]
    assert key_map("ur5e")[1]["arms"][0]["plane"] is None


def test_an_arm_of_joints_is_driven_by_its_tip_or_joint_by_joint() -> None:
    _, seen = key_map("yam_pair", "camera top")
    arm = seen["arms"][1]
    assert [one["kind"] for one in arm["controls"]] == [
        "x", "y", "z", "roll", "pitch", "yaw", "gripper"
    ]
    assert arm["plane"] == [20, 21] and arm["controls"][0]["ways"] == ["left", "right"]
    _, along = key_map("yam_pair", "tool")
    assert along["arms"][1]["controls"][0]["ways"] == ["x −", "x +"]
    _, joints = key_map("yam_pair", "joints")
    assert [one["entry"] for one in joints["arms"][1]["controls"]] == list(range(7, 14))


@pytest.mark.parametrize("aspects", [
    [1.0], [4 / 3], [16 / 9, 1.0], [4 / 3] * 3, [4 / 3] * 4, [1.0, 4 / 3, 16 / 9, 0.75],
])
@pytest.mark.parametrize(("width", "height"), [(800, 600), (374, 370), (600, 200)])
def test_pictures_fill_the_box_without_distortion_or_overlap(
    aspects: list[float], width: int, height: int
) -> None:
    found = run(ARRANGE, "arrange.js", {"aspects": aspects, "width": width, "height": height})
    boxes = found["boxes"]
    assert len(boxes) == len(aspects)
    for box, aspect in zip(boxes, aspects, strict=True):
        assert box["w"] / box["h"] == pytest.approx(aspect, rel=0.02)
        assert box["x"] >= 0 and box["x"] + box["w"] <= width + 0.1
        assert box["y"] >= 0 and box["y"] + box["h"] <= height + 0.1
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert (
                one["x"] >= other["x"] + other["w"] - 0.1 or other["x"] >= one["x"] + one["w"] - 0.1
                or one["y"] >= other["y"] + other["h"] - 0.1
                or other["y"] >= one["y"] + one["h"] - 0.1
            )
    assert found["width"] == pytest.approx(width, abs=1) or found["height"] == pytest.approx(
        height, abs=1
    )


def test_four_equal_pictures_form_a_square_of_four() -> None:
    found = run(ARRANGE, "arrange.js", {"aspects": [4 / 3] * 4, "width": 800, "height": 600})
    assert len({round(box["w"]) for box in found["boxes"]}) == 1
    assert sum(box["w"] * box["h"] for box in found["boxes"]) > 0.97 * 800 * 600
