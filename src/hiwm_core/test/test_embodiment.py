"""Embodiment files: what is refused names file, field and remedy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hiwm_core.config_files import find_config
from hiwm_core.embodiment import Embodiment, load_embodiment, parse_embodiment
from hiwm_core.errors import ConfigError
from hiwm_test_support.robots import MIXED_TEXT, mixed_robot

TEXT = find_config("embodiments", "planar_bimanual").read_text()
ENTRY = ("groups", 0, "entries", 0)


def changed(
    place: tuple[Any, ...], value: Any = None, *, rename: str = "", text: str = TEXT
) -> str:
    """Return a file with one value, or one key, changed; a value of ... removes the key."""
    data = yaml.safe_load(text)
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    if rename:
        inner[rename] = inner.pop(place[-1])
    elif value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return yaml.safe_dump(data)


def test_shipped_embodiment_loads() -> None:
    embodiment = load_embodiment("planar_bimanual")
    assert embodiment.action_dim == 4
    assert embodiment.action_joints == tuple(f"{e.name}_joint" for e in embodiment.actions)
    assert embodiment.joint_names == embodiment.action_joints
    assert [(g.name, g.kind, g.slice) for g in embodiment.groups] == [
        ("left", "joint_position", slice(0, 2)), ("right", "joint_position", slice(2, 4)),
    ]
    assert embodiment.arms == ("left", "right")
    assert embodiment.home == (-0.15, -0.15, 0.15, -0.15)
    assert np.all(embodiment.lower < embodiment.upper)
    assert embodiment.camera("top").width == 96


def test_every_shipped_embodiment_loads() -> None:
    for path in Path(find_config("embodiments", "planar_bimanual")).parent.glob("*.yaml"):
        assert load_embodiment(path).name == path.stem


def test_groups_of_all_kinds_are_flattened_in_order() -> None:
    robot = mixed_robot()
    assert [(g.name, g.start, g.size, g.rotation) for g in robot.groups] == [
        ("left", 0, 9, "6d"), ("left_gripper", 9, 1, "none"), ("right", 10, 4, "yaw"),
        ("lift", 14, 2, "none"),
    ]
    assert robot.group("left").rotation_slice == slice(3, 9)
    assert robot.group("right").rotation_slice == slice(13, 14)
    assert robot.group("lift").rotation_slice == slice(16, 16)
    assert [entry.name for entry in robot.actions[3:9]] == [
        f"left_turn_{part}" for part in ("r11", "r21", "r31", "r12", "r22", "r32")
    ]
    assert all(entry.max_velocity == 1.5 and entry.unit == "1" for entry in robot.actions[3:9])
    assert robot.home[3:9] == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert robot.action_joints[9:] == ("left_finger", "", "", "", "", "column", "wrist")
    assert robot.joint_names == ("left_finger", "column", "wrist", "j1", "j2", "battery")
    assert robot.pose_names == ("left_tool",)
    assert robot.group("left").frame == "left_base" and robot.group("right").frame == "table"


@pytest.mark.parametrize(
    ("place", "rename", "words"),
    [
        (("rate_hz",), "rate", ["rate", "rate_hz"]),
        ((*ENTRY, "max_velocity"), "max_velocty", ["groups[0].entries[0]", "max_velocity"]),
        (("groups", 1, "measured"), "measurd", ["groups[1]", "measured"]),
        (("proprioception", 0, "unit"), "units", ["proprioception[0]", "unit"]),
        (("cameras", 0, "width"), "wdth", ["cameras[0]", "width"]),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(
    place: tuple[Any, ...], rename: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        parse_embodiment(changed(place, rename=rename), "twin.yaml")
    for word in ["twin.yaml", repr(rename), "did you mean", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ((*ENTRY, "unit"), "mm", ["groups[0].entries[0].unit", "mm", "SI", "convert"]),
        ((*ENTRY, "unit"), "1", ["groups[0].entries[0].unit", "gripper"]),
        ((*ENTRY, "upper"), -1.0, ["groups[0].entries[0].upper", "range"]),
        ((*ENTRY, "upper"), ..., ["groups[0].entries[0].upper", "range"]),
        ((*ENTRY, "upper"), float("nan"), ["groups[0].entries[0]", "upper"]),
        ((*ENTRY, "max_velocity"), 0.0, ["entries[0].max_velocity"]),
        ((*ENTRY, "max_acceleration"), float("nan"), ["entries[0].max_acceleration"]),
        ((*ENTRY, "max_velocity"), "0.12 m/s", ["entries[0].max_velocity", "float"]),
        ((*ENTRY, "max_following_error"), 0.011, ["entries[0].max_following_error", "0.012"]),
        ((*ENTRY, "joint"), ..., ["groups[0].entries[0].joint", "joint_states"]),
        ((*ENTRY, "joint"), "left_y_joint", ["groups", "share a joint", "left_y_joint"]),
        ((*ENTRY, "name"), "left_y", ["groups", "share a name", "left_y"]),
        ((*ENTRY, "home"), 150, ["entries[0].home", "-0.18"]),
        ((*ENTRY, "home"), ..., ["entries[0].home", "-0.18"]),
        (("groups", 0, "measured"), ..., ["groups[0].measured", "no measured counterpart",
                                          "joint_states"]),
        (("groups", 0, "measured"), {"source": "pose", "pose": "tool"},
         ["groups[0].measured.source", "joint_position"]),
        (("groups", 0, "measured"), {"source": "joint_states", "link": "tool"},
         ["groups[0].measured.link"]),
        (("groups", 0, "kind"), "gripper", ["groups[0].entries[0].lower", "ratio"]),
        (("groups", 0, "kind"), "ee_position", ["groups[0]", "pose or urdf"]),
        (("groups", 0, "tip"), "tool0", ["groups[0].tip"]),
        (("groups",), [], ["groups", "empty"]),
        (("proprioception", 2, "unit"), "rad",
         ["proprioception[2].unit", "right_x_joint is in rad here, and in m as an action"]),
        (("proprioception", 2, "unit"), "deg", ["proprioception[2]", "deg", "SI"]),
        (("proprioception", 2, "field"), "velocity", ["proprioception[2].unit", "m/s"]),
        (("proprioception", 2, "action"), "left_x", ["proprioception[2].joint", "action"]),
        (("rate_hz",), float("inf"), ["rate_hz"]),
        (("name",), "arms/two", ["name", "cannot name files"]),
        (("cameras", 0, "encoding"), "bgr8", ["cameras[0]", "bgr8", "rgb8"]),
    ],
)
def test_a_wrong_unit_or_value_is_refused_with_file_field_and_remedy(
    place: tuple[Any, ...], value: Any, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        parse_embodiment(changed(place, value), "twin.yaml")
    for word in ["twin.yaml", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("groups", 0, "measured"), ..., ["groups[0].measured", "pose"]),
        (("groups", 0, "measured"), {"source": "joint_states"}, ["groups[0].measured.source"]),
        (("groups", 0, "measured", "pose"), ..., ["groups[0].measured.pose", "lacks pose"]),
        (("groups", 2, "measured", "link"), ..., ["groups[2].measured.link", "urdf"]),
        (("groups", 0, "tip"), ..., ["groups[0].tip"]),
        (("groups", 0, "rotation"), "none", ["groups[0].entries", "x, y, z"]),
        (("groups", 0, "rotation"), "quaternion", ["groups[0].rotation", "6d"]),
        (("groups", 0, "entries", 3, "unit"), "m", ["groups[0].entries[3].unit", "rad"]),
        (("groups", 0, "entries", 3, "lower"), -1.0, ["groups[0].entries[3].lower"]),
        (("groups", 0, "entries", 3, "home"), [1, 0, 0, 1, 0, 0], ["entries[3].home", "rotation"]),
        (("groups", 0, "entries", 0, "joint"), "j9", ["groups[0].entries[0].joint"]),
        (("groups", 2, "entries", 3, "upper"), 6.3, ["groups[2].entries[3].lower", "half a turn"]),
        (("groups", 1, "entries", 0, "upper"), 0.08, ["groups[1].entries[0].lower", "ratio"]),
        (("proprioception", 0, "action"), "left_q", ["proprioception[0].action", "left_x"]),
    ],
)
def test_a_wrong_group_of_an_end_effector_is_refused(
    place: tuple[Any, ...], value: Any, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        parse_embodiment(changed(place, value, text=MIXED_TEXT), "twin.yaml")
    for word in ["twin.yaml", *words]:
        assert word in str(error.value)


def reordered(value: Any) -> Any:
    """Return YAML data with the keys of every mapping in reverse."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize("text", [TEXT, MIXED_TEXT])
