"""Runs everything that needs a GPU in one command; a further run continues where it stopped.

    scripts/gpu_session DATA... -o runs/gpu

Trains a latent model of the size `gpu` on the data, evaluates it, and measures its steps per second
at 128 and 256 px, with one state and with 32, in float32 and bfloat16, with and without
torch.compile. This takes a few minutes. Each result is saved at once, so a run that is cut short
loses nothing. To rehearse without a GPU: --device cpu --network tiny.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hiwm_core.bags.task_of_data import task_of
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError, HiwmError
from hiwm_core.number_arguments import whole_number
from hiwm_core.output_folders import claim_folder
from hiwm_core.user_paths import path_argument
from hiwm_learning.world_models.experiments import Results, Run, run_all
from hiwm_learning.world_models.latent.config import NETWORK_SIZES, latent_config
from hiwm_learning.world_models.latent.model import LatentWorldModel, ready
from hiwm_learning.world_models.latent.simulator import LatentSimulator, Precision

WHAT = "a folder of gpu_session"
RESULTS = "gpu_session.json"
SIZES, STATES = (128, 256), (1, 32)
WARM_UP, MEASURED_S = 5, 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code; 130 when interrupted."""
    parser = argparse.ArgumentParser(
        prog="gpu_session", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="+", type=path_argument, help="folders of recordings")
    parser.add_argument("--output", "-o", type=path_argument, required=True, help="folder")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--network", default="gpu", choices=NETWORK_SIZES)
    parser.add_argument("--robot-minutes", type=float, default=1.5)
    parser.add_argument("--filling-minutes", type=float, default=0.5)
    parser.add_argument("--minutes", type=float, default=3.0, help="of dynamics training")
    parser.add_argument("--steps", type=whole_number(1), help="the same in steps, of every stage")
    parser.add_argument("--starts", type=whole_number(1), default=96, help="of the evaluation")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; start it again to go on", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "no GPU that torch can use", where="--device",
            remedy="run it on a machine with a GPU, or rehearse it with --device cpu",
        )
    folder: Path = options.output
    claim_folder(folder, WHAT, inputs=options.data)
    results = Results(folder / RESULTS)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    _, embodiment = task_of(options.data, None)

    def report(line: str) -> None:
        print(line, flush=True)

    # Speeds first: they take seconds, and a loan may end in the middle of a training.
    for size in SIZES:
        for states in STATES:
            for precision in _precisions(options.device):
                key = f"speed_{size}px_{states}_{precision.name}"
                if key not in results.rows:
                    found = speed(embodiment, options.network, size, states, precision,
                                  options.device)
                    results.add(key, {"device": name, "network": options.network, **found})
                    report(f"{key}: {found['steps_per_s']:.0f} steps/s, all states together")
    steps = () if options.steps is None else (
        "--steps", str(options.steps), "--robot-steps", str(options.steps),
        "--hand-steps", str(options.steps), "--grip-steps", str(options.steps),
        "--filling-steps", str(options.steps),
        "--joint-steps", str(options.steps), "--head-steps", str(options.steps),
    )
    run = Run(name=f"latent_{options.network}", options=(
        "--network", options.network, "--torch-device", options.device,
        "--robot-minutes", str(options.robot_minutes),
        "--filling-minutes", str(options.filling_minutes), "--head-minutes", "0.5",
        "--minutes", str(options.minutes), *steps,
    ))
    return run_all(
        [run], options.data, folder, results=results,
        evaluation=["--starts", str(options.starts), "--device", options.device], report=report,
    )


def _precisions(device: str) -> tuple[Precision, ...]:
    """Return what is worth measuring: a CPU gains nothing from half of the bits."""
    plain = Precision()
    if device == "cpu":
        return (plain,)
    return (plain, Precision(bfloat16=True), Precision(bfloat16=True, compiled=True))


def speed(
    embodiment: Embodiment, network: str, size: int, states: int, precision: Precision,
    device: str,
) -> dict[str, Any]:
    """Return the speed of an untrained model, pictures included.

    Args:
        embodiment: its first camera is taken, in another size.
        network: one of NETWORK_SIZES.
        size: height and width of the camera, px.
        states: stepped at once.
        precision: of the computation.
        device: "cuda" or "cpu".
    """
    camera = dataclasses.replace(embodiment.cameras[0], width=size, height=size)
    small = dataclasses.replace(embodiment, cameras=(camera,))
    model = ready(LatentWorldModel(latent_config(small, network=network)), device)
    simulator = LatentSimulator(model, small, device=device, precision=precision)
    home = np.asarray(embodiment.home, dtype=np.float64)
    joints = np.zeros(embodiment.proprio_dim)
    frame = np.zeros((size, size, 3), np.uint8)
    worlds: list[Any] = [simulator.begin(frame, joints, seed) for seed in range(states)]

    def step() -> None:
        nonlocal worlds
        worlds, _ = simulator.step_many(worlds, [home] * states)
        simulator.observe_many(worlds)

    seconds = _timed(step)
    return {
        "size_px": size, "states": states, "precision": precision.name,
        "p50_ms": 1e3 * float(np.median(seconds)),
        "p95_ms": 1e3 * float(np.percentile(seconds, 95)),
        "steps_per_s": states / float(np.median(seconds)), "repeats": len(seconds),
    }


def _timed(step: Callable[[], None]) -> list[float]:
    for _ in range(WARM_UP):
        step()
    seconds: list[float] = []
    while sum(seconds) < MEASURED_S:
        begun = time.perf_counter()
        step()  # ends with pictures on the CPU, so nothing is under way
        seconds.append(time.perf_counter() - begun)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
