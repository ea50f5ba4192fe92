"""Speed of two training processes against twice that of one, each with one thread.

    scripts/bench training_speed --minutes 1

Both train a policy on the same synthetic set. A step of two processes learns from two parts of a
batch, a step of one from one part, so the share that is reached is the ratio of their steps per
second. Give the machine two idle cores.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .training_memory import write_set

PROCESSES = 2
AT_LEAST = 0.9
_STEP = re.compile(r"step +(\d+) ")


def steps_per_second(data: Path, folder: Path, processes: int, minutes: float) -> float:
    """Return the steps per second of a training, from its first progress line to its last.

    Raises:
        SystemExit: the training failed, or printed fewer than two lines: give it more minutes.
    """
    launcher = [
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)
    ] if processes > 1 else []
    command = [
        sys.executable, *launcher, "-m", "hiwm_learning.policies.train", str(data), "-o",
        str(folder / f"of_{processes}.safetensors"), "--backbone", "act", "--threads", "1",
        "--steps", str(10**9), "--minutes", str(minutes),
    ]
    seen: list[tuple[float, int]] = []  # time and step of each line
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as training:
        assert training.stdout is not None
        for line in training.stdout:
            if found := _STEP.match(line):
                seen.append((time.monotonic(), int(found[1])))
    if training.returncode or len(seen) < 2:
        raise SystemExit(
            f"the training of {processes} exited with code {training.returncode} after "
            f"{len(seen)} progress lines"
        )
    (began, first), (ended, last) = seen[0], seen[-1]
    return (last - first) / (ended - began)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print one JSON line; return 1 if the share is too small."""
    parser = argparse.ArgumentParser(prog="scripts/bench training_speed", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="of each training")
    parser.add_argument("--frames", type=int, default=5000, help="of the set")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="hiwm_speed_") as scratch:
        data = Path(scratch) / "set.zarr"
        write_set(data, options.frames)
        load = os.getloadavg()[0]
        one, several = (
            steps_per_second(data, Path(scratch), processes, options.minutes)
            for processes in (1, PROCESSES)
        )
    print(json.dumps({
        "one_steps_per_s": round(one, 2), "two_steps_per_s": round(several, 2),
        "share": round(several / one, 3),
        "at_least": AT_LEAST, "load_before": round(load, 1),
    }))
    return int(several / one < AT_LEAST)


if __name__ == "__main__":
    sys.exit(main())
