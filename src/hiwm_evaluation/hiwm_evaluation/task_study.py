"""What a task's own file says about its studies: config/studies/TASK.yaml.

    paper:                 the paper's figures for the task, shown beside a study's
    budgets:               sizes that differ from the general ones (study/budgets.py)
    speeds:                for the estimate of a study's duration

A task without the file has general sizes and no figures. Tested by ``test_task_study.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hiwm_core.config_files import config_directories, config_text, parse_mapping
from hiwm_core.config_schema import number, settings
from hiwm_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PaperFigures:
    """Success rates of Hi-WM (arXiv 2604.21741) for a task, on real robots."""

    subject: str  # the paper's name of the task
    # Policy -> set -> success, percent; every policy has all three.
    success_percent: Mapping[str, Mapping[Literal["base", "wm-cl", "hi-wm"], float]]
    trials: int | None = number(None, lower=1, upper=10_000)  # per rate; None: not known

    def __post_init__(self) -> None:
        for policy, rates in self.success_percent.items():
            if set(rates) != {"base", "wm-cl", "hi-wm"}:
                raise ConfigError(
                    f"has {', '.join(rates) or 'no rate'}", where=f"success_percent.{policy}",
                    remedy="give base, wm-cl and hi-wm",
                )

    def percent(self, policy: str, which: str) -> float:
        """Return the success of a policy with one of the three sets, percent."""
        return next(rate for name, rate in self.success_percent[policy].items() if name == which)

    def share(self, policy: str, which: str) -> float:
        """Return the same, 0..1: a whole number of successes if the trials are known."""
        percent = self.percent(policy, which)
        if self.trials is None:
            return percent / 100.0
        return round(percent * self.trials / 100.0) / self.trials


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Speeds of one core, steps per second."""

    stand_in: float = number(45.0, lower=0.01, upper=1e6)  # control steps, without a graph
    imagination: float = number(40.0, lower=0.01, upper=1e6)  # control steps, without a graph
    graph: float = number(15.0, lower=0.01, upper=1e6)  # control steps of a session
    training: float = number(1.5, lower=0.01, upper=1e6)  # optimiser steps of a policy


@dataclass(frozen=True, kw_only=True)
class TaskStudy:
    """The file's content."""

    paper: PaperFigures | None = None
    budgets: Mapping[Literal["small", "full", "smoke"], Mapping[str, Any]] = field(
        default_factory=dict
    )
    speeds: Speeds = Speeds()


def task_study(task: str) -> TaskStudy:
    """Return what a task's file says about its studies; without a file, the defaults.

    Raises:
        ConfigError: a wrong key or value of the file.
    """
    for folder in config_directories():
        path = folder / "studies" / f"{task}.yaml"
        if path.is_file():
            return settings(TaskStudy, parse_mapping(config_text(path), str(path)), str(path))
    return TaskStudy()
