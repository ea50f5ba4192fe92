"""What is known of success at each tick, from ground truth or from a person's label."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hiwm_core.bags.reader import Labels
from hiwm_core.bags.task_labels import progress_labels, success_labels
from hiwm_core.episode_labels import EpisodeLabel

YAML_ONLY: Any = SimpleNamespace(plugin=None, success_progress=0.9)
NAN = np.nan


def segment(length: int, labels: Labels | None = None) -> Any:
    return SimpleNamespace(
        length=length, labels=labels, steps=np.arange(length),
        embodiment=SimpleNamespace(rate_hz=10.0),
    )


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("failure", [0.0] * 12),
        ("success", [0.0] * 3 + [NAN] * 4 + [1.0] * 5),
        ("dropped", [NAN] * 12),
        ("", [NAN] * 12),
    ],
)
def test_a_label_says_how_an_episode_ended(label: str, expected: list[float]) -> None:
    said = EpisodeLabel(label=label)
    np.testing.assert_array_equal(success_labels(segment(12), YAML_ONLY, said), expected)
    assert np.isnan(progress_labels(segment(12), YAML_ONLY, said)).all()
    assert np.isnan(success_labels(segment(12), YAML_ONLY)).all()


def test_marks_of_progress_say_more_than_the_verdict() -> None:
    said = EpisodeLabel(label="success", progress={0: 0.0, 4: 0.8, 6: 1.0})
    progress = progress_labels(segment(20), YAML_ONLY, said)
    np.testing.assert_allclose(progress[:8], [0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, NAN])
    solved = success_labels(segment(20), YAML_ONLY, said)
    np.testing.assert_array_equal(solved, [0.0] * 5 + [1.0] * 2 + [NAN] * 8 + [1.0] * 5)


def test_a_short_success_has_at_least_its_last_tick() -> None:
    said = EpisodeLabel(label="success")
    assert success_labels(segment(1), YAML_ONLY, said).tolist() == [1.0]


def test_ground_truth_says_it_of_every_tick_whatever_the_label() -> None:
    task: Any = SimpleNamespace(
        plugin=SimpleNamespace(truth_names=("x_m",), progress=lambda truth: truth["x_m"]),
        success_progress=0.9,
    )
    one = segment(4, Labels(names=("x_m",), values=np.array([[0.1], [NAN], [0.95], [0.2]])))
    for label in ("", "success", "failure"):
        said = EpisodeLabel(label=label, progress={0: 0.5, 3: 0.5})
        np.testing.assert_array_equal(success_labels(one, task, said), [0.0, NAN, 1.0, 0.0])
