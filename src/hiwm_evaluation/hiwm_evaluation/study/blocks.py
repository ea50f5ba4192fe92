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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import StoreError
from hiwm_core.json_files import read_object
from hiwm_evaluation.findings import pair
from hiwm_evaluation.study.budgets import Budget
from hiwm_evaluation.study.policies import (
    CORRECTED,
    OTHER_WORLD,
    TUNE_BLOCK,
    TUNING_STARTS,
    WORLDS,
    Block,
    BlockKind,
    Cell,
    blocks,
    checked_cell,
    judged_cells,
    start_cell,
    worlds_of,
)
from hiwm_evaluation.study.sessions import attended_ticks, operator_session
from hiwm_evaluation.study.settings import StudySettings, plain, require_same_blocks
from hiwm_evaluation.study_file import STUDY_FILE, World, read_evaluation
from hiwm_learning.checkpoints import load_checkpoint

BLOCK_FILE = "block.json"
_KEPT = ("evaluation.json", "starts.yaml", "trials.jsonl")
_IN = {"hardware": "on the stand-in", "imagination": "in imagination"}
#: World of an evaluation -> key of a cell in study.json.
_KEYS = {"hardware": "hardware", "imagination": "imagination", OTHER_WORLD: "other_imagination"}
#: Kind of a world-model checkpoint -> its state, which the report states next to correlations.
_WORLD_STATES = {
    "layered_world_model": "the object's pose and the arms' positions, and whose success head "
    "reads that pose",
    "latent_world_model": "a picture of the scene, which its success head reads",
}


def is_finished(results: Path, block: Block) -> bool:
    """Return whether the results of a block exist."""
    return (results / block.name / BLOCK_FILE).is_file()


def chosen_weights(results: Path) -> str:
    """Return the weighting of corrections that the block `tune` chose.

    Raises:
        StoreError: the block has not been run, or cannot be read.
    """
    return str(_read(results / TUNE_BLOCK / BLOCK_FILE)["weights"])


def finished_blocks(results: Path, budget: Budget) -> list[dict[str, Any]]:
    """Return the content of block.json of each finished block."""
    return [
        _read(results / block.name / BLOCK_FILE)
        for block in blocks(budget) if is_finished(results, block)
    ]


