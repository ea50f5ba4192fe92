"""Memory of a policy's training against the size of its set, with the set in memory and on disk.

    scripts/bench training_memory --frames 10000 --frames 100000 --frames 1000000

Each size is a set of synthetic frames of 32 x 32 px, written in pieces. A process of its own trains
a tiny policy on it for some steps, and prints its largest anonymous memory: that of no file, which
the system cannot give up. Mapped files count in the other number.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hiwm_core.provenance import Provenance
from hiwm_learning.datasets import EpisodeInfo
from hiwm_learning.datasets.episodes import EpisodeWriter
from hiwm_test_support.policies import PIXELS, dot_embodiment

EPISODE = 500  # frames
STEPS = 20
FIELDS = {"RssAnon": "anonymous_mb", "RssFile": "mapped_mb"}


def write_set(path: Path, frames: int) -> None:
    """Write a training set of some frames, with little in memory."""
    rng = np.random.default_rng(0)
    embodiment = dot_embodiment()
    writer = EpisodeWriter(path, embodiment, tuple(str(name) for name in Provenance))
    # Of one colour each: a set of a million frames is written in a minute.
    colours = rng.integers(0, 255, (EPISODE, 1, 1, 3), np.uint8)
    pictures = np.broadcast_to(colours, (EPISODE, PIXELS, PIXELS, 3))
    for number in range(-(-frames // EPISODE)):
        length = min(EPISODE, frames - number * EPISODE)
        places = rng.uniform(-0.1, 0.1, (length, len(embodiment.proprioception)))
        actions = rng.uniform(-0.1, 0.1, (length, embodiment.action_dim))
        actions[-1] = np.nan
        unknown = np.full(length, np.nan)
        writer.add(
            EpisodeInfo(
                bag=f"bag{number}", session_id="s", episode_id=f"ep{number}", branch_id="b",
                parent_branch_id="", fork_step=-1, world="hardware", stand_in=True, task="dot",
                task_hash="0",
            ),
            {
                "images/top": pictures[:length], "proprio": places, "actions": actions,
                "source": np.full(length, 3), "provenance": np.zeros(length),
                "steps": np.arange(length), "trust": np.ones(length), "progress": unknown,
                "success": unknown,
            },
        )
    writer.close({})


def measure(path: Path, stream: bool) -> dict[str, float]:
    """Return the largest memory in MB, and the seconds, of a training on a set."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [
            sys.executable, "-m", "hiwm_learning.policies.train", str(path), "-o",
            str(Path(folder) / "policy.safetensors"), "--backbone", "act", "--steps", str(STEPS),
            *(["--stream"] if stream else []),
        ]
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        largest = dict.fromkeys(FIELDS.values(), 0.0)
        while process.poll() is None:
            for name, value in _memory(process.pid).items():
                largest[name] = max(largest[name], value)
            time.sleep(0.02)
        if process.returncode:
            raise SystemExit(f"the training exited with code {process.returncode}")
        return {**largest, "seconds": round(time.monotonic() - started, 1)}


def _memory(pid: int) -> dict[str, float]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    values = dict(line.split(":", 1) for line in lines)
    return {
        ours: int(values[theirs].split()[0]) / 1000.0
        for theirs, ours in FIELDS.items() if theirs in values
    }


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print one JSON line for each size and way."""
    parser = argparse.ArgumentParser(prog="scripts/bench training_memory", description=__doc__)
    parser.add_argument(
        "--frames", type=int, action="append", required=True, help="size of a set; repeat it"
    )
    parser.add_argument(
        "--in-memory", action="store_true", help="also train with the set in memory"
    )
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="hiwm_sets_") as scratch:
        for frames in options.frames:
            path = Path(scratch) / f"{frames}.zarr"
            write_set(path, frames)
            for stream in (True, False) if options.in_memory else (True,):
                print(json.dumps({
                    "frames": frames, "frames_mb": frames * PIXELS * PIXELS * 3 / 1e6,
                    "on_disk": stream, **measure(path, stream),
                }), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
