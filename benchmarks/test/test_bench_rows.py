"""How a benchmark's numbers are judged and shown."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_benchmarks import arm_checks
from hiwm_benchmarks.measuring import Options, measure
from hiwm_benchmarks.memory_growth import Sample, growth
from hiwm_benchmarks.rows import ROWS, Measured, as_json, quantile, table, verdict
from hiwm_benchmarks.three_cameras import lost_frames, write_configs
from hiwm_core.embodiment import load_embodiment
from hiwm_core.robot_config import load_robot
from hiwm_core.tasks import load_task

BY_KEY = {row.key: row for row in ROWS}


@pytest.mark.parametrize(
    ("key", "value", "met"),
    [
        ("imagination_rate", 11.9, "no"), ("imagination_rate", 12.0, "yes"),
        ("imagination_rate", 25.0, "aim"), ("memory", 3.1, "no"), ("memory", 3.0, "yes"),
        ("memory", 1.5, "aim"), ("memory", math.nan, "no"), ("imagination_rate", math.nan, "no"),
    ],
)
def test_a_number_is_compared_with_its_bounds(key: str, value: float, met: str) -> None:
    assert verdict(BY_KEY[key], value) == met


def test_every_aim_meets_its_bound() -> None:
    for row in ROWS:
        assert verdict(row, row.aim) == "aim"
        assert verdict(row, row.at_least) != "no"


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1), level=st.floats(0.01, 1.0))
def test_at_least_that_fraction_of_values_is_at_or_below_a_quantile(
    values: list[float], level: float
) -> None:
    found = quantile(values, level)
    assert found in values
    assert sum(value <= found for value in values) >= level * len(values) - 1e-9


def test_a_row_that_was_not_measured_is_shown_and_written_as_missing() -> None:
    results = {"takeover": Measured(value=math.nan, details={"p50 ms": math.nan})}
    assert "none" in table(results)
    (row,) = json.loads(json.dumps(as_json(results), allow_nan=False))
    assert (row["measured"], row["met"], row["details"]) == (None, "no", {"p50 ms": None})


def _samples(memory: dict[float, float]) -> list[Sample]:
    return [
        Sample(seconds=at, ticks=int(at), resident={"world": resident, "policy": 100.0},
               proportional={})
        for at, resident in memory.items()
    ]


def test_growth_ignores_initial_loading_and_single_peaks() -> None:
    memory = {10.0 * n: 100.0 + min(n, 20) + 0.1 * n for n in range(181)}
    memory[310.0] = memory[1750.0] = 500.0
    grown = growth(_samples(memory), 300.0)
    assert grown["policy"] == 0.0
    assert grown["world"] == pytest.approx(100 * (137.7 / 123.3 - 1), abs=0.2)
    assert grown["all"] == pytest.approx(100 * (237.7 / 223.3 - 1), abs=0.2)


def test_growth_of_a_short_run_is_nan() -> None:
    assert math.isnan(growth(_samples({0.0: 1.0, 60.0: 2.0}), 300.0)["all"])
    assert math.isnan(growth([], 300.0)["all"])


@pytest.mark.parametrize(
    ("recorded", "lost"),
    [
        ([0, 20, 40, 60], 0), ([10, 30, 50], 0), ([0, 20, 60], 1), ([0, 30, 60], 1),
        ([0, 20, 20, 40], 0), ([], 4),
    ],
)
def test_every_second_frame_belongs_to_a_tick_and_to_the_bag(
    recorded: list[int], lost: int
) -> None:
    assert lost_frames(range(0, 80, 10), {"top": recorded}) == {"top": lost}


def test_the_files_of_the_three_cameras_fit_together(tmp_path: Path) -> None:
    embodiment_file, robot_file, task_file = write_configs(tmp_path)
    embodiment, robot = load_embodiment(embodiment_file), load_robot(robot_file)
    assert set(robot.cameras) == {camera.name for camera in embodiment.cameras}
    assert load_embodiment(robot.embodiment) == embodiment
    assert load_task(task_file).embodiment == embodiment.name


def test_the_checks_of_two_arms_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm_checks, "COMMANDS", 200)
    measured = measure("arm_checks", Options(
        launch_file=Path(), folder=Path(), seconds=1.0, repeats=1, more={}
    ))["limits_and_collisions"]
    assert 0.0 < measured.details["cpu p50"] <= measured.details["cpu p99"]
    assert 0 < measured.details["held"] < 200  # the arms reach the rules, and move
