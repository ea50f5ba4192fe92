"""Results of finished blocks, as text, and study.json from all finished blocks.

    RESULTS/BLOCK/block.json           written last; the block is then never run again
    RESULTS/BLOCK/POLICY-WORLD/        evaluation.json, starts.yaml, trials.jsonl
    RESULTS/study.json                 of all finished blocks; docs/study.md has the format

Blocks may be run on different machines and days, so block.json lists the settings that must be
equal in all of them. Tested by ``test_study_blocks.py``.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import StoreError, reason
from hiwm_evaluation.findings import pair
from hiwm_evaluation.study.budgets import Budget
from hiwm_evaluation.study.policies import (
    CORRECTED,
    TUNE,
    TUNING_STARTS,
    WORLDS,
    Block,
    Cell,
    blocks,
    checked_cell,
    judged_cells,
    start_cell,
)
from hiwm_evaluation.study.sessions import operator_session
from hiwm_evaluation.study_file import STUDY_FILE, World, read_evaluation
from hiwm_learning.checkpoints import load_checkpoint

BLOCK_FILE = "block.json"
_KEPT = ("evaluation.json", "starts.yaml", "trials.jsonl")
_IN = {"hardware": "on the stand-in", "imagination": "in imagination"}
# Must be equal in all blocks of a study.
_COMMON = ("task", "budget", "world", "weights")
#: Kind of a world-model checkpoint -> its state, which the report states next to correlations.
_WORLD_STATES = {
    "layered_world_model": "the object's pose and the arms' positions, and whose success head "
    "reads that pose",
    "latent_world_model": "a grid of learned latents, which its success head reads",
}


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Settings of a block."""

    task: str
    budget: Budget
    world: Path  # the world model
    command: str
    software: str
    rate_hz: float  # control rate of the embodiment, for seconds from frames


def is_finished(results: Path, block: Block) -> bool:
    """Return whether the results of a block exist."""
    return (results / block.name / BLOCK_FILE).is_file()


def chosen_weights(results: Path) -> str:
    """Return the weighting of corrections that the block `tune` chose.

    Raises:
        StoreError: the block has not been run, or cannot be read.
    """
    return str(_read(results / TUNE / BLOCK_FILE)["weights"])


def write_block(
    results: Path, folder: Path, block: Block, settings: StudySettings, *, weights: str,
    seconds: Mapping[str, float],
) -> Path:
    """Write the results of a block whose stages are done, and return its block.json.

    Args:
        results: folder of all blocks' results.
        folder: work folder of the study.
        block: the finished block.
        settings: of the block.
        weights: chosen weighting of corrections; for the block `tune` it is chosen here.
        seconds: duration of each stage.

    Raises:
        StoreError: an evaluation is missing or damaged.
    """
    place = results / block.name
    place.mkdir(parents=True, exist_ok=True)
    cells = judged_cells(settings.budget, block)
    worlds = WORLDS[:1] if block.tuning else WORLDS
    for cell in cells:
        for world in worlds:
            target = place / f"{cell.name}-{world}"
            target.mkdir(exist_ok=True)
            for name in _KEPT:
                shutil.copyfile(cell.evaluation(folder, world) / name, target / name)
    counts = {
        cell.weights: _counts(place / f"{cell.name}-hardware", settings.task) for cell in cells
    } if block.tuning else {}
    content = {
        "block": block.name, "task": settings.task, "budget": _plain(asdict(settings.budget)),
        "world": load_checkpoint(settings.world).hash,
        "weights": max(counts, key=lambda name: counts[name][0]) if counts else weights,
        "command": settings.command, "software": settings.software,
        "date": datetime.now(UTC).date().isoformat(), "seed": block.seed,
        "tuned": counts,
        "checked": [] if block.tuning else [
            _checked(checked_cell(settings.budget, block), world, folder, settings.task)
            for world in WORLDS
        ],
        "cells": [] if block.tuning else [
            {
                "name": cell.name, "backbone": block.backbone, "set": cell.set, "seed": block.seed,
                "note": cell.note, "checkpoint": cell.checkpoint(folder).name,
                **{world: f"{block.name}/{cell.name}-{world}" for world in worlds},
            }
            for cell in cells
        ],
        "operator": _operator(folder, cells, settings) if not block.tuning else [],
        "sets": [_content(cell, folder) for cell in cells if not block.tuning],
        "costs": [] if block.tuning else _costs(folder, cells, settings),
        "world_model": _world_numbers(settings.world),
        "world_state": _WORLD_STATES.get(load_checkpoint(settings.world).info.kind, ""),
        "seconds": dict(seconds),
    }
    path = place / BLOCK_FILE
    replace_file(path, json.dumps(content, indent=1) + "\n")
    return path


