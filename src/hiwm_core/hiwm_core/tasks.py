"""Tasks: one YAML file each, and a plug-in where only code knows the answer.

    name: hang_coat
    instruction: hang the coat on the hook
    embodiment: two_arms
    horizon_steps: 600
    judge: person                     # or head, or ground_truth

A real robot's task is such a file and no code. `hiwm_core.task_plugin` describes what a plug-in
adds; docs/add_a_task.md describes every key.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from hiwm_core.config_files import config_text, file_name, find_config, parse_mapping, text_hash
from hiwm_core.config_schema import number, settings
from hiwm_core.errors import ConfigError
from hiwm_core.formats import MIGRATE
from hiwm_core.task_plugin import TaskPlugin, Values, distance, plugin_class, registered_plugins

# Labels that every task has: trials count them.
SUCCESS, FAILURE = "success", "failure"
_DRAWS = 1000  # of a start, before its ranges are refused
_NOT_SI = ("cm", "mm", "deg", "degrees", "ms")  # units at the end of a value's name


class JudgedBy(StrEnum):
    """Who decides on a robot whether a trial succeeded. In imagination a success head does."""

    PERSON = "person"
    HEAD = "head"  # a learned head, by the success in the ticks
    GROUND_TRUTH = "ground_truth"  # the plug-in, on a stand-in; on a robot, a person


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task file's content."""

    name: str
    instruction: str  # in words, for people and for policies that read language
    embodiment: str  # name of config/embodiments/NAME.yaml
    horizon_steps: int  # control steps of one episode
    judge: JudgedBy
    success_progress: float  # progress 0..1 that counts as success, where progress is known
    labels: tuple[str, ...]  # of episodes and branches; `SUCCESS` and `FAILURE` are among them
    start_ranges: Mapping[str, tuple[float, float]]  # value of a start: lower, upper
    pictures: tuple[str, ...]  # of wanted starts, as in the file
    reset: str  # what a person does before an episode, in words
    plugin_name: str  # empty: no code
    settings: Mapping[str, Any]  # of the plug-in
    text: str
    hash: str  # sha256 over the values that change the meaning of recorded numbers
    earlier_hashes: tuple[str, ...] = ()  # of older files that mean the same

    @property
    def start_names(self) -> tuple[str, ...]:
        """Names of the values of a start, in order."""
        return tuple(self.start_ranges)

    @cached_property
    def plugin(self) -> TaskPlugin | None:
        """The plug-in; None if the task has none. Raises ConfigError if it refuses the file."""
        if not self.plugin_name:
            return None
        return plugin_class(self.plugin_name, f"task {self.name}: plugin")(self)

    def stand_in(self) -> TaskPlugin:
        """Return the plug-in of a task with a stand-in; raises ConfigError if there is none."""
        if self.plugin is None or not self.plugin.data_kinds:
            raise ConfigError(
                f"task {self.name} has no stand-in", where=f"task {self.name}: plugin",
                remedy="run it on a robot, or add its stand-in: docs/add_a_task.md",
            )
        return self.plugin

    def is_known_as(self, recorded_hash: str) -> bool:
        """Return whether a hash in a bag or checkpoint names this task, or an equal older file."""
        return recorded_hash == self.hash or recorded_hash in self.earlier_hashes

    def sample_start(self, rng: np.random.Generator) -> dict[str, float]:
        """Return a start, uniform over the ranges, that the plug-in accepts.

        Raises:
            ConfigError: none was found.
        """
        ranges = np.array(list(self.start_ranges.values())).reshape(-1, 2)
        for _ in range(_DRAWS):
            drawn = rng.uniform(ranges[:, 0], ranges[:, 1])
            start = dict(zip(self.start_names, drawn.tolist(), strict=True))
            if self.plugin is None or self.plugin.accepts_start(start):
                return start
        raise ConfigError(
            f"the plug-in accepts no start in {_DRAWS} draws", where=f"task {self.name}: starts",
            remedy="widen the ranges, or change the plug-in's settings",
        )

    def start_problem(self, start: Values) -> str:
        """Return why a start cannot be placed, for people; empty if it can."""
        if set(start) != set(self.start_names):
            return (
                f"a start of task {self.name} has the values {', '.join(self.start_names) or '-'}, "
                f"found {', '.join(start) or 'none'}"
            )
        infinite = [name for name, value in start.items() if not np.isfinite(value)]
        if infinite:
            return f"{', '.join(infinite)} of the start is not finite"
        return self.plugin.start_problem(start) if self.plugin else ""

    def start_distance(self, one: Values, other: Values) -> float:
        """Return how far two starts are apart; only comparisons have a meaning."""
        if self.plugin:
            return self.plugin.start_distance(one, other)
        return distance(self.start_ranges, one, other)

    def start_text(self, start: Values) -> str:
        """Return a start for people: `object_x_m 0.050, object_yaw_rad 1.571`."""
        return ", ".join(f"{name} {value:.3f}" for name, value in start.items())

    def picture(self, trial: int) -> str:
        """Return the picture of the wanted start of a trial; empty if there are none."""
        return self.pictures[trial % len(self.pictures)] if self.pictures else ""


