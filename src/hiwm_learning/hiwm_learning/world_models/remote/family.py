"""The remote family, as the registry of families wants it.

Its checkpoint has no weights: it names a server and the model that ran there when it was written.
"""

import argparse
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.array_files import read_arrays
from hiwm_core.config_files import default_task
from hiwm_core.control_period import require_period
from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError, WireError
from hiwm_core.output_folders import check_output_file
from hiwm_core.tasks import Task, load_task
from hiwm_core.user_paths import file_argument, path_argument
from hiwm_core.workspace_check import WorkspaceCheck
from hiwm_learning.checkpoints import (
    Checkpoint,
    CheckpointInfo,
    is_checkpoint,
    save_checkpoint,
    write_file,
)
from hiwm_learning.training_command import is_start_file, starts_file
from hiwm_learning.world_models.recordings import start_images
from hiwm_learning.world_models.remote.connection import WorldConnection
from hiwm_learning.world_models.remote.protocol import WorldMetadata, read_metadata
from hiwm_learning.world_models.remote.simulator import RemoteSimulator

KIND = "remote_world_model"
# Another address of the same model: the file and its states stay valid.
SERVER = "HIWM_WORLD_SERVER"
# How long a world that starts waits for its server.
WAIT_S = 20.0
TIMEOUT_S = 60.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options of connecting to a server; nothing is trained."""
    parser.add_argument("server", help="address of the world server, ws://HOST:PORT")
    parser.add_argument(
        "--output", "-o", required=True, type=file_argument,
        help="file that stands for the server, .safetensors",
    )
    parser.add_argument(
        "--task", default=default_task(), help="name or path of the task (default: %(default)s)"
    )
    parser.add_argument(
        "--starts", type=path_argument,
        help="start file to use (default: the server's own): "
        "python -m hiwm_learning.world_models.starts writes one from recorded sessions",
    )
    parser.add_argument("--name", help="name of the world (default: the server's)")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_S, metavar="S",
        help="longest wait for a step, s (default %(default)g)",
    )
    parser.set_defaults(threads=1)  # the training commands set it


def train(options: argparse.Namespace) -> int:
    """Connect to the server, check its model, and write the file that stands for it."""
    if not options.timeout > 0.0:
        raise ConfigError(f"{options.timeout}", where="--timeout", remedy="give seconds above 0")
    given = [options.starts] if options.starts else []
    starts = starts_file(options.output)
    check_output_file(options.output, "a checkpoint", is_checkpoint, inputs=given)
    check_output_file(starts, "a start file", is_start_file, inputs=given)
    task = load_task(options.task)
    embodiment = load_embodiment(task.embodiment)
    connection = WorldConnection(options.server, options.timeout)
    try:
        began = time.monotonic()
        metadata = connection.metadata()
        require_fit(metadata, embodiment, task, options.server)
        arrays = (
            _read_starts(options.starts) if options.starts
            else connection.ask({"request": "starts"}).get("starts")
        )
    finally:
        connection.close()
    _check_starts(arrays, metadata, embodiment, task)
    write_file(
        starts, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays)
    )
    digest = save_checkpoint(options.output, CheckpointInfo(
        kind=KIND, name=options.name or metadata.name,
        config={"server": options.server, "timeout_s": options.timeout, **_json(metadata)},
        embodiment=embodiment.name, embodiment_hash=embodiment.hash,
        embodiment_text=embodiment.text, task=task.name, task_hash=task.hash, data={}, steps=0,
        seed=0, minutes=(time.monotonic() - began) / 60, heads=metadata.heads,
        period_s=metadata.period_s,
    ), {})
    print(
        f"{options.output}: {metadata.name} at {options.server}, file {digest[:8]}, "
        f"{len(arrays['names'])} starts, "
        + ("restores states" if metadata.can_restore else "cannot restore: no rollback, no forks")
    )
    return 0


def simulator(
    checkpoint: Checkpoint, embodiment: Embodiment, device: str, workspace: WorkspaceCheck | None
) -> RemoteSimulator:
    """Return a simulator; the device is the server's. Waits for a server that still starts.

    Raises:
        ServerError, WireError: the server cannot be reached, or runs another model.
    """
    config = checkpoint.info.config
    metadata = read_metadata(config)
    connection = WorldConnection(
        os.environ.get(SERVER) or config["server"], config["timeout_s"], metadata.model
    )
    connection.metadata(WAIT_S)
    return RemoteSimulator(
        connection, metadata, embodiment, checkpoint.info.heads or (), workspace
    )


def require_fit(
    metadata: WorldMetadata, embodiment: Embodiment, task: Task, where: str
) -> None:
    """Raise an error unless a server's model fits a task and its embodiment.

    Raises:
        CheckpointError: it was trained for others.
        ConfigError: another control period.
        WireError: another number of entries, or other cameras.
    """
    for what, hash_, ours in (
        ("embodiment", metadata.embodiment_hash, embodiment.hash),
        ("task", metadata.task_hash, ""),
    ):
        fits = task.is_known_as(hash_) if what == "task" else hash_ == ours
        if hash_ and not fits:
            raise CheckpointError(
                f"the server's model is for {what} {hash_[:12]}, not for this one", where=where,
                remedy="give the task it was trained for: --task",
            )
    require_period(metadata.period_s, 1.0 / embodiment.rate_hz, "world model", where)
    joints = len(embodiment.proprioception)
    if metadata.actions != embodiment.action_dim or metadata.proprioception not in (0, joints):
        raise WireError(
            f"the server has {metadata.actions} action entries and {metadata.proprioception} of "
            f"proprioception, embodiment {embodiment.name} has {embodiment.action_dim} and "
            f"{joints}", where=where, remedy="serve the model with this embodiment's entries",
        )
    sizes = {camera.name: (camera.height, camera.width) for camera in embodiment.cameras}
    for view in metadata.cameras:
        if sizes.get(view.name) != (view.height, view.width):
            raise WireError(
                f"the server draws camera {view.name!r}, {view.height} x {view.width} px",
                where=where, remedy=f"embodiment {embodiment.name} has "
                + ", ".join(f"{name} {h} x {w}" for name, (h, w) in sizes.items()),
            )


def _json(metadata: WorldMetadata) -> dict[str, Any]:
    return {**metadata.message(), "cameras": [asdict(view) for view in metadata.cameras],
            "heads": list(metadata.heads)}


def _read_starts(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return read_arrays(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot read the start frames: {error}", where=str(path),
            remedy="give a file of python -m hiwm_learning.world_models.starts",
        ) from None


def _check_starts(
    arrays: Any, metadata: WorldMetadata, embodiment: Embodiment, task: Task
) -> None:
    """Raise CheckpointError unless the arrays are start frames of this model."""
    remedy = "write some from recorded sessions (python -m hiwm_learning.world_models.starts), " \
        "and give them with --starts"
    if not isinstance(arrays, dict) or not arrays:
        raise CheckpointError("the server has no start frames", where="starts", remedy=remedy)
    count = len(arrays.get("names", ()))
    wanted = {
        "proprioception": (count, len(embodiment.proprioception)),
        "start_values": (count, len(task.start_names)),
        **{start_images(i): (count, view.height, view.width, 3)
           for i, view in enumerate(metadata.cameras)},
    }
    for name, shape in wanted.items():
        found = getattr(arrays.get(name), "shape", None)
        if not count or found != shape:
            raise CheckpointError(
                f"start frames with {name} of shape {found}, not {shape}", where="starts",
                remedy=remedy,
            )
