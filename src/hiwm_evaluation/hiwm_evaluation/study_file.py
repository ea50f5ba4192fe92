"""A study folder: policies, their training sets, and their trials in both worlds.

``study.json`` names the folders that the evaluator wrote (``trials.py``), relative to itself;
docs/study.md has the format. ``findings.py`` computes results from it, ``report.py`` shows them.
Tested by ``test_study_file.py``.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import yaml

from hiwm_core.config_files import nearest
from hiwm_core.config_schema import number, settings
from hiwm_core.errors import ConfigError, StoreError, reason
from hiwm_evaluation.trials import Outcome, TrialResult, read_results

STUDY_FILE = "study.json"


class Backbone(StrEnum):
    """The network of a policy."""

    DIFFUSION = "diffusion"
    ACT = "act"


class TrainingSet(StrEnum):
    """Training set of a policy: Hi-WM's sets (arXiv 2604.21741) and controls."""

    START = "start"  # the starting point of all other policies of its backbone and seed
    BASE = "base"  # the same demonstrations, for as many further steps as the sets below
    WM_CL = "wm-cl"
    DEMONSTRATIONS = "demonstrations"  # with further demonstrations
    STAND_IN_CORRECTIONS = "stand-in"  # with corrections on the stand-in, without a world model
    HI_WM = "hi-wm"
    OTHER = "other"  # shown, but not part of any gain


class World(StrEnum):
    """The world of trials; values as in ``world_info``."""

    STAND_IN = "hardware"  # in studies always a stand-in, never a robot
    IMAGINATION = "imagination"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The trials of one policy in one world."""

    results: tuple[TrialResult, ...]  # sorted by number
    planned: int  # trials
    conditions: dict[str, Any]

    @property
    def judged(self) -> list[TrialResult]:
        """Trials that ended in success or failure."""
        return [result for result in self.results if result.outcome is not Outcome.ABORTED]

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of successes and of judged trials."""
        judged = self.judged
        return sum(result.outcome is Outcome.SUCCESS for result in judged), len(judged)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One trained policy."""

    name: str
    backbone: Backbone
    set: TrainingSet
    seed: int  # of the training
    checkpoint: str
    note: str
    evaluations: dict[World, Evaluation]  # no key if missing
    other_imagined: Evaluation | None = None  # in the second world model


@dataclass(frozen=True, kw_only=True)
class OperatorSession:
    """An operator's work in one session."""

    session: str
    operator: str
    branching: bool  # several continuations per failure state were possible
    seconds: float  # operator time
    frames: int  # driven by the operator
    corrections: int
    failure_states: int  # corrected at least once
    succeeded: int  # corrections that ended in success
    robot_seconds: float = 0.0  # of a robot or its stand-in, including the policy's ticks
    resets: int = 0  # of a robot or its stand-in


@dataclass(frozen=True, kw_only=True)
class SetContent:
    """Contents of one policy's training set, by provenance."""

    cell: str
    frames_by_provenance: Mapping[str, int]
    mass_by_provenance: Mapping[str, float]  # share of the training weight
    dropped_low_trust: int = 0  # imagined frames left out for low trust


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of a policy's set, on top of that of its base policy."""

    cell: str
    operator_frames: int  # driven by the operator or demonstrator
    learnt_frames: int  # of those, frames learnt from
    operator_seconds: float
    robot_seconds: float
    resets: int


@dataclass(frozen=True, kw_only=True)
class BranchingPolicy:
    """A policy corrected with or without rollback and branches, or the base of such policies."""

    cell: str  # its name
    backbone: Backbone
    seed: int
    corrected: Literal["", "branched", "in place"]  # empty for the base
    operator_frames: int  # learnt from
    operator_seconds: float
    session_seconds: float  # of the session until then, in which the operator also watches
    corrections: int  # interventions
    failure_states: int
    evaluation: Evaluation | None  # on the stand-in


@dataclass(frozen=True, kw_only=True)
class Study:
    """The data of a report."""

    task: str
    command: str
    seeds: tuple[Any, ...]
    software: str
    date: str
    cells: tuple[Cell, ...]
    operator: tuple[OperatorSession, ...]
    sets: tuple[SetContent, ...]
    costs: tuple[Cost, ...]
    branching: tuple[BranchingPolicy, ...]
    other_world: Mapping[str, Any]  # of the second world model; empty if there is none
    remarks: tuple[str, ...]  # sentences for people: choices made on other starts, checks
    world_model: Mapping[str, Any]
    world_state: str  # what the world model's state is, and what its success head reads


