"""The common part of the training commands: options and exit codes."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from hiwm_core.errors import HiwmError
from hiwm_core.number_arguments import at_least_zero, seed_number, thread_count, whole_number
from hiwm_core.output_folders import (
    check_output_file,
    check_output_folder,
    folder_mark,
    npz_with,
)
from hiwm_core.user_paths import file_argument, path_argument
from hiwm_learning.checkpoints import is_checkpoint
from hiwm_learning.datasets.periods import add_resample_option
from hiwm_learning.parallel import leave

WORK_FOLDER = "a work folder of training"
is_start_file = npz_with("names", "images", "proprioception", "start_values")


def add_run_options(parser: argparse.ArgumentParser, *, threads: int = 1) -> None:
    """Add the options of every training command, with the default number of threads."""
    parser.add_argument(
        "--output", "-o", required=True, type=file_argument,
        help="checkpoint to write, .safetensors"
    )
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument(
        "--threads", type=thread_count, default=threads, help="CPU threads (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")


def add_parts_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of trainings that run on several processes; see `parallel`."""
    parser.add_argument(
        "--parts", type=whole_number(0), default=0,
        help="parts of a step's batch, each of the full size; a multiple of the processes that "
        "torchrun started (default: one for each)",
    )


def add_world_model_options(
    parser: argparse.ArgumentParser, *, name: str, minutes: float, steps: int, threads: int = 1
) -> None:
    """Add the options of both world-model families, with some defaults."""
    parser.add_argument(
        "data", nargs="+", type=path_argument, help="folders of bags, one per kind of data"
    )
    add_run_options(parser, threads=threads)
    add_resample_option(parser)
    parser.add_argument(
        "--task", help="name or path of the task (default: the task of the bags)"
    )
    parser.add_argument("--name", default=name, help="name of the model")
    parser.add_argument(
        "--minutes", type=at_least_zero, default=minutes, help="limit of dynamics training"
    )
    parser.add_argument(
        "--steps", type=whole_number(0), default=steps, help="limit of dynamics training"
    )
    parser.add_argument(
        "--work", type=path_argument, help="folder of the stages (default: next to the output)"
    )


def check_world_model_outputs(options: argparse.Namespace, further: Iterable[Path] = ()) -> Path:
    """Check that a training may write its outputs; return its work folder, to be claimed.

    Args:
        options: of the command line.
        further: what it reads besides the data.

    Raises:
        ConfigError: an output exists and is of another kind, or overlaps with an input.
    """
    output: Path = options.output
    read = [*options.data, *further]
    check_output_file(output, "a checkpoint", is_checkpoint, inputs=read)
    check_output_file(starts_file(output), "a start file", is_start_file, inputs=read)
    work = work_folder(options)
    check_output_folder(
        work, WORK_FOLDER, lambda folder: folder_mark(folder) == WORK_FOLDER, inputs=read
    )
    return work


def work_folder(options: argparse.Namespace) -> Path:
    """Return the folder of a world-model training's stages."""
    work: Path = options.work or options.output.with_suffix(".work")
    return work


def starts_file(checkpoint: Path) -> Path:
    """Return the path of a world model's start frames."""
    return checkpoint.with_name(f"{checkpoint.stem}_starts.npz")


def run_training(train: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Train and return the exit code: 1 after an error, printed in one line; 130 if interrupted."""
    torch.set_num_threads(options.threads)
    try:
        return train(options)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; --resume continues from the last checkpoint", file=sys.stderr)
        return 130
    finally:
        leave()
