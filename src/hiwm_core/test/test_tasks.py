"""Task files: what is refused names file, field and remedy; a task needs no code."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core import check_task, task_plugin
from hiwm_core.config_files import default_task, find_config, text_hash
from hiwm_core.errors import ConfigError
from hiwm_core.task_plugin import GROUP, TaskPlugin, Values
from hiwm_core.tasks import JudgedBy, Task, load_task, parse_task, upgraded_task_text

TEXT = """\
name: hang_coat
instruction: fold the towel in half
embodiment: two_arms
horizon_steps: 600
starts:
  ranges:
    towel_x_m: [-0.1, 0.1]
    towel_yaw_rad: [-1, 1]
"""


class Halves(TaskPlugin):
    """A plug-in that accepts starts on one side only."""

    truth_names = ("towel_x_m",)

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        if set(task.settings) - {"side"}:
            raise ConfigError("unknown key", where="settings", remedy="remove it")

    def progress(self, truth: Values) -> float:
        return float(truth["towel_x_m"] > 0)

    def accepts_start(self, start: Values) -> bool:
        return start["towel_x_m"] * self.task.settings["side"] > 0

    def start_problem(self, start: Values) -> str:
        return "off the table" if start["towel_x_m"] > 1 else ""

    @classmethod
    def upgraded(cls, old: Any) -> dict[str, Any] | None:
        return yaml.safe_load(TEXT) if old.get("title") == "towel" else None


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the plug-in of this file."""
    class Loaded(EntryPoint):
        def load(self) -> type[TaskPlugin]:
            return Halves

    entries = EntryPoints([Loaded("halves", "here:Halves", GROUP)])
    monkeypatch.setattr(task_plugin, "entry_points", lambda group: entries.select(group=group))


def changed(**values: Any) -> str:
    """Return the text with top-level values changed."""
    return yaml.safe_dump({**yaml.safe_load(TEXT), **values})