def test_the_hash_ignores_what_leaves_recorded_numbers_as_they_are(text: str) -> None:
    def same(other: str) -> bool:
        return parse_embodiment(other, "a").hash == parse_embodiment(text, "b").hash

    assert same(text + "\n# note\n")
    assert same(yaml.safe_dump(reordered(yaml.safe_load(text)), sort_keys=False))
    assert same(changed(("name",), "twin", text=text))
    assert same(changed(("groups", 0, "arm"), "port", text=text))
    assert same(changed(("groups", 0, "name"), "port", text=text))
    assert same(changed(("proprioception", 0, "name"), "seen", text=text))
    for key, value in (
        ("lower", -0.17), ("home", 0.01), ("max_velocity", 0.1), ("max_acceleration", 2.0),
        ("max_following_error", 0.07),
    ):
        assert same(changed((*ENTRY, key), value, text=text)), key
    renamed = yaml.safe_load(text)
    old = renamed["groups"][0]["entries"][0]["name"]
    renamed["groups"][0]["entries"][0]["name"] = "first"
    for entry in renamed["proprioception"]:
        if entry.get("action") == old:
            entry["action"] = "first"
    assert same(yaml.safe_dump(renamed))


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        (TEXT, ("rate_hz",), 15.0),
        (TEXT, ("frame",), "base"),
        (TEXT, (*ENTRY, "joint"), "slide"),
        (MIXED_TEXT, ("groups", 3, "entries", 0, "unit"), "rad"),
        (TEXT, ("proprioception", 0, "joint"), "slide"),
        (TEXT, ("cameras", 0, "width"), 128),
        (TEXT, ("cameras", 0, "name"), "side"),
        (TEXT, ("cameras", 0, "view_m"), [0.5, 0.4]),
        (MIXED_TEXT, ("groups", 0, "frame"), "world"),
        (MIXED_TEXT, ("groups", 0, "tip"), "flange"),
        (MIXED_TEXT, ("groups", 0, "measured", "pose"), "flange"),
        (MIXED_TEXT, ("groups", 2, "measured", "urdf"), "other.urdf"),
        (MIXED_TEXT, ("proprioception", 0, "action"), "left_y"),
    ],
)
def test_the_hash_changes_with_the_meaning_of_recorded_numbers(
    text: str, place: tuple[Any, ...], value: Any
) -> None:
    assert parse_embodiment(changed(place, value, text=text), "a").hash != _of(text).hash


def test_the_hash_changes_with_the_order_of_entries() -> None:
    data = yaml.safe_load(TEXT)
    data["groups"][0]["entries"].reverse()
    assert parse_embodiment(yaml.safe_dump(data), "a").hash != _of(TEXT).hash


def _of(text: str) -> Embodiment:
    return parse_embodiment(text, "test")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="planar_bimanual"):
        load_embodiment("planar_bimanaul")