def write_block(
    results: Path, folder: Path, block: Block, settings: StudySettings, *, weights: str,
    seconds: Mapping[str, float], lacking: Mapping[str, str] | None = None,
) -> Path:
    """Write the results of a block whose stages are done, and return its block.json.

    Args:
        results: folder of all blocks' results.
        folder: work folder of the study.
        block: the finished block.
        settings: of the block.
        weights: chosen weighting of corrections; for the block `tune` it is chosen here.
        seconds: duration of each stage.
        lacking: the reason for each policy that could not be trained.

    Raises:
        StoreError: an evaluation is missing or damaged.
    """
    place = results / block.name
    place.mkdir(parents=True, exist_ok=True)
    every = judged_cells(settings.budget, block)
    reasons = lacking or {}
    absent = {cell.name: reasons[cell.name] for cell in every if cell.name in reasons}
    cells = [cell for cell in every if cell.name not in absent]
    worlds = worlds_of(block, other=settings.other_world is not None)
    for cell in cells:
        for world in worlds:
            target = place / f"{cell.name}-{world}"
            target.mkdir(exist_ok=True)
            for name in _KEPT:
                shutil.copyfile(cell.evaluation(folder, world) / name, target / name)
    counts = {
        cell.weights: _counts(place / f"{cell.name}-hardware", settings.task) for cell in cells
    } if block.kind is BlockKind.TUNE else {}
    chosen = max(counts, key=lambda name: counts[name][0]) if counts else weights
    reported = cells if block.kind in (BlockKind.SETS, BlockKind.AGREEMENT) else []
    checked = checked_cell(settings.budget, block)
    content = {
        "block": block.name, **settings.common(chosen),
        "command": settings.command, "software": settings.software,
        "date": datetime.now(UTC).date().isoformat(), "seed": block.seed,
        "tuned": counts,
        "checked": [
            _checked(checked, world, folder, settings.task) for world in WORLDS if checked
        ] + [f"There is no policy {name}: {why}" for name, why in absent.items()],
        "cells": [
            {
                "name": cell.name, "backbone": block.backbone, "set": cell.set,
                "seed": cell.training_seed, "note": cell.note,
                "checkpoint": cell.checkpoint(folder).name,
                **{_KEYS[world]: f"{block.name}/{cell.name}-{world}" for world in worlds},
            }
            for cell in reported
        ],
        "operator": [] if block.kind is BlockKind.TUNE else _operator(folder, cells, settings),
        "sets": [_content(cell, folder) for cell in reported],
        "costs": _costs(folder, cells, settings) if block.kind is BlockKind.SETS else [],
        "branching": (
            _branching(folder, cells, settings) if block.kind is BlockKind.BRANCHING else []
        ),
        "world_model": _world_numbers(settings.world),
        "world_state": _WORLD_STATES.get(load_checkpoint(settings.world).info.kind, ""),
        "other_world": (
            _described(settings.other_world) if settings.other_world and OTHER_WORLD in worlds
            else {}
        ),
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
    found = finished_blocks(results, budget)
    made = [content for content in found if content["block"] != TUNE_BLOCK]
    if not made:
        raise StoreError(
            "no block is finished", where=str(results), remedy="run one with --block"
        )
    require_same_blocks(results, found)
    others = [content["other_world"] for content in made if content.get("other_world")]
    if any(other != others[0] for other in others):
        raise StoreError(
            "the blocks of agreement have different second world models", where=str(results),
            remedy="remove the folder of one of them and run it again with the same --other-world",
        )
    study = {
        "task": made[0]["task"], "command": made[0]["command"],
        "seeds": sorted({cell["seed"] for content in made for cell in content["cells"]}),
        "software": ", ".join(sorted({content["software"] for content in made})),
        "date": max(content["date"] for content in made),
        **{
            # Blocks of earlier versions have no branching.
            name: [item for content in made for item in content.get(name, [])]
            for name in ("cells", "operator", "sets", "costs", "branching")
        },
        "world_model": made[0]["world_model"], "world_state": made[0]["world_state"],
        "other_world": others[0] if others else {},
        "remarks": [
            *(_choice(content) for content in found if content["tuned"]),
            *(text for content in made for text in content["checked"]),
        ],
    }
    replace_file(results / STUDY_FILE, json.dumps(study, indent=1) + "\n")
    done = {content["block"] for content in found}
    return [block.name for block in blocks(budget) if block.name not in done]


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
    sessions = {
        session: cell for cell in cells if cell.learns in CORRECTED
        for session in cell.sessions(folder)
    }
    return [
        operator_session(
            session, settings.rate_hz, on_robot=CORRECTED[cell.learns] == "hardware",
            branching=cell.branched and CORRECTED[cell.learns] == "imagination"
            and settings.budget.branches > 1,
        )
        for session, cell in sessions.items()
    ]


def _branching(
    folder: Path, cells: Sequence[Cell], settings: StudySettings
) -> list[dict[str, Any]]:
    """Return cost and evaluation of policies corrected with and without rollback and branches."""
    found = []
    for cell in cells:
        description = _description(cell, folder)
        frames = _frames(description, "human")
        (session,) = cell.sessions(folder) or (None,)
        watched = attended_ticks(session, frames) if session else 0
        found.append({
            "cell": cell.name, "backbone": cell.block.backbone, "seed": cell.training_seed,
            "corrected": "" if not session else "branched" if cell.branched else "in place",
            "operator_frames": frames, "operator_seconds": round(frames / settings.rate_hz, 1),
            "session_seconds": round(watched / settings.rate_hz, 1),
            "corrections": description.get("continuations", 0),
            "failure_states": description.get("failure_states", 0),
            "hardware": f"{cell.block.name}/{cell.name}-hardware",
        })
    return found


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


def _described(path: Path) -> dict[str, Any]:
    """Return what the report says about a second world model."""
    checkpoint = load_checkpoint(path)
    return plain({
        "name": checkpoint.label, "hash": checkpoint.hash, "steps": checkpoint.info.steps,
        "scores": _world_numbers(path),
    })


def _read(path: Path) -> dict[str, Any]:
    return read_object(
        path, f"run the block {path.parent.name} first, or remove its folder and run it again"
    )