def test_a_task_of_one_file_has_everything_that_a_robot_needs() -> None:
    task = parse_task(TEXT, "twin.yaml")
    assert task.judge is JudgedBy.PERSON
    assert task.labels == ("success", "failure")
    assert task.start_names == ("towel_x_m", "towel_yaw_rad")
    assert task.plugin is None
    start = {"towel_x_m": 0.05, "towel_yaw_rad": 0.5}
    assert task.start_problem(start) == ""
    assert task.start_text(start) == "towel_x_m 0.050, towel_yaw_rad 0.500"
    assert "towel_x_m" in task.start_problem({"towel_x_m": 0.05})
    assert "not finite" in task.start_problem({**start, "towel_x_m": float("nan")})
    with pytest.raises(ConfigError, match="has no stand-in"):
        task.stand_in()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"horizon_step": 3}, ["'horizon_step'", "did you mean 'horizon_steps'"]),
        ({"horizon_steps": 0}, ["horizon_steps", "from 1"]),
        ({"horizon_steps": "30 s"}, ["horizon_steps", "int"]),
        ({"success_progress": 85.0}, ["success_progress", "from 0.001 to 1"]),
        ({"judge": "persons"}, ["judge", "did you mean 'person'"]),
        ({"judge": "ground_truth"}, ["judge", "name the plug-in"]),
        ({"settings": {"side": 1}}, ["settings", "name the plug-in"]),
        ({"plugin": "none_such"}, ["plugin", "'none_such'", "installed are"]),
        ({"labels": ["success", "slipped"]}, ["labels", "success, failure"]),
        ({"labels": ["success", "failure", "failure"]}, ["labels", "each once"]),
        ({"starts": {"ranges": {"x_m": [0.1, -0.1]}}}, ["starts.ranges.x_m", "[lower, upper]"]),
        ({"starts": {"ranges": {"x_cm": [0, 1]}}}, ["starts.ranges.x_cm", "in cm", "SI"]),
        ({"starts": {"ranges": {"x m": [0, 1]}}}, ["starts.ranges.x m", "not a name"]),
        ({"labels": ["success", "failure", " "]}, ["labels", "success, failure"]),
        ({"instruction": " "}, ["instruction", "in words"]),
        ({"name": "cups/blue"}, ["name", "'cups/blue' cannot name files"]),
        ({"name": ""}, ["name", "cannot name files"]),
        ({"starts": {"range": {}}}, ["starts", "did you mean 'ranges'"]),
    ],
)
def test_a_wrong_file_is_refused_with_file_field_and_remedy(
    values: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        parse_task(changed(**values), "twin.yaml")
    for word in ["twin.yaml", *words]:
        assert word in str(error.value)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_starts_lie_in_their_ranges(seed: int) -> None:
    task = parse_task(TEXT, "twin.yaml")
    start = task.sample_start(np.random.default_rng(seed))
    for name, (low, high) in task.start_ranges.items():
        assert low <= start[name] <= high


def test_a_task_without_values_has_an_empty_start() -> None:
    task = parse_task(changed(starts={}), "twin.yaml")
    assert task.sample_start(np.random.default_rng(0)) == {}
    assert task.start_problem({}) == ""


def test_the_plugin_chooses_starts_and_refuses_settings(halves: None) -> None:
    task = parse_task(changed(plugin="halves", settings={"side": -1}), "twin.yaml")
    rng = np.random.default_rng(0)
    assert all(task.sample_start(rng)["towel_x_m"] < 0 for _ in range(20))
    assert task.start_problem({"towel_x_m": 2.0, "towel_yaw_rad": 0.0}) == "off the table"
    never = parse_task(changed(plugin="halves", settings={"side": 0}), "twin.yaml")
    with pytest.raises(ConfigError, match="widen the ranges"):
        never.sample_start(rng)
    with pytest.raises(ConfigError) as error:
        parse_task(changed(plugin="halves", settings={"sides": 0}), "twin.yaml")
    assert "twin.yaml: settings" in str(error.value)


def test_the_hash_follows_the_meaning_and_not_the_text(halves: None) -> None:
    task = parse_task(changed(plugin="halves", settings={"side": 1}), "twin.yaml")
    same = parse_task(
        "# A comment\n" + changed(
            plugin="halves", settings={"side": 1.0}, instruction="fold it", reset="unfold it"
        ),
        "twin.yaml",
    )
    other = parse_task(changed(plugin="halves", settings={"side": -1}), "twin.yaml")
    assert same.hash == task.hash
    assert other.hash != task.hash
    assert task.is_known_as(same.hash)
    assert not task.is_known_as(other.hash)
    renewed = parse_task(
        changed(plugin="halves", settings={"side": 1}, earlier_hashes=["abc"]), "twin.yaml"
    )
    assert renewed.is_known_as("abc")
    assert renewed.is_known_as(task.hash)


def test_pictures_of_starts_lie_beside_the_file_and_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "hang_coat.yaml"
    path.write_text(changed(
        embodiment="planar_bimanual", starts={"pictures": ["left.png", "right.png"]}
    ))
    with pytest.raises(ConfigError) as error:
        load_task(path)
    assert "left.png" in str(error.value) and str(tmp_path) in str(error.value)
    for name in ("left.png", "right.png"):
        (tmp_path / name).touch()
    task = load_task(path)
    assert [task.picture(trial) for trial in range(3)] == ["left.png", "right.png", "left.png"]
    (shown,) = (line for line in check_task.summary(task) if line.startswith("a start: "))
    assert shown.endswith("left.png")
    assert parse_task(TEXT, "twin.yaml").picture(0) == ""


def test_a_name_that_does_not_exist_is_refused_with_the_nearest() -> None:
    (name, *_) = sorted(path.stem for path in find_config("tasks", default_task()).parent.glob("*"))
    expected = rf"no task '{name}x' \(tasks/{name}x.yaml\).*did you mean '{name}'"
    with pytest.raises(ConfigError, match=expected):
        load_task(f"{name}x")


def test_an_old_text_is_upgraded_by_the_plugin_that_knows_it(halves: None) -> None:
    upgraded = parse_task(upgraded_task_text("title: towel\n", "old.yaml"), "old.yaml")
    assert upgraded.hash == parse_task(TEXT, "new.yaml").hash
    assert upgraded.is_known_as(text_hash("title: towel\n"))
    assert upgraded_task_text(TEXT, "new.yaml") == TEXT
    with pytest.raises(ConfigError, match="unknown key 'title'"):
        upgraded_task_text("title: rope\n", "old.yaml")
