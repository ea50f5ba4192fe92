"""The round trip of a policy behind a server, beyond the server's own time.

A server in another process answers at once. The time is that of the client's whole plan: three
images and a state packed, sent over loopback, the reply read, checked and converted.
"""

import multiprocessing
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from hiwm_core.embodiment import load_embodiment
from hiwm_learning.policies.planning import PlannerOptions, PlannerWorld
from hiwm_learning.policies.remote.planner import RemotePlanner
from hiwm_learning.policies.remote.serve import make_server

from .rows import Measured, quantile

PLANS = 300
_WARM_UP = 20
_PIXELS = 224
_CAMERAS = ("high", "left_wrist", "right_wrist")
_EMBODIMENT = load_embodiment("aloha")
_METADATA = {"layout": {
    "name": "bench", "horizon": 50, "execute_horizon": 25,
    "observation": {
        "images": {
            name: {"send": "camera", "camera": name, "height": _PIXELS, "width": _PIXELS,
                   "layout": "CHW"}
            for name in _CAMERAS
        },
        "state": {"send": "state"}, "prompt": {"send": "instruction"},
    },
}}


def _serve(address: Connection) -> None:
    def infer(_: Any) -> dict[str, Any]:
        started = time.monotonic()
        actions = np.tile(np.array(_EMBODIMENT.home), (50, 1))
        return {
            "actions": actions,
            "server_timing": {"infer_ms": 1e3 * (time.monotonic() - started)},
        }

    server = make_server(_METADATA, infer, port=0)
    address.send(server.socket.getsockname()[1])
    server.serve_forever()


def measure_policy_server(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the time of a plan beyond the server's.

    Args:
        launch_file: not used.
        folder: not used.
        repeats: not used.
        more: not used.
    """
    del launch_file, folder, repeats, more
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    try:
        planner = RemotePlanner(PlannerOptions(port=ours.recv()))
        planner.fit(PlannerWorld(
            embodiment=_EMBODIMENT, embodiment_hash=_EMBODIMENT.hash,
            period_s=1.0 / _EMBODIMENT.rate_hz, instruction="put the cap on the bottle",
        ))
        rng = np.random.default_rng(0)
        images = {
            name: rng.integers(0, 256, (1, _PIXELS, _PIXELS, 3), dtype=np.uint8)
            for name in _CAMERAS
        }
        proprio = np.array(_EMBODIMENT.home, np.float32)[None]
        times = []
        for step in range(PLANS + _WARM_UP):
            started = time.monotonic()
            planner.plan(images, proprio, (0, 1, step))
            taken = 1e3 * (time.monotonic() - started)
            times.append(taken - float(str(planner.status()["server_infer_ms"])))
        planner.close()
    finally:
        server.terminate()
        server.join()
    times = times[_WARM_UP:]
    return {
        "policy_server": Measured(
            value=quantile(times, 0.95),
            details={"p50": quantile(times, 0.5), "worst": max(times), "n": len(times)},
        )
    }
