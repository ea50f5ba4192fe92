"""The command that trains a policy from a training set."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from hiwm_core.errors import HiwmError
from hiwm_learning.datasets import (
    BASE_WEIGHTS,
    CORRECTION_WEIGHTS,
    load_episodes,
    provenance_weights,
    weights_of_first_episodes,
)
from hiwm_learning.policies.backbones import BACKBONES
from hiwm_learning.policies.trainer import PolicyTrainer
from hiwm_learning.training_loop import Budget, train

WEIGHTS = {"base": BASE_WEIGHTS, "corrections": CORRECTION_WEIGHTS}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="train_policy",
        description="Train a policy. Ctrl-C writes a checkpoint and ends; --resume goes "
        "on from there.",
    )
    parser.add_argument("dataset", type=Path, help="training set written by build_dataset")
    parser.add_argument(
        "--output", "-o", required=True, type=Path, help="checkpoint to write, .safetensors"
    )
    parser.add_argument("--name", help="name of the policy (default: that of the backbone)")
    parser.add_argument("--backbone", choices=sorted(BACKBONES), default="diffusion")
    parser.add_argument(
        "--size", choices=("tiny", "full"), default="tiny",
        help="tiny: trains and runs on two CPU cores; full: for a GPU",
    )
    parser.add_argument(
        "--start-from", type=Path, metavar="CHECKPOINT",
        help="begin with the weights and scales of a policy of the same backbone and size",
    )
    parser.add_argument(
        "--weights", choices=sorted(WEIGHTS), default="base",
        help="base: demonstrations alone; corrections: what people and policy did well, too",
    )
    parser.add_argument(
        "--episodes", type=int, default=None,
        help="learn from the first so many episodes alone (default: from all)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, default=60.0, help="passes over the training set")
    length.add_argument("--steps", type=int, help="optimiser steps, instead of epochs")
    parser.add_argument(
        "--minutes", type=float, default=math.inf,
        help="stop after this long, over all resumed runs; the learning rate falls in time for it",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, help="minutes between checkpoints"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line and return the exit code; 130 when interrupted."""
    options = build_parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        return _train(options)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _train(options: argparse.Namespace) -> int:
    episodes = load_episodes(options.dataset)
    config = BACKBONES[options.backbone].config.for_embodiment(episodes.embodiment, options.size)
    table = WEIGHTS[options.weights]
    weights, data = provenance_weights(episodes, table), {"provenance": dict(table)}
    if options.episodes is not None:
        weights = weights_of_first_episodes(episodes, weights, options.episodes)
    trainer = PolicyTrainer(
        episodes, config, weights=weights, data=data, seed=options.seed, output=options.output,
        name=options.name or options.backbone, device=options.device,
        start_from=options.start_from,
    )
    steps = options.steps
    if steps is None:
        steps = round(options.epochs * trainer.steps_per_epoch)
    steps = max(1, steps)
    print(f"{trainer.samples} samples, {trainer.steps_per_epoch} steps an epoch, {steps} in all",
          flush=True)
    outcome = train(
        trainer, Budget(steps=steps, minutes=options.minutes),
        state_path=options.output.with_suffix(".training.pt"), resume=options.resume,
        checkpoint_every_s=options.checkpoint_minutes * 60.0,
        write=lambda line: print(line, flush=True),
    )
    return 130 if outcome.interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
