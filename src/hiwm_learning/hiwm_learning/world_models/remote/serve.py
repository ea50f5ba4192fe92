"""Serve a world model of ours to clients on this or another machine.

    scripts/serve_world models/world_TASK.safetensors --port 8765
"""

import argparse
import os
import sys
from collections.abc import Sequence

import torch

from hiwm_core.array_files import read_arrays
from hiwm_core.embodiment import load_embodiment, parse_embodiment
from hiwm_core.errors import CheckpointError, ConfigError, HiwmError
from hiwm_core.tasks import load_task
from hiwm_core.user_paths import path_argument
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.training_command import starts_file
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.remote.connection import API_KEY
from hiwm_learning.world_models.remote.served_simulator import ServedSimulator
from hiwm_learning.world_models.remote.server import WorldServer

PORT = 8765


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return 1 after an error."""
    parser = argparse.ArgumentParser(
        prog="serve_world",
        description="Serve a world model over a websocket. Clients: scripts/train_world_model "
        f"--family remote. With {API_KEY} in the environment, clients must send that key.",
    )
    parser.add_argument("checkpoint", type=path_argument, help="world model, .safetensors")
    parser.add_argument("--task", help="name or path of the task (default: the checkpoint's)")
    parser.add_argument(
        "--host", default="127.0.0.1",
        help="address to bind (default %(default)s: only this machine)",
    )
    parser.add_argument("--port", type=int, default=PORT, help="default %(default)s; 0: any")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the model")
    options = parser.parse_args(arguments)
    try:
        server = _server(options)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"serving {options.checkpoint.name} on {server.url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.close()
    return 0


def _server(options: argparse.Namespace) -> WorldServer[object]:
    for name, least, most in (("port", 0, 65535), ("threads", 1, 64)):
        if not least <= getattr(options, name) <= most:
            raise ConfigError(
                f"{getattr(options, name)}", where=f"--{name}", remedy=f"give {least} to {most}"
            )
    torch.set_num_threads(options.threads)
    info = load_checkpoint(options.checkpoint).info
    embodiment = (
        load_embodiment(load_task(options.task).embodiment) if options.task
        else parse_embodiment(info.embodiment_text, str(options.checkpoint))
    )
    simulator, checkpoint = load_simulator(options.checkpoint, embodiment, options.device)
    frames = starts_file(options.checkpoint)
    try:
        starts = read_arrays(frames)
    except FileNotFoundError:
        starts = None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot read the start frames: {error}", where=str(frames),
            remedy="training writes them beside the checkpoint",
        ) from None
    return WorldServer(
        ServedSimulator(simulator, checkpoint, embodiment), host=options.host, port=options.port,
        starts=starts, api_key=os.environ.get(API_KEY, ""),
        log=lambda line: print(line, flush=True),
    )


if __name__ == "__main__":
    sys.exit(main())
