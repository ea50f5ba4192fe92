"""The task file: refusals name file, field and remedy; starts keep away from the goal."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.config_files import find_config, text_hash
from hiwm_core.errors import ConfigError
from hiwm_core.tasks import load_task, parse_task, upgraded_task_text
from hiwm_push_t import shape
from hiwm_push_t.goal import POSE_NAMES, goal_of, pose_of

MODELS = Path(__file__).resolve().parents[4] / "models"
TEXT = find_config("tasks", "push_t").read_text()


def changed(place: tuple[str, ...], value: Any = None, *, rename: str = "") -> str:
    """Return the shipped file with one value, or one key, changed."""
    data = yaml.safe_load(TEXT)
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    if rename:
        inner[rename] = inner.pop(place[-1])
    else:
        inner[place[-1]] = value
    return yaml.safe_dump(data)


@pytest.mark.parametrize(
    ("place", "rename"),
    [
        (("horizon_steps",), "horizon_step"),
        (("settings", "unit_m"), "unit_mm"),
        (("settings", "goal_pose"), "goal_pos"),
        (("settings", "min_coverage_gap"), "min_covrage_gap"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(place: tuple[str, ...], rename: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_task(changed(place, rename=rename), "twin.yaml")
    for word in ["twin.yaml", *place[:-1], repr(rename), f"did you mean {place[-1]!r}"]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("settings", "unit_m"), 35, ["settings: unit_m", "length in m"]),
        (("settings", "unit_m"), 0.0, ["settings: unit_m"]),
        (("settings", "goal_pose"), [0.0, 100.0, 0.0], ["goal_pose", "100.0", "give m"]),
        (("settings", "goal_pose"), [0.0, 0.0, 90.0], ["goal_pose", "90.0", "give rad"]),
        (("settings", "goal_pose"), [0.0, 0.0], ["goal_pose", "3 entries"]),
        (("starts", "ranges", "object_x_m"), [-90, 90], ["starts.ranges.object_x_m", "give m"]),
        (("starts", "ranges", "object_yaw_rad"), [-90, 90], ["object_yaw_rad", "give rad"]),
        (("starts", "ranges"), {"x_m": [0, 1]}, ["starts.ranges", "object_yaw_rad"]),
        (("settings", "min_coverage_gap"), 35.0, ["min_coverage_gap", "0..1"]),
    ],
)
def test_a_wrong_unit_or_value_is_refused_with_file_field_and_remedy(
    place: tuple[str, ...], value: Any, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        parse_task(changed(place, value), "twin.yaml")
    for word in ["twin.yaml", *words]:
        assert word in str(error.value)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_starts_lie_in_their_ranges_and_away_from_the_goal(seed: int) -> None:
    task = load_task("push_t")
    goal = goal_of(task)
    start = task.sample_start(np.random.default_rng(seed))
    for name, (low, high) in task.start_ranges.items():
        assert low <= start[name] <= high
    covered = shape.coverage(pose_of(start), np.array(goal.pose), goal.unit_m)
    assert covered <= 1 - goal.min_coverage_gap


def test_ranges_without_a_valid_start_are_refused() -> None:
    data = yaml.safe_load(TEXT)
    data["starts"]["ranges"] = {name: [0, 0] for name in POSE_NAMES}
    with pytest.raises(ConfigError, match="widen the ranges"):
        parse_task(yaml.safe_dump(data), "twin.yaml").sample_start(np.random.default_rng(0))


OLD_TEXT = """\
name: push_t
embodiment: planar_bimanual
horizon_steps: 300
goal_pose: [0.0, 0.0, 0.0]
object:
  unit_m: 0.035
success:
  coverage: 0.85
reset:
  x_m: [-0.09, 0.09]
  y_m: [-0.07, 0.09]
  yaw_rad: [-1.57, 1.57]
  min_coverage_gap: 0.35
"""


def test_a_file_of_the_first_version_means_the_same_after_an_upgrade() -> None:
    upgraded = parse_task(upgraded_task_text(OLD_TEXT, "old.yaml"), "old.yaml")
    shipped = load_task("push_t")
    assert upgraded.hash == shipped.hash
    assert upgraded.start_ranges == shipped.start_ranges
    assert upgraded.horizon_steps == shipped.horizon_steps
    assert upgraded.is_known_as(text_hash(OLD_TEXT))


def test_shipped_checkpoints_are_of_this_task() -> None:
    """They name the hash of the file that they were trained with."""
    with (MODELS / "world_push_t.safetensors").open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))["__metadata__"]["hiwm"]
    assert load_task("push_t").is_known_as(json.loads(header)["task_hash"])


@pytest.mark.parametrize(
    ("seed", "pose"),
    [
        (0, [0.02465310371786178, -0.02683412579778076, -1.4413431348403487]),
        (1000, [0.003849432835511285, 0.026614695521012727, -0.09124275640812263]),
    ],
)
def test_the_start_of_a_seed_never_changes(seed: int, pose: list[float]) -> None:
    """Studies pair trials by the seeds of their starts."""
    start = load_task("push_t").sample_start(np.random.default_rng(seed))
    assert pose_of(start).tolist() == pose
