"""Serves a policy checkpoint by the openpi protocol; ``scripts/serve_policy --help`` says how.

The metadata describe the policy's observations and actions as a layout, so that our client needs no
file. Observations may carry a seed; then a chunk equals the one that the checkpoint plans locally.
Tested by ``test_remote_planner.py``.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from websockets.sync.server import Server

from hiwm_core.errors import HiwmError, WireError
from hiwm_core.number_arguments import port_number, thread_count
from hiwm_core.user_paths import path_argument
from hiwm_learning.policies.planning import API_KEY_VARIABLE, PolicyPlanner, load_planner
from hiwm_learning.websocket_server import websocket_server

Infer = Callable[[Any], dict[str, Any]]


class CheckpointService:
    """Answers observations with chunks of one checkpoint.

    Args:
        planner: the policy; one thread at a time uses it.
        threads: torch threads of each inference.
    """

    def __init__(self, planner: PolicyPlanner, threads: int = 1) -> None:
        self._planner = planner
        self._threads = threads
        self._lock = threading.Lock()

    @property
    def metadata(self) -> dict[str, Any]:
        """Return what a client is told on connecting."""
        planner = self._planner
        return {
            "policy": planner.label, "embodiment": planner.info.embodiment,
            "embodiment_hash": planner.info.embodiment_hash,
            "control_period_s": planner.info.control_period_s,
            "layout": {
                "name": planner.info.name, "horizon": planner.horizon,
                "execute_horizon": planner.execute_horizon,
                "observation_steps": planner.observation_steps,
                "observation": {
                    "images": {
                        name: {"send": "camera", "camera": name} for name in planner.image_shapes
                    },
                    "state": {"send": "state"}, "prompt": {"send": "instruction"},
                    "seed": {"send": "seed"},
                },
            },
        }

    def infer(self, observation: Any) -> dict[str, Any]:
        """Return actions [horizon, A] and the time they took.

        Raises:
            WireError: the observation has other keys, shapes or types than the layout says.
        """
        planner = self._planner
        seen = observation if isinstance(observation, dict) else {}
        given = seen.get("images")
        images = {
            name: _array(
                given if isinstance(given, Mapping) else {}, name,
                (planner.observation_steps, *shape), np.dtype(np.uint8),
            )
            for name, shape in planner.image_shapes.items()
        }
        state = _array(
            seen, "state", (planner.observation_steps, planner.proprio_dim), np.dtype(np.float32)
        )
        words = seen.get("seed", [time.monotonic_ns()])
        if not isinstance(words, list) or not words or not all(
            isinstance(word, int) and word >= 0 for word in words
        ):
            raise WireError(
                f"seed {words!r}", where="observation", remedy="send a list of whole numbers"
            )
        with self._lock:
            torch.set_num_threads(self._threads)  # OpenMP stores it for each thread
            started = time.monotonic()
            actions = planner.plan(images, state, tuple(words))
            taken = 1000.0 * (time.monotonic() - started)
        return {"actions": actions, "server_timing": {"infer_ms": taken}}


def _array(
    values: Mapping[str, Any], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return an array of an observation; one step less in front means one step."""
    value = values.get(name)
    if isinstance(value, np.ndarray) and shape[0] == 1 and value.shape == shape[1:]:
        value = value[None]
    if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype != dtype:
        found = (
            f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray)
            else type(value).__name__
        )
        raise WireError(
            f"{name} is {found}, not {dtype} {list(shape)}", where="observation",
            remedy="send what the layout in this server's metadata says",
        )
    # What was received cannot be written to, which torch warns about.
    return np.array(value)


def make_server(
    metadata: Mapping[str, Any], infer: Infer, *, host: str = "127.0.0.1", port: int = 8000,
    api_key: str = "",
) -> Server:
    """Return a server of the openpi protocol, bound but not yet running.

    Args:
        metadata: sent to each client first.
        infer: from an observation to a reply; called in a thread for each client.
        host: address to bind.
        port: TCP port; 0 = any free one.
        api_key: required in the header Authorization; empty = none.

    Raises:
        ConfigError: the address cannot be bound.
    """
    return websocket_server(
        metadata, infer, host=host, port=port, api_key=api_key, key_variable=API_KEY_VARIABLE,
        log=logging.info,
    )


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="serve_policy", description="Serve a policy checkpoint by the openpi protocol.",
        epilog=f"With {API_KEY_VARIABLE} in the environment, clients must send that key.",
    )
    parser.add_argument("checkpoint", type=path_argument, help="policy checkpoint, .safetensors")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 = for other machines too")
    parser.add_argument("--port", type=port_number, default=8000, help="TCP port; 0 = any free one")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=thread_count, default=1, help="CPU threads of inference")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        torch.set_num_threads(options.threads)
        planner = load_planner(options.checkpoint, options.device)
        planner.warm_up()
        service = CheckpointService(planner, options.threads)
        server = make_server(
            service.metadata, service.infer, host=options.host, port=options.port,
            api_key=os.environ.get(API_KEY_VARIABLE, ""),
        )
    except HiwmError as error:
        print(f"serve_policy: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    host, port = server.socket.getsockname()[:2]
    print(f"serving {planner.label} on ws://{host}:{port}", flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
