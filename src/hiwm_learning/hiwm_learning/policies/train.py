"""The command that trains a policy on the demonstrations of a training set.

`posttrain` learns from corrections, with weights.
"""

import argparse
import math
import sys
from collections.abc import Sequence

from hiwm_core.number_arguments import whole_number
from hiwm_core.user_paths import path_argument
from hiwm_learning.datasets import demonstration_weights, load_episodes
from hiwm_learning.parallel import team_of
from hiwm_learning.policies.command import (
    add_policy_options,
    check_policy_outputs,
    fit_policy,
    policy_trainer,
    say,
    streamed_to,
)
from hiwm_learning.training_command import run_training
from hiwm_learning.training_loop import Budget


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="train_policy",
        description="Train a policy on demonstrations. Ctrl-C writes a checkpoint and exits; "
        "--resume continues from it.",
    )
    parser.add_argument("dataset", type=path_argument, help="training set written by build_dataset")
    add_policy_options(parser)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, default=60.0, help="passes over the training set")
    length.add_argument("--steps", type=whole_number(1), help="optimiser steps, instead of epochs")
    parser.add_argument(
        "--minutes", type=float, default=math.inf,
        help="time limit over all resumed runs; the learning rate decays to match it",
    )
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, help="minutes between checkpoints"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line and return the exit code; 130 when interrupted."""
    return run_training(_train, build_parser().parse_args(arguments))


def _train(options: argparse.Namespace) -> int:
    team = team_of(options.device, options.parts)
    if team.leads:
        check_policy_outputs(options, [options.dataset])
    episodes = load_episodes(options.dataset, on_disk=streamed_to(options), team=team)
    trainer = policy_trainer(
        options, episodes, demonstration_weights(episodes, options.episodes),
        {"provenance": {"demonstration": 1.0}}, name=options.backbone, sampling="uniform",
        team=team,
    )
    steps = options.steps
    if steps is None:
        steps = round(options.epochs * trainer.steps_per_epoch)
    steps = max(1, steps)
    if team.leads:
        say(f"{trainer.samples} samples, {trainer.steps_per_epoch} steps per epoch, {steps} in all")
    return fit_policy(
        options, trainer, Budget(steps=steps, minutes=options.minutes), team,
        checkpoint_every_s=options.checkpoint_minutes * 60.0,
    )


if __name__ == "__main__":
    sys.exit(main())
