"""Task files: what is refused names file, field and remedy; starts stay in their ranges."""

from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core import push_t
from hiwm_core.config_files import find_config
from hiwm_core.errors import ConfigError
from hiwm_core.task import load_task, parse_task

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
        (("object", "unit_m"), "unit_mm"),
        (("reset", "yaw_rad"), "yaw_deg"),
        (("success", "coverage"), "covrage"),
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
        (("object", "unit_m"), 35, ["object", "unit_m", "length in m"]),
        (("object", "unit_m"), 0.0, ["object", "unit_m"]),
        (("goal_pose",), [0.0, 100.0, 0.0], ["goal_pose", "100.0", "give m"]),
        (("goal_pose",), [0.0, 0.0, 90.0], ["goal_pose", "90.0", "give rad"]),
        (("goal_pose",), [0.0, 0.0], ["goal_pose", "3 entries"]),
        (("reset", "x_m"), [-90, 90], ["reset", "give m"]),
        (("reset", "yaw_rad"), [-90, 90], ["reset", "give rad"]),
        (("reset", "y_m"), [0.09, -0.07], ["reset", "y_m", "[lower, upper]"]),
        (("reset", "min_coverage_gap"), 35.0, ["min_coverage_gap", "0..1"]),
        (("success", "coverage"), 85.0, ["success", "0..1"]),
        (("horizon_steps",), 0, ["horizon_steps"]),
        (("horizon_steps",), "30 s", ["horizon_steps", "int"]),
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
    pose = task.sample_start(np.random.default_rng(seed))
    for value, (low, high) in zip(
        pose, (task.reset_x_m, task.reset_y_m, task.reset_yaw_rad), strict=True
    ):
        assert low <= value <= high
    covered = push_t.coverage(pose, np.array(task.goal_pose), task.object_unit_m)
    assert covered <= 1 - task.min_coverage_gap


def test_ranges_without_a_valid_start_are_refused() -> None:
    data = yaml.safe_load(TEXT)
    data["reset"].update(x_m=[0, 0], y_m=[0, 0], yaw_rad=[0, 0])
    with pytest.raises(ConfigError, match="min_coverage_gap"):
        parse_task(yaml.safe_dump(data), "twin.yaml").sample_start(np.random.default_rng(0))