def write_study(results: Path, budget: Budget) -> list[str]:
    """Write study.json from the finished blocks; return the names of the others.

    Raises:
        StoreError: no block is finished, one cannot be read, or they are not of one study.
    """
    finished = [block for block in blocks(budget) if is_finished(results, block)]
    found = [_read(results / block.name / BLOCK_FILE) for block in finished]
    made = [content for content in found if content["cells"]]
    if not made:
        raise StoreError(
            "no block is finished", where=str(results), remedy="run one with --block"
        )
    for content in found[1:]:
        other = [key for key in _COMMON if content[key] != found[0][key]]
        if other:
            raise StoreError(
                f"the blocks {found[0]['block']} and {content['block']} differ in "
                f"{', '.join(other)}", where=str(results),
                remedy="remove the folder of one of them and run it again",
            )
    study = {
        "task": made[0]["task"], "command": made[0]["command"],
        "seeds": sorted({content["seed"] for content in made}),
        "software": ", ".join(sorted({content["software"] for content in made})),
        "date": max(content["date"] for content in made),
        **{
            name: [item for content in made for item in content[name]]
            for name in ("cells", "operator", "sets", "costs")
        },
        "world_model": made[0]["world_model"], "world_state": made[0]["world_state"],
        "remarks": [
            *(_choice(content) for content in found if content["tuned"]),
            *(text for content in made for text in content["checked"]),
        ],
    }
    replace_file(results / STUDY_FILE, json.dumps(study, indent=1) + "\n")
    return [block.name for block in blocks(budget) if block not in finished]


def _choice(content: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{name} {wins} of {n}" for name, (wins, n) in content["tuned"].items())
    return (
        f"The weights of corrections are {content['weights']}: a policy corrected for one round in "
        f"imagination, successes on the stand-in from start poses of seed {TUNING_STARTS}, which "
        f"are not used otherwise: {counts}."
    )


def _checked(cell: Cell, world: str, folder: Path, task: str) -> str:
    """Return the agreement of trials through the graph with the same ones without it."""
    known = World(world)
    graph, direct = (
        read_evaluation(place, known, task)
        for place in (cell.check(folder, world), cell.evaluation(folder, world))
    )
    pairs = pair(graph, direct)
    return (
        f"{cell.name}, {pairs.trials} trials {_IN[world]} "
        f"also run through the graph: "
        f"{pairs.both + pairs.first_only} succeeded, {pairs.both + pairs.second_only} of the same "
        f"trials without the graph, {pairs.both + pairs.neither} had equal outcomes."
    )


def _operator(
    folder: Path, cells: Sequence[Cell], settings: StudySettings
) -> list[dict[str, Any]]:
    """Return the operator's work in each session of a block."""
    return [
        operator_session(
            session, settings.rate_hz, on_robot=CORRECTED[cell.learns] == "hardware",
            branching=CORRECTED[cell.learns] == "imagination" and settings.budget.branches > 1,
        )
        for cell in cells if cell.learns in CORRECTED for session in cell.sessions(folder)
    ]


def _costs(
    folder: Path, cells: Sequence[Cell], settings: StudySettings
) -> list[dict[str, Any]]:
    """Return the cost of each policy's set on top of its base policy's."""
    base = _description(start_cell(cells[0].block), folder)
    sessions = {item["session"]: item for item in _operator(folder, cells, settings)}
    costs = []
    for cell in cells:
        own = [sessions[s.name] for s in cell.sessions(folder) if s.name in sessions]
        learnt = _description(cell, folder)
        further = _frames(learnt, "demonstration") - _frames(base, "demonstration")
        demonstrated_s = round(further / settings.rate_hz, 1)
        costs.append({
            "cell": cell.name,
            "operator_frames": further + sum(item["frames"] for item in own),
            "learnt_frames": further + _frames(learnt, "human"),
            "operator_seconds": round(demonstrated_s + sum(item["seconds"] for item in own), 1),
            # Demonstrations use the robot, and each starts with a reset.
            "robot_seconds": round(demonstrated_s + sum(item["robot_seconds"] for item in own), 1),
            "resets": learnt["demonstrations"] - base["demonstrations"]
            + sum(item["resets"] for item in own),
        })
    return costs


def _description(cell: Cell, folder: Path) -> dict[str, Any]:
    return _read(cell.checkpoint(folder).with_suffix(".set.json"))


def _frames(description: Mapping[str, Any], provenance: str) -> int:
    return int(description["frames_by_provenance"].get(provenance, 0))


def _content(cell: Cell, folder: Path) -> dict[str, Any]:
    description = _description(cell, folder)
    return {"cell": cell.name} | {
        name: description[name]
        for name in ("frames_by_provenance", "mass_by_provenance", "dropped_low_trust")
    }


def _counts(folder: Path, task: str) -> tuple[int, int]:
    evaluation = read_evaluation(folder, World.STAND_IN, task)
    if evaluation is None:
        raise StoreError("contains no trial", where=str(folder), remedy="run its stage again")
    return evaluation.counts


def _world_numbers(path: Path) -> dict[str, float]:
    """Return the held-out scores in a world-model checkpoint."""
    scores = load_checkpoint(path).info.scores
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def _plain(value: Any) -> Any:
    """Return a value after a round trip through JSON."""
    return json.loads(json.dumps(value))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"cannot be read: {reason(error)}", where=str(path),
            remedy=f"run the block {path.parent.name} first, or remove its folder and run it again",
        ) from error
    if not isinstance(content, dict):
        raise StoreError("is not a mapping", where=str(path), remedy="run the block again")
    return content
