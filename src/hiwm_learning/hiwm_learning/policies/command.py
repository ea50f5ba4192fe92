"""The common part of `train_policy` and `posttrain`: policy options and training."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.number_arguments import whole_number
from hiwm_core.output_folders import check_output_file
from hiwm_core.user_paths import path_argument
from hiwm_learning.checkpoints import is_checkpoint, is_training_state
from hiwm_learning.datasets import Episodes
from hiwm_learning.parallel import Team
from hiwm_learning.policies.backbones import BACKBONES
from hiwm_learning.policies.samples import Sampling
from hiwm_learning.policies.trainer import PolicyTrainer
from hiwm_learning.training_command import add_parts_option, add_run_options
from hiwm_learning.training_loop import Budget, train


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of policy training."""
    add_run_options(parser)
    add_parts_option(parser)
    parser.add_argument("--name", help="name of the policy (default: from its options)")
    parser.add_argument("--backbone", choices=sorted(BACKBONES), default="diffusion")
    parser.add_argument(
        "--size", choices=("tiny", "full"), default="tiny",
        help="tiny: trains and runs on two CPU cores; full: needs a GPU",
    )
    parser.add_argument(
        "--start-from", type=path_argument, metavar="CHECKPOINT",
        help="start from the weights and scales of a policy of the same backbone and size",
    )
    parser.add_argument(
        "--episodes", type=whole_number(1),
        help="number of demonstrations to learn from, from the first on (default: all)",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--stream", action="store_true",
        help="keep the training set on disk, uncompressed beside the output while it trains: "
        "memory does not grow with the set",
    )


def streamed_to(options: argparse.Namespace) -> Path | None:
    """Return the folder for a training set that stays on disk; None: in memory."""
    if not options.stream:
        return None
    folder: Path = options.output.parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_policy_outputs(options: argparse.Namespace, inputs: Sequence[Path]) -> None:
    """Check that policy training may write its outputs.

    Raises:
        ConfigError: an output exists and is of another kind, or overlaps with an input.
    """
    output: Path = options.output
    read = [*inputs, *([options.start_from] if options.start_from else [])]
    check_output_file(
        output, "a checkpoint", is_checkpoint, inputs=read,
        companions=[output.with_suffix(".card.json"), output.with_suffix(".card.md")],
    )
    check_output_file(_state_file(output), "a training state", is_training_state, inputs=read)


def _state_file(output: Path) -> Path:
    return output.with_suffix(".training.pt")


def policy_trainer(
    options: argparse.Namespace, episodes: Episodes, weights: NDArray[np.float32],
    data: Mapping[str, Any], *, name: str, sampling: Sampling, team: Team,
) -> PolicyTrainer:
    """Return the trainer for a command line; `name` is the default name."""
    config = BACKBONES[options.backbone].config.for_embodiment(episodes.embodiment, options.size)
    return PolicyTrainer(
        episodes, config, weights=weights, data=data, seed=options.seed, output=options.output,
        name=options.name or name, device=options.device, sampling=sampling,
        start_from=options.start_from, team=team,
    )


def fit_policy(
    options: argparse.Namespace, trainer: PolicyTrainer, budget: Budget, team: Team,
    checkpoint_every_s: float = 300.0,
) -> int:
    """Train and return the exit code; 130 when interrupted."""
    outcome = train(
        trainer, budget, state_path=_state_file(options.output),
        resume=options.resume, checkpoint_every_s=checkpoint_every_s, write=say, team=team,
    )
    return 130 if outcome.interrupted else 0


def say(line: str) -> None:
    """Print a line and flush."""
    print(line, flush=True)