@dataclass(frozen=True, kw_only=True)
class _CellEntry:
    """A cell as it stands in study.json; the evaluations are folders, relative to the study."""

    name: str
    backbone: str
    set: str
    seed: int
    checkpoint: str | None = None
    note: str = ""
    hardware: str | None = None
    imagination: str | None = None
    other_imagination: str | None = None


@dataclass(frozen=True, kw_only=True)
class _BranchingEntry:
    """A policy of a comparison with and without branches, as it stands in study.json."""

    cell: str
    backbone: str
    seed: int
    corrected: Literal["", "branched", "in place"]
    operator_frames: int = number(lower=0, upper=1e12)
    operator_seconds: float = number(lower=0.0, upper=1e12)
    session_seconds: float = number(lower=0.0, upper=1e12)
    corrections: int = number(lower=0, upper=1e12)
    failure_states: int = number(lower=0, upper=1e12)
    hardware: str | None = None


@dataclass(frozen=True, kw_only=True)
class _File:
    """The content of study.json."""

    task: str
    command: str
    seeds: tuple[Any, ...]
    software: str
    date: str
    cells: tuple[_CellEntry, ...]
    operator: tuple[OperatorSession, ...] = ()
    sets: tuple[SetContent, ...] = ()
    costs: tuple[Cost, ...] = ()
    branching: tuple[_BranchingEntry, ...] = ()
    other_world: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[Any, ...] = ()
    world_model: Mapping[str, Any] = field(default_factory=dict)
    world_state: str = ""


def read_study(folder: Path) -> Study:
    """Return the study in a folder; cells lack evaluations that do not exist yet.

    Raises:
        StoreError: no study.json, or an evaluation is damaged or of another world.
        ConfigError: a field of study.json is invalid.
    """
    path = folder / STUDY_FILE
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"cannot be read: {reason(error)}", where=str(path),
            remedy="give the folder of a study; docs/study.md describes the format",
        ) from error
    file = settings(_File, content, str(path))
    cells = tuple(
        _cell(entry, f"{path}: cells[{i}]", folder, file.task) for i, entry in enumerate(file.cells)
    )
    _refuse_doubles(cells, f"{path}: cells")
    names = {cell.name for cell in cells}
    for i, session in enumerate(file.operator):
        _check_session(session, f"{path}: operator[{i}]")
    for i, training_set in enumerate(file.sets):
        _check_set(training_set, f"{path}: sets[{i}]", names)
    for i, cost in enumerate(file.costs):
        _check_cost(cost, f"{path}: costs[{i}]", names)
    return Study(
        task=file.task, command=file.command, seeds=file.seeds, software=file.software,
        date=file.date, cells=cells, operator=file.operator, sets=file.sets, costs=file.costs,
        branching=tuple(
            _branching_policy(entry, f"{path}: branching[{i}]", folder, file.task)
            for i, entry in enumerate(file.branching)
        ),
        other_world=file.other_world, remarks=tuple(map(str, file.remarks)),
        world_model=file.world_model, world_state=file.world_state,
    )


def read_evaluation(folder: Path, world: World, task: str) -> Evaluation | None:
    """Return the evaluation in a folder of the evaluator; None if no trial was run.

    Raises:
        StoreError: a file is missing or damaged, or the evaluation is of another world or task.
    """
    lines = folder / "trials.jsonl"
    if not lines.exists():
        return None
    path = folder / "evaluation.json"
    try:
        conditions = json.loads(path.read_text())
        found = read_results(lines)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"cannot be read: {reason(error)}", where=str(path), remedy="run this evaluation again"
        ) from error
    expected: dict[str, Any] = {"world": world.value, "task": task}
    if world is World.STAND_IN:
        expected["stand_in"] = True
    for key, value in expected.items():
        if not isinstance(conditions, dict) or conditions.get(key) != value:
            kept = conditions.get(key) if isinstance(conditions, dict) else conditions
            raise StoreError(
                f"{key!r} is {kept!r}, expected {value!r}", where=str(path),
                remedy="name the folder of the right evaluation in study.json",
            )
    if not found:
        return None
    results = tuple(found[number] for number in sorted(found))
    planned = _number_of_starts(folder / "starts.yaml")
    return Evaluation(results=results, planned=max(planned, len(results)), conditions=conditions)


def _number_of_starts(path: Path) -> int:
    try:
        starts = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise StoreError(
            f"cannot be read: {reason(error)}", where=str(path), remedy="run this evaluation again"
        ) from error
    if not isinstance(starts, list):
        raise StoreError("is not a list of poses", where=str(path), remedy="restore the file")
    return len(starts)