def load_task(name: str | Path) -> Task:
    """Return the task with a name in config/tasks, or at a path.

    Raises:
        ConfigError: missing file or picture, unknown key, wrong value, or a missing plug-in; names
            file and field.
    """
    path = find_config("tasks", name)
    task = parse_task(config_text(path), str(path))
    for picture in task.pictures:
        if not (path.parent / picture).is_file():
            raise ConfigError(
                f"no picture {picture}", where=f"{path}: starts.pictures",
                remedy=f"put it into {path.parent}, or correct its name",
            )
    return task


@dataclass(frozen=True, kw_only=True)
class _StartsEntry:
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, (low, high) in self.ranges.items():
            unit = name.rsplit("_", 1)[-1]
            if not name.isidentifier() or unit in _NOT_SI:
                raise ConfigError(
                    f"{name!r} is not a name of a value" if unit not in _NOT_SI
                    else f"{name} is in {unit}", where=f"ranges.{name}",
                    remedy="use letters, digits and _, with an SI unit at the end: x_m, yaw_rad",
                )
            if low > high:
                raise ConfigError(
                    f"{name} runs from {low} down to {high}", where=f"ranges.{name}",
                    remedy="write [lower, upper]",
                )


@dataclass(frozen=True, kw_only=True)
class TaskFile:
    """The keys of a task file."""

    name: str
    instruction: str
    embodiment: str
    horizon_steps: int = number(lower=1, upper=1e7)
    judge: Literal["person", "head", "ground_truth"] = "person"
    success_progress: float = number(1.0, lower=1e-3, upper=1.0)
    labels: tuple[str, ...] = (SUCCESS, FAILURE)
    starts: _StartsEntry = field(default_factory=_StartsEntry)
    reset: str = ""
    plugin: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    earlier_hashes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        file_name(self.name)
        if not self.instruction.strip():
            raise ConfigError(
                "no instruction", where="instruction", remedy="say in words what is to be done"
            )
        missing = [label for label in (SUCCESS, FAILURE) if label not in self.labels]
        odd = [label for label in self.labels if not label.strip() or not label.isprintable()]
        if missing or odd or len(set(self.labels)) < len(self.labels):
            raise ConfigError(
                f"labels are {', '.join(self.labels) or 'empty'}", where="labels",
                remedy=f"list {SUCCESS}, {FAILURE} and further ones, each once",
            )
        if JudgedBy(self.judge) is JudgedBy.GROUND_TRUTH and not self.plugin:
            raise ConfigError(
                "only a plug-in can judge from ground truth", where="judge",
                remedy="name the plug-in, or use person or head",
            )
        if self.settings and not self.plugin:
            raise ConfigError(
                "there are settings and no plug-in", where="settings",
                remedy="name the plug-in they are for, or remove them",
            )


def parse_task(text: str, where: str) -> Task:
    """Return the task that a YAML text describes; for errors see `load_task`.

    Pictures are not looked for: a text from a bag or from another machine comes without them.
    """
    content = parse_mapping(text, where)
    try:
        file = settings(TaskFile, content, where)
    except ConfigError:
        if _upgraded(content, where) is None:
            raise
        raise ConfigError(
            "written for an earlier version of hiwm", where=where, remedy=MIGRATE
        ) from None
    meaning = {
        "name": file.name, "embodiment": file.embodiment, "judge": file.judge,
        "success_progress": file.success_progress, "plugin": file.plugin,
        "settings": file.settings,
    }
    task = Task(
        name=file.name, instruction=file.instruction, embodiment=file.embodiment,
        horizon_steps=file.horizon_steps, judge=JudgedBy(file.judge),
        success_progress=file.success_progress, labels=file.labels,
        start_ranges=file.starts.ranges, pictures=file.starts.pictures, reset=file.reset,
        plugin_name=file.plugin, settings=file.settings, text=text,
        hash=text_hash(json.dumps(_canonical(meaning), sort_keys=True)),
        earlier_hashes=file.earlier_hashes,
    )
    try:
        task.plugin  # noqa: B018 - the plug-in checks its settings now
    except ConfigError as error:
        raise ConfigError(
            error.what, where=f"{where}: {error.where}", remedy=error.remedy
        ) from None
    return task


def _canonical(value: Any) -> Any:
    """Return a parsed value in a form in which equal meanings are equal: 1 and 1.0, for one."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def upgraded_task_text(text: str, where: str) -> str:
    """Return a task's text for this version, from that of a file, bag or session of an older one.

    A current text is returned as it is. An upgraded one lists the old text's hash, which older
    checkpoints name.

    Raises:
        ConfigError: no registered plug-in knows the text.
    """
    try:
        parse_task(text, where)
    except ConfigError as error:
        upgraded = _upgraded(parse_mapping(text, where), where)
        if upgraded is None:
            raise ConfigError(error.what, where=error.where, remedy=error.remedy) from None
        upgraded["earlier_hashes"] = [text_hash(text)]
        new = yaml.safe_dump(upgraded, sort_keys=False, default_flow_style=None)
        parse_task(new, where)
        return new
    return text


def _upgraded(content: Mapping[str, object], where: str) -> dict[str, object] | None:
    """Return a task file of an earlier version in today's form; None if no plug-in knows it."""
    for name in registered_plugins():
        upgraded = plugin_class(name, where).upgraded(content)
        if upgraded is not None:
            return upgraded
    return None
