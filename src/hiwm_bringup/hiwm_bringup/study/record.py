"""What a study came to, as study.json: docs/study.md has the format, `scripts/report` reads it."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hiwm_bringup.study.budgets import Budget
from hiwm_bringup.study.stages import WORLDS, cells
from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import Label, Node
from hiwm_core.control import Source
from hiwm_core.provenance import Provenance, tree_provenance
from hiwm_learning.checkpoints import load_checkpoint


def write_study(
    folder: Path, *, task: str, budget: Budget, command: str, software: str, rate_hz: float
) -> Path:
    """Write study.json from what the stages left, and return its path.

    Args:
        folder: of the study.
        task: name.
        budget: the study's.
        command: that gave it.
        software: version.
        rate_hz: ticks a second of the embodiment, which make an operator's frames seconds.
    """
    made = cells(budget)
    study = {
        "task": task, "command": command, "seeds": list(budget.seeds), "software": software,
        "date": datetime.now(UTC).date().isoformat(),
        "cells": [
            {
                "name": cell.name, "backbone": cell.backbone, "set": cell.set, "seed": cell.seed,
                "note": cell.note, "checkpoint": _relative(cell.checkpoint(folder), folder),
                **{
                    world: _relative(cell.evaluation(folder, world) / "evaluation", folder)
                    for world in WORLDS
                },
            }
            for cell in made
        ],
        "operator": [
            operator_session(session, rate_hz, cell.branching and budget.branches > 1)
            | ({} if cell.branching else {"beside": session.name.removesuffix("-unbranched")})
            for cell in made if cell.post == "hi-wm" and (cell.set == "hi-wm" or not cell.branching)
            for session in cell.sessions(folder) if session.is_dir()
        ],
        "sets": [
            {"cell": cell.name, **_content(cell.checkpoint(folder).with_suffix(".set.json"))}
            for cell in made if cell.checkpoint(folder).with_suffix(".set.json").exists()
        ],
        "world_model": _world_numbers(folder / "world" / f"world_{task}.safetensors"),
    }
    path = folder / "study.json"
    path.write_text(json.dumps(study, indent=1) + "\n")
    return path


def operator_session(session: Path, rate_hz: float, branching: bool) -> dict[str, Any]:
    """Return what an operator did in a session, from its tree.

    A correction is a branch with frames of a person; its seconds are theirs at the control rate,
    which is what a person would have spent, however fast the session ran.
    """
    with BranchReader(session / "tree.sqlite") as reader:
        nodes = reader.tree(include_discarded=False)
    found = tree_provenance(nodes)
    by_hand = [node for node in nodes if found[node.node_id] is Provenance.HUMAN]
    labels = {node.branch_id: node.label for node in by_hand}
    return {
        "session": session.name, "operator": "scripted", "branching": branching,
        "seconds": round(len(by_hand) / rate_hz, 1), "frames": len(by_hand),
        "corrections": len(labels), "failure_states": len(_failure_states(nodes, set(labels))),
        "succeeded": sum(label == Label.SUCCESS for label in labels.values()),
    }


def _failure_states(nodes: Sequence[Node], corrected: set[str]) -> set[str]:
    """Return the states that corrected branches continue: where each has left its parent."""
    by_id = {node.node_id: node for node in nodes}
    states = set()
    for node in nodes:
        before = by_id.get(node.parent_id)
        if before is None or node.branch_id not in corrected:
            continue
        taken_over = node.source in (Source.HUMAN, Source.HANDBACK) and before.source not in (
            Source.HUMAN, Source.HANDBACK
        )
        if before.branch_id != node.branch_id or taken_over:
            states.add(before.node_id)
    return states


def _content(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    return {
        name: content[name]
        for name in ("frames_by_provenance", "mass_by_provenance", "dropped_low_trust")
    }


def _world_numbers(path: Path) -> dict[str, float]:
    """Return the held-out numbers a world model's checkpoint carries."""
    if not path.exists():
        return {}
    scores = load_checkpoint(path).info.scores
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def _relative(path: Path, folder: Path) -> str | None:
    return str(path.relative_to(folder)) if path.exists() else None
