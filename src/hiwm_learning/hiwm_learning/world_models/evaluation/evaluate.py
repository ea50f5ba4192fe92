"""Measuring a world model open loop on held-out recordings, by what its frames show.

    scripts/eval-world-model models/world_TASK.safetensors DATA... --floor FLOOR.json

Layered and latent models alike. From held-out starts the recorded actions are replayed in
imagination. The task's plug-in says what is read from a frame; without one, pixels are compared.
Beside the imagined frames stand the true frames encoded and drawn again (the model's own bound),
the first frame repeated, and, with --floor, what the stand-in itself makes of a slightly other
start. Writes numbers, curves, a contact sheet and the model's card; prints a table
in markdown.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hiwm_core.bags.task_of_data import task_of
from hiwm_core.control_period import require_period
from hiwm_core.errors import BagError, ConfigError, HiwmError
from hiwm_core.number_arguments import seed_number, thread_count, whole_number
from hiwm_core.output_folders import check_output_file, json_with
from hiwm_core.user_paths import path_argument
from hiwm_learning.checkpoints import write_file
from hiwm_learning.model_card import write_card
from hiwm_learning.world_models.evaluation import report
from hiwm_learning.world_models.evaluation.contact_sheet import draw_contact_sheet
from hiwm_learning.world_models.evaluation.curves import draw_curves
from hiwm_learning.world_models.evaluation.open_loop import Evaluation
from hiwm_learning.world_models.evaluation.picture_measure import PictureMeasure
from hiwm_learning.world_models.evaluation.rollouts import WORTH_STEPS, held_out_starts
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.recordings import read_recordings


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate from the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="eval-world-model", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=path_argument)
    parser.add_argument(
        "data", nargs="+", type=path_argument, help="the folders it was trained from"
    )
    parser.add_argument(
        "--unseen", action="store_true",
        help="the model was not trained from DATA: use all of it, not only every tenth bag",
    )
    parser.add_argument(
        "--output", "-o", type=path_argument, help="folder for pictures, numbers and card"
    )
    parser.add_argument("--floor", type=path_argument, help="JSON of the stand-in's own spread")
    parser.add_argument("--task", help="name or path of the task (default: that of the bags)")
    parser.add_argument("--starts", type=whole_number(1), default=240)
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument(
        "--threads", type=thread_count, default=2,
        help="of torch; latencies depend on it (default 2)",
    )
    parser.add_argument("--device", default="cpu", help="of a latent model: cpu or cuda")
    options = parser.parse_args(arguments)
    try:
        return _evaluate(options)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def read_floor(path: Path) -> dict[str, Any]:
    """Return the stand-in's own spread; raises ConfigError where the file is of another form."""
    try:
        floor: dict[str, Any] = json.loads(path.read_text())
        floor["steps"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"not a physical floor: {error}", where=str(path),
            remedy="write one with python -m hiwm_evaluation.standin_floor TASK",
        ) from None
    return floor


@dataclass(frozen=True, kw_only=True)
class _Outputs:
    """What an evaluation writes."""

    numbers: Path
    sheet: Path
    curves: Path
    card: Path  # named like the checkpoint; its cards lie beside it


def _outputs(options: argparse.Namespace) -> _Outputs:
    """Return the outputs; raises ConfigError where one would replace something else."""
    folder: Path = options.output or options.checkpoint.parent
    stem = options.checkpoint.stem
    outputs = _Outputs(
        numbers=folder / f"{stem}.evaluation.json", sheet=folder / f"{stem}.contact_sheet.jpg",
        curves=folder / f"{stem}.curves.png", card=folder / options.checkpoint.name,
    )
    read = [options.checkpoint, *options.data, *([options.floor] if options.floor else [])]
    check_output_file(
        outputs.numbers, "an evaluation of a world model", json_with("checkpoint", "trust"),
        inputs=read, companions=[outputs.sheet, outputs.curves],
    )
    check_output_file(
        outputs.card.with_suffix(".card.json"), "a model card", json_with("sha256", "embodiment"),
        inputs=read, companions=[outputs.card.with_suffix(".card.md")],
    )
    return outputs


def _evaluate(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    outputs = _outputs(options)
    task, embodiment = task_of(options.data, options.task)
    floor = read_floor(options.floor) if options.floor else None
    simulator, checkpoint = load_simulator(options.checkpoint, embodiment, options.device)
    own = task.plugin.frame_measure(embodiment, simulator.cameras[0]) if task.plugin else None
    measure = own or PictureMeasure()
    recordings = read_recordings(options.data, simulator.cameras, embodiment, task, _say)
    if options.unseen:
        recordings = [replace(recording, held_out=True) for recording in recordings]
    starts = held_out_starts(recordings, options.starts, options.seed)
    if not starts:
        held_out = [len(recording.frames) for recording in recordings if recording.held_out]
        raise BagError(
            f"no held-out recording of {2 * WORTH_STEPS + 1} frames or more: of {len(held_out)}, "
            f"the longest has {max(held_out, default=0)}", where=str(options.data[0]),
            remedy="record longer episodes, and ten or more of each kind; or give --unseen with "
            "data that the model was not trained from",
        )
    require_period(
        checkpoint.info.control_period_s, recordings[0].period_s, "world model",
        str(options.checkpoint),
    )
    evaluation = Evaluation(simulator, measure, task, recordings, starts, _say)
    measured, sheet = evaluation.measure()
    numbers = {
        "checkpoint": checkpoint.hash, "unseen": options.unseen, **measured, "floor": floor,
    }
    write_file(outputs.numbers, json.dumps(numbers, indent=1) + "\n")
    draw_contact_sheet(sheet, outputs.sheet)
    draw_curves(numbers, floor["steps"] if floor else None, outputs.curves)
    print(report.markdown(numbers))
    # Beside the numbers: evaluating a part of the data must not change the model's own card.
    write_card(
        outputs.card, checkpoint.info, checkpoint.hash,
        title=f"World model {checkpoint.label}",
        paragraphs=report.card_paragraphs(checkpoint.info, numbers),
        numbers={**report.card_kinds(checkpoint.info), **report.card_numbers(numbers)},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
