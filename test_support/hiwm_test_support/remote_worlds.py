"""World models behind a server in this process, for tests."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import load_task
from hiwm_learning.training_command import starts_file
from hiwm_learning.world_models import train
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.remote.served_simulator import ServedSimulator
from hiwm_learning.world_models.remote.server import WorldServer
from hiwm_test_support.layered_worlds import write_drawn_checkpoint


def drawn_server(
    folder: Path, *, can_restore: bool = True, port: int = 0, api_key: str = "",
    write_checkpoint: Callable[[Path], Path] = write_drawn_checkpoint,
) -> WorldServer[object]:
    """Return a running server of a drawn layered model; equal calls serve equal models."""
    folder.mkdir(exist_ok=True)
    path = write_checkpoint(folder)
    embodiment = load_embodiment(load_task(default_task()).embodiment)
    simulator, checkpoint = load_simulator(path, embodiment)
    with np.load(starts_file(path), allow_pickle=False) as data:
        starts = dict(data)
    server = WorldServer(
        ServedSimulator(simulator, checkpoint, embodiment, can_restore), port=port, starts=starts,
        api_key=api_key, log=lambda line: None,
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def connected_checkpoint(folder: Path, url: str) -> Path:
    """Return the file that stands for a server, written by the training command."""
    path = folder / "remote.safetensors"
    assert train.main(["--family", "remote", url, "--output", str(path)]) == 0
    return path


def write_remote_checkpoint(folder: Path) -> Path:
    """Return the file of a server that runs until this process ends."""
    return connected_checkpoint(folder, drawn_server(folder / "served").url)
