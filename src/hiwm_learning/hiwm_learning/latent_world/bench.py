"""How fast a latent world model imagines on this machine; weights are random, time is not.

    python -m hiwm_learning.latent_world.bench --device cuda
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.errors import HiwmError
from hiwm_core.tasks import load_task
from hiwm_learning.latent_world.model import PRESETS, LatentWorldModel, latent_config, ready
from hiwm_learning.latent_world.objectives import OBJECTIVES
from hiwm_learning.latent_world.simulator import LatentSimulator


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--network", default="full", choices=PRESETS)
    parser.add_argument("--objective", default="flow", choices=tuple(OBJECTIVES))
    parser.add_argument("--sampler-steps", type=int, help="the objective's usual number")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256], help="px")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16], help="worlds at once")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    return parser


def resized(embodiment: Embodiment, size: int) -> Embodiment:
    """Return an embodiment whose cameras are `size` px wide and high."""
    cameras = tuple(
        dataclasses.replace(camera, width=size, height=size) for camera in embodiment.cameras
    )
    return dataclasses.replace(embodiment, cameras=cameras)


def frames_per_second(
    simulator: LatentSimulator, embodiment: Embodiment, batch: int, seconds: float
) -> float:
    """Return frames a second of `batch` worlds stepped and drawn together, limits and all."""
    size = embodiment.cameras[0].height
    image = np.zeros((len(simulator.cameras), size, size, 3), np.uint8)
    home = np.array(embodiment.home)
    states = [
        simulator.begin(image, np.zeros(embodiment.proprio_dim), seed) for seed in range(batch)
    ]
    begun, frames = 0.0, -batch  # the first round warms up
    while frames <= 0 or time.perf_counter() - begun < seconds:
        states, _ = simulator.step_many(states, [home] * batch)
        simulator.observe_many(states)
        if frames < 0:
            begun = time.perf_counter()
        frames += batch
    return frames / (time.perf_counter() - begun)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and return the exit code."""
    options = build_parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("error: no CUDA device here; use --device cpu", file=sys.stderr)
        return 1
    base = load_embodiment(load_task(default_task()).embodiment)
    where = torch.cuda.get_device_name() if options.device == "cuda" else \
        f"CPU, {options.threads} thread(s)"
    print(f"{where}, {options.network} network, {options.objective}")
    print("| px | sampler steps | parameters | worlds at once | frames/s | ms a round |")
    print("|---|---|---|---|---|---|")
    try:
        for size in options.sizes:
            embodiment = resized(base, size)
            config = latent_config(
                embodiment, preset=options.network, objective=options.objective,
                sampler_steps=options.sampler_steps,
            )
            torch.manual_seed(0)
            model = ready(LatentWorldModel(config), options.device)
            simulator = LatentSimulator(model, embodiment, device=options.device)
            millions = sum(p.numel() for p in model.parameters()) / 1e6
            for batch in options.batches:
                rate = frames_per_second(simulator, embodiment, batch, options.seconds)
                print(
                    f"| {size} | {config.sampler_steps} | {millions:.1f} M | {batch} | "
                    f"{rate:.1f} | {1e3 * batch / rate:.1f} |", flush=True,
                )
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
