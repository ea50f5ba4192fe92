"""`scripts/twin`: reads options, runs both sides, writes video and numbers."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import torch

from hiwm_core.bags import read_segment
from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError, HiwmError
from hiwm_core.start_places import BagStep, start_place
from hiwm_core.tasks import Task, load_task
from hiwm_core.twin_folder import VIDEO
from hiwm_core.user_paths import path_argument
from hiwm_evaluation.twin import run_folder
from hiwm_evaluation.twin.lockstep import Twin, TwinStep, run
from hiwm_evaluation.twin.truths import (
    Driver,
    Expert,
    PolicyDriver,
    TrueStep,
    recorded_truth,
    standin_truth,
)
from hiwm_learning.policies.planning import load_planner
from hiwm_learning.world_models.evaluation.picture_measure import PictureMeasure
from hiwm_learning.world_models.families import load_simulator

# scripts/env.sh sets HIWM_ROOT to the checkout.
MODELS = Path(os.environ.get("HIWM_ROOT", "."), "models")
STANDIN = "standin"
_PROGRESS_S = 2.0  # interval of progress lines
_HORIZONS = (1, 10, 25, 50, 100)  # of the printed table


def main(words: Sequence[str] | None = None) -> int:
    """Run and return 0; 1 after an error, 130 if interrupted, with what there is written."""
    options = _parser().parse_args(words)
    try:
        return _run(options)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted before the first step", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/twin",
        description="Run a recorded bag or the stand-in beside the world model, in lock-step, from "
        "the same start with the same commands. Writes a video and the numbers of every step.",
    )
    parser.add_argument(
        "truth", help="bag:PATH@STEP, or standin: the task's stand-in in simulated time"
    )
    parser.add_argument(
        "--output", "-o", type=path_argument, required=True, help="folder of the results"
    )
    parser.add_argument("--steps", type=int, default=300, help="most steps (default 300)")
    parser.add_argument("--task", help="name or path of the task (default: the bag's, or the "
                        "workspace's default)")
    parser.add_argument(
        "--world-checkpoint", type=path_argument,
        help="world model (default: models/world_TASK.safetensors)",
    )
    parser.add_argument(
        "--policy", type=path_argument,
        help="standin: policy checkpoint that drives (default: the task's expert)",
    )
    parser.add_argument("--seed", type=int, default=0, help="standin: of the start (default 0)")
    parser.add_argument("--fps", type=float, default=0.0,
                        help="pictures per second (default: as fast as the robot)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--device", default="cpu", help="of the models: cpu or cuda")
    return parser


def _run(options: argparse.Namespace) -> int:
    for name, least in (("steps", 1), ("seed", 0), ("threads", 1), ("fps", 0)):
        if getattr(options, name) < least:
            raise ConfigError(
                f"{getattr(options, name)}", where=f"--{name}", remedy=f"give {least} or more"
            )
    place = start_place(options.truth, "truth")
    if options.truth != STANDIN and not isinstance(place, BagStep):
        raise ConfigError(
            f"{options.truth!r} is not a truth", where="truth",
            remedy="give bag:PATH@STEP or standin",
        )
    bag = place if isinstance(place, BagStep) else None
    given = [path for path in (
        bag and bag.bag, options.world_checkpoint, options.policy
    ) if path]
    run_folder.check(options.output, given)
    torch.set_num_threads(options.threads)
    segment = read_segment(bag.bag, strict=False) if bag else None
    task = load_task(
        options.task or (segment.lineage.task if segment else "") or default_task()
    )
    embodiment = load_embodiment(task.embodiment)
    checkpoint_path = options.world_checkpoint or MODELS / f"world_{task.name}.safetensors"
    simulator, checkpoint = load_simulator(
        checkpoint_path, segment.embodiment if segment else embodiment, options.device
    )
    cameras = simulator.cameras
    truths: Generator[TrueStep, None, None]
    if segment and bag:
        truths = recorded_truth(segment, bag.step)
    else:
        truths = standin_truth(
            task, embodiment, _driver(options, task), options.seed, cameras
        )
    own = task.plugin.frame_measure(embodiment, cameras[0]) if task.plugin else None
    run_folder.claim(options.output, given)
    twin, interrupted = Twin(cameras), False
    files = run_folder.TwinFiles(
        options.output, twin, own or PictureMeasure(),
        {
            "truth": str(options.truth), "recorded_on": segment.lineage.recorded_on if segment
            else "the stand-in", "task": task.name, "embodiment": embodiment.name,
            "world_model": checkpoint.label, "checkpoint_hash": checkpoint.hash,
        },
        options.fps or embodiment.rate_hz,
    )
    told = _progress(options.steps)

    def report(step: TwinStep) -> None:
        files.add(step)
        told(step)

    try:
        run(twin, simulator, truths, options.steps, options.seed, report)
    except KeyboardInterrupt:
        if not twin.steps:
            raise
        interrupted = True
        print("interrupted: writing what there is", file=sys.stderr)
    finally:
        truths.close()
    # A second Ctrl-C must not spoil what the first one asked for.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        numbers = files.finish(interrupted=interrupted)
    finally:
        signal.signal(signal.SIGINT, before)
    _print_table(numbers)
    print(f"{options.output / VIDEO}: {len(numbers['rows'])} pictures")
    return 130 if interrupted else 0


def _driver(options: argparse.Namespace, task: Task) -> Callable[[], Driver]:
    embodiment = load_embodiment(task.embodiment)
    if options.policy:
        planner = load_planner(options.policy, options.device)
        if planner.info.embodiment_hash != embodiment.hash:
            raise CheckpointError(
                f"a policy for an embodiment with hash {planner.info.embodiment_hash[:12]}, task "
                f"{task.name} has {embodiment.hash[:12]}", where=str(options.policy),
                remedy="give a policy of this task",
            )
        return lambda: PolicyDriver(planner, options.seed)
    return lambda: Expert(task, embodiment, options.seed)


def _progress(steps: int) -> Callable[[TwinStep], None]:
    shown = time.monotonic()

    def report(step: TwinStep) -> None:
        nonlocal shown
        if time.monotonic() - shown < _PROGRESS_S:
            return
        shown = time.monotonic()
        worst = min(step.psnr_db.values())
        print(f"step {step.step}, at most {steps}: PSNR {worst:.1f} dB", flush=True)

    return report


def _print_table(numbers: dict[str, Any]) -> None:
    """Print the numbers after some steps, and the last."""
    rows = numbers["rows"]
    chosen = [t for t in _HORIZONS if t < len(rows)]
    if len(rows) - 1 not in chosen:
        chosen.append(len(rows) - 1)
    unit = numbers["measure"]["error_unit"]
    print(f"after  PSNR, dB  error, {unit}  trust")
    for t in chosen:
        row = rows[t]
        print(f"{t:5d}  {_shown(row['psnr_db'])}  {_shown(row['error'])}  {_shown(row['trust'])}")


def _shown(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"
