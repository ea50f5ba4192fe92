"""A synthetic study folder with known numbers, for the tests of its readers."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from hiwm_evaluation.trials import Outcome, TrialFolder, TrialResult
from hiwm_test_support.shipped import TASK

TRIALS = 20
STARTS = [(0.01 * trial, 0.02, 0.5) for trial in range(TRIALS)]
ENDS = {"s": Outcome.SUCCESS, "f": Outcome.FAILURE, "a": Outcome.ABORTED}

# How the trials ended, one letter each: stand-in, imagination. The act cells of seed 1 are missing
# in part, one trial was aborted, and one evaluation was cut short.
CELLS: dict[str, tuple[str, str]] = {
    "diffusion-base-s0": ("s" * 8 + "f" * 12, "s" * 10 + "f" * 10),
    "diffusion-base-s1": ("s" * 6 + "f" * 14, "f" * 2 + "s" * 6 + "f" * 12),
    "diffusion-wm-cl-s0": ("s" * 10 + "f" * 10, "s" * 12 + "f" * 8),
    "diffusion-wm-cl-s1": ("f" * 4 + "s" * 7 + "f" * 9, "s" * 9 + "f" * 11),
    "diffusion-hi-wm-s0": ("s" * 16 + "f" * 4, "s" * 17 + "f" * 3),
    "diffusion-hi-wm-s1": ("s" * 14 + "a" + "f" * 5, "s" * 15 + "f" * 5),
    "act-base-s0": ("s" * 5 + "f" * 15, "s" * 9 + "f" * 11),
    "act-wm-cl-s0": ("s" * 5 + "f" * 15, "s" * 7 + "f" * 5),
    "act-hi-wm-s0": ("s" * 9 + "f" * 11, ""),
    "diffusion-other-s0": ("s" * 3 + "f" * 17, "s" * 2 + "f" * 18),
}

OPERATOR = [
    {"session": "with_0", "operator": "scripted", "branching": True, "seconds": 600.0,
     "frames": 1800, "corrections": 30, "failure_states": 10, "succeeded": 24},
    {"session": "without_0", "operator": "scripted", "branching": False, "seconds": 600.0,
     "frames": 1500, "corrections": 12, "failure_states": 12, "succeeded": 6},
]
SETS = [
    {"cell": "diffusion-base-s0", "frames_by_provenance": {"demonstration": 11834},
     "mass_by_provenance": {"demonstration": 1.0}, "dropped_low_trust": 0},
    {"cell": "diffusion-hi-wm-s0",
     "frames_by_provenance": {"demonstration": 11834, "human": 1800, "policy": 2400},
     "mass_by_provenance": {"demonstration": 0.3, "human": 0.5, "policy": 0.2},
     "dropped_low_trust": 77},
]


def study_data() -> dict[str, Any]:
    """Return the content of study.json."""
    cells = []
    for name in CELLS:
        backbone, rest = name.split("-", 1)
        training_set, seed = rest.rsplit("-s", 1)
        cells.append({
            "name": name, "backbone": backbone, "set": training_set, "seed": int(seed),
            "checkpoint": f"policies/{name}.safetensors",
            "note": "half of the <data>" if training_set == "other" else "",
            "hardware": f"evaluations/{name}/hardware",
            "imagination": f"evaluations/{name}/imagination",
        })
    return {
        "task": TASK.name, "command": "scripts/study --trials 20 && echo <done>", "seeds": [0, 1],
        "software": "hiwm 0.1.0", "date": "2026-01-02", "cells": cells,
        "operator": deepcopy(OPERATOR), "sets": deepcopy(SETS),
        "world_model": {"psnr_db": {"h10": 29.1, "h50": 26.3}, "frames": 48074, "size": "tiny"},
    }


def with_controls(folder: Path) -> dict[str, Any]:
    """Write the evaluations of the controls of imagination, and return a study.json with them."""
    data = study_data()
    data["other_world"] = {"name": "latent-1234", "scores": {"frames": 50.0}}
    for place, cell in enumerate(data["cells"][:5]):
        cell["other_imagination"] = f"evaluations/{cell['name']}/other"
        ends = "s" * (10 + 2 * (place % 3)) + "f" * (10 - 2 * (place % 3))
        write_evaluation(folder / cell["other_imagination"], "imagination", ends)
    data["branching"] = []
    policies = [("", 0, "start")] + [
        (corrected, frames, f"{corrected}-{frames}".replace(" ", "-"))
        for frames in (600, 1200, 2400) for corrected in ("branched", "in place")
    ]
    for backbone in ("diffusion", "act"):
        for corrected, frames, name in policies:
            cell = f"{backbone}-{name}"
            wins = 5 + frames // (200 if corrected == "branched" else 400)
            data["branching"].append({
                "cell": cell, "backbone": backbone, "seed": 300, "corrected": corrected,
                "operator_frames": frames, "operator_seconds": frames / 10,
                "session_seconds": frames / (5 if corrected == "branched" else 2.5),
                "corrections": frames // (60 if corrected == "branched" else 80),
                "failure_states": frames // (180 if corrected == "branched" else 80),
                "hardware": f"evaluations/{cell}/hardware",
            })
            write_evaluation(
                folder / "evaluations" / cell / "hardware", "hardware",
                "s" * wins + "f" * (TRIALS - wins),
            )
    return data


def write_evaluation(
    folder: Path, world: str, ends: str, /, *, trusted: bool = False, **changes: Any
) -> None:
    """Write the folder of an evaluation through the evaluator's own writer.

    With `trusted`, the trials have trust, which rises from trial to trial.
    """
    conditions: dict[str, Any] = {
        "world": world, "stand_in": world == "hardware", "task": TASK.name, "seed": 1000,
        "horizon": 300, "success_threshold": 0.85 if world == "hardware" else 0.5,
    }
    trials = TrialFolder(folder, conditions | changes, STARTS, ("x_m", "y_m", "yaw_rad"))
    for trial, end in enumerate(ends):
        trials.append(TrialResult(
            trial=trial, start=STARTS[trial], seed=1000 + trial, outcome=ENDS[end], reason="",
            steps=100, best=0.9, judged_by="ground truth", policy="push 12345678",
            episode_id=f"ep_{trial:04d}", seconds=1.5,
            trust=round(0.3 + 0.03 * trial, 2) if trusted else None,
        ))
    trials.write_summary()
    trials.close()


def write_study(
    folder: Path, data: Mapping[str, Any] | None = None,
    cells: Mapping[str, Sequence[str]] = CELLS, *, trusted: bool = False,
) -> Path:
    """Write a complete study and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(data or study_data()))
    for name, ends in cells.items():
        for world, letters in zip(("hardware", "imagination"), ends, strict=True):
            if letters:
                write_evaluation(
                    folder / "evaluations" / name / world, world, letters, trusted=trusted
                )
    return folder