def _cell(entry: _CellEntry, where: str, folder: Path, task: str) -> Cell:
    if entry.seed < 0:
        raise ConfigError(f"'seed' is {entry.seed}", where=where, remedy="give 0 or more")
    places = {World.STAND_IN: entry.hardware, World.IMAGINATION: entry.imagination}
    evaluations = {}
    for world, place in places.items():
        evaluation = read_evaluation(folder / place, world, task) if place else None
        if evaluation is not None:
            evaluations[world] = evaluation
    return Cell(
        name=entry.name, seed=entry.seed,
        backbone=Backbone(_one_of(entry.backbone, Backbone, "backbone", where)),
        set=TrainingSet(_one_of(entry.set, TrainingSet, "set", where)),
        checkpoint=entry.checkpoint or "", note=entry.note, evaluations=evaluations,
        other_imagined=(
            read_evaluation(folder / entry.other_imagination, World.IMAGINATION, task)
            if entry.other_imagination else None
        ),
    )


def _branching_policy(
    entry: _BranchingEntry, where: str, folder: Path, task: str
) -> BranchingPolicy:
    return BranchingPolicy(
        cell=entry.cell, backbone=Backbone(_one_of(entry.backbone, Backbone, "backbone", where)),
        seed=entry.seed, corrected=entry.corrected, operator_frames=entry.operator_frames,
        operator_seconds=entry.operator_seconds, session_seconds=entry.session_seconds,
        corrections=entry.corrections, failure_states=entry.failure_states,
        evaluation=(
            read_evaluation(folder / entry.hardware, World.STAND_IN, task)
            if entry.hardware else None
        ),
    )


def _one_of(value: str, known: type[StrEnum], key: str, where: str) -> str:
    names = [member.value for member in known]
    if value not in names:
        raise ConfigError(
            f"{key!r} is {value!r}", where=where,
            remedy=f"use one of {', '.join(names)}{nearest(value, names)}",
        )
    return value


def _refuse_doubles(cells: tuple[Cell, ...], where: str) -> None:
    names: set[str] = set()
    places: dict[tuple[Backbone, TrainingSet, int], str] = {}
    for cell in cells:
        if cell.name in names:
            raise ConfigError(
                f"two cells are named {cell.name!r}", where=where, remedy="rename one of them"
            )
        names.add(cell.name)
        if cell.set is TrainingSet.OTHER:
            continue
        other = places.setdefault((cell.backbone, cell.set, cell.seed), cell.name)
        if other != cell.name:
            raise ConfigError(
                f"{other!r} and {cell.name!r} are both {cell.backbone} {cell.set} of seed "
                f"{cell.seed}, and would be pooled", where=where,
                remedy="give one of them another seed or the set 'other'",
            )


def _check_session(session: OperatorSession, where: str) -> None:
    _not_negative(_numbers_of(session), where)
    if session.succeeded > session.corrections:
        raise ConfigError(
            f"'succeeded' is {session.succeeded} of {session.corrections} corrections",
            where=where, remedy="count only corrections that ended in success",
        )


def _check_cost(cost: Cost, where: str, cells: set[str]) -> None:
    _refuse_unknown_cell(cost.cell, where, cells)
    _not_negative(_numbers_of(cost), where)


def _refuse_unknown_cell(name: str, where: str, cells: set[str]) -> None:
    if name not in cells:
        raise ConfigError(
            f"'cell' is {name!r}, but no cell has this name", where=where,
            remedy=f"use the name of a cell{nearest(name, cells)}",
        )


def _check_set(training_set: SetContent, where: str, cells: set[str]) -> None:
    _refuse_unknown_cell(training_set.cell, where, cells)
    _not_negative(training_set.frames_by_provenance, f"{where}.frames_by_provenance")
    _not_negative(training_set.mass_by_provenance, f"{where}.mass_by_provenance")
    _not_negative({"dropped_low_trust": training_set.dropped_low_trust}, where)


def _numbers_of(entry: OperatorSession | Cost) -> dict[str, float]:
    return {
        key: value for key, value in asdict(entry).items() if not isinstance(value, str | bool)
    }


def _not_negative(values: Mapping[str, float], where: str) -> None:
    for key, value in values.items():
        if value < 0:
            raise ConfigError(
                f"{key!r} is {value!r}", where=where, remedy="give a number of 0 or more"
            )
