"""Training on from a checkpoint: new bags are learned, and old ones are not forgotten."""

import argparse
from pathlib import Path
from typing import Any

import torch

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_core.user_paths import path_argument
from hiwm_learning.checkpoints import load_checkpoint, load_weights
from hiwm_learning.training_command import starts_file
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.config import LatentWorldConfig
from hiwm_learning.world_models.latent.model import KIND, LatentWorldModel

OLD_SHARE = 0.5
FAR_MORE = 100.0  # times the deviation of an entry of proprioception


def add_growth_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of training on from a checkpoint."""
    parser.add_argument(
        "--start-from", type=path_argument, metavar="CHECKPOINT",
        help="a latent model of the same cameras and size, to be trained on",
    )
    parser.add_argument(
        "--old-data", nargs="+", default=[], type=path_argument, metavar="DATA",
        help="with --start-from: folders of bags that it has learned from, so that it keeps them",
    )
    parser.add_argument(
        "--old-share", type=float, default=OLD_SHARE,
        help="of old data among the ticks that are drawn (default: %(default)s)",
    )


def growth_inputs(options: argparse.Namespace) -> list[Path]:
    """Return what a training reads for these options."""
    begun = options.start_from
    return [*options.old_data, *options.robot_only, *([begun, starts_file(begun)] if begun else [])]


def check_growth(options: argparse.Namespace) -> None:
    """Raise ConfigError for options that do not fit together."""
    if options.old_data and not options.start_from:
        raise ConfigError(
            "old data without a model that has learned from it", where="--old-data",
            remedy="give --start-from CHECKPOINT, or name all folders as data",
        )
    if not 0.0 < options.old_share < 1.0:
        raise ConfigError(
            f"a share of {options.old_share:g}", where="--old-share",
            remedy="give a number between 0 and 1",
        )


def check_same_joints(model: LatentWorldModel, clips: Clips, embodiment: Embodiment) -> None:
    """Raise ConfigError if something moves that never moved in what a model has learned from.

    Its unit of that entry is next to nothing, and everything would follow from it.
    """
    moves = clips.proprioception.std(0).to(model.response.deviation.device)
    for place in torch.nonzero(moves > FAR_MORE * model.response.deviation)[:, 0].tolist():
        raise ConfigError(
            f"{embodiment.proprioception[place].name} moves, and hardly did in what the model has "
            "learned from", where="--start-from", remedy="train a new model from all data",
        )


def network_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return `latent_config`'s options; what is not given is that of the model to be trained on.

    Raises:
        CheckpointError: that is not a latent model.
    """
    given = {name: getattr(options, name) for name in ("tokens", "rigid", "touch")}
    if options.start_from:
        info = load_checkpoint(options.start_from, kind=KIND).info
        known = LatentWorldConfig.from_json(info.config).dynamics
        given = {
            name: getattr(known, name) if value is None else value for name, value in given.items()
        }
    return {"network": options.network, **given}


def take_over(
    model: LatentWorldModel, path: Path, embodiment: Embodiment
) -> list[dict[str, Any]]:
    """Load a checkpoint's weights; return its lineage and itself, oldest first.

    Raises:
        CheckpointError: of another kind, embodiment, size or set of cameras.
    """
    checkpoint = load_checkpoint(path, kind=KIND, embodiment_hash=embodiment.hash)
    known = LatentWorldConfig.from_json(checkpoint.info.config)
    if known != model.config:
        raise CheckpointError(
            f"the model draws {', '.join(known.cameras)} at {known.height} x {known.width} px with "
            f"{known.dynamics.tokens} tokens of width {known.dynamics.width}, but the options "
            "request another network, size or set of cameras",
            where=str(path), remedy="give the --network that it was trained with, and no --tokens, "
            "--rigid or --touch: they are those of the model",
        )
    load_weights(model, checkpoint)
    info = checkpoint.info
    itself = {
        "name": checkpoint.label, "sha256": checkpoint.hash, "steps": info.steps,
        "minutes": round(info.minutes, 1), "frames": info.data.get("frames"),
    }
    return [*info.data.get("lineage", []), itself]
