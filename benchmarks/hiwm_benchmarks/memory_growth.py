"""Memory growth of the imagination graph during a long run at rate 0.

    scripts/bench memory_growth --minutes 30

The policy acts without a pause. Every few hundred ticks the world is reset or, less often, rolled
back. The resident memory of each node is sampled. What the nodes load in the first minutes does not
count as growth.
"""

import argparse
import json
import math
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from ament_index_python.packages import get_package_share_directory
from hiwm_interfaces.msg import Command
from hiwm_interfaces.srv import Reset

from hiwm_bringup.launcher.command_line import parse_arguments
from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import HiwmError
from hiwm_core.output_folders import check_output_file, json_with
from hiwm_core.ros_domains import domain_id
from hiwm_core.user_paths import path_argument

from .graph import Graph
from .machine import machine
from .watcher import Watcher

AT_MOST_PERCENT = 5.0
SAMPLE_S = 5.0
WINDOW_S = 60.0  # memory is the median of the samples in such a window
RESET_TICKS = 300
ROLLBACK_EVERY = 5  # episodes
ROLLBACK_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Memory at one time, MB by node.

    Args:
        seconds: since the first tick.
        ticks: since the first tick.
        resident: RSS; includes memory-mapped files of the state store.
        proportional: PSS; counts each shared library once.
    """

    seconds: float
    ticks: int
    resident: Mapping[str, float]
    proportional: Mapping[str, float]


def growth(samples: Sequence[Sample], settle_s: float) -> dict[str, float]:
    """Return the growth of resident memory after `settle_s`, %, by node and as ``all``.

    Compares the medians over the window that starts at `settle_s` and over the last window; NaN if
    the run is too short for both.
    """
    if not samples or samples[-1].seconds < settle_s + 2 * WINDOW_S:
        return {"all": math.nan}
    last_s = samples[-1].seconds
    first = [s for s in samples if settle_s <= s.seconds <= settle_s + WINDOW_S]
    last = [s for s in samples if s.seconds >= last_s - WINDOW_S]
    nodes = set.intersection(*(set(s.resident) for s in (*first, *last)))
    grown = {
        node: _percent([s.resident[node] for s in first], [s.resident[node] for s in last])
        for node in sorted(nodes)
    }
    totals = [[sum(s.resident.values()) for s in window] for window in (first, last)]
    return {"all": _percent(*totals), **grown}


def _percent(before: Sequence[float], after: Sequence[float]) -> float:
    return 100.0 * (median(after) / median(before) - 1.0)


def run(
    launch_file: Path, folder: Path, minutes: float, more: Mapping[str, str]
) -> list[Sample]:
    """Run the graph and return its samples; raises HiwmError if it exits or its ticks stop."""
    arguments = {
        "session_dir": str(folder / "session"), "world": "imagination", "rate": "0.0",
        "device": "none", **more,
    }
    domain = domain_id()
    samples: list[Sample] = []
    with (
        Graph(launch_file, arguments, domain, folder / "graph.log") as graph,
        Watcher(graph, domain, arguments.get("ns", "hiwm")) as watcher,
    ):
        watcher.until_running(Command.SOURCE_POLICY)
        start = time.monotonic()
        ticks = episodes = in_episode = 0
        while (now := time.monotonic() - start) < 60.0 * minutes:
            received = len(watcher.watch(SAMPLE_S))
            graph.check()
            del watcher.ticks[:-1]
            if not received:
                raise HiwmError(
                    f"no tick for {SAMPLE_S:g} s", where=str(graph.log), remedy="read that file"
                )
            ticks, in_episode = ticks + received, in_episode + received
            resident, proportional = graph.memory_by_node()
            samples.append(Sample(
                seconds=now, ticks=ticks, resident=resident, proportional=proportional
            ))
            if in_episode < RESET_TICKS:
                continue
            in_episode, episodes = 0, episodes + 1
            if episodes % ROLLBACK_EVERY:
                watcher.call(Reset, "world/reset", Reset.Request())
            else:
                watcher.roll_back(ROLLBACK_STEPS)
    return samples


def main(words: Sequence[str] | None = None) -> int:
    """Measure and return 0; 1 if memory grew beyond the limit or could not be measured."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench memory_growth", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "arguments", nargs="*", metavar="name:=value",
        help="further arguments of launch/session.launch.xml",
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="of the run (default 30)")
    parser.add_argument(
        "--settle-minutes", type=float, default=5.0, help="growth counts after these (default 5)"
    )
    parser.add_argument(
        "--output", "-o", type=path_argument, help="JSON file to write, with all samples"
    )
    options = parser.parse_intermixed_args(words)
    try:
        if options.output:
            check_output_file(
                options.output, "a measurement of memory", json_with("growth_percent", "samples")
            )
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    # SIGTERM must stop the graph as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    share = Path(get_package_share_directory("hiwm_bringup"))
    described = machine()
    with tempfile.TemporaryDirectory(prefix="hiwm_memory_") as scratch:
        try:
            samples = run(
                share / "launch" / "session.launch.xml", Path(scratch), options.minutes,
                parse_arguments(options.arguments),
            )
        except HiwmError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    grown = growth(samples, 60.0 * options.settle_minutes)
    last = samples[-1]
    print(f"{last.ticks} ticks in {last.seconds / 60.0:.1f} min, {last.ticks / last.seconds:.1f}/s")
    for node in sorted(last.resident):
        print(
            f"{node:24} RSS {samples[0].resident.get(node, math.nan):7.1f} -> "
            f"{last.resident[node]:7.1f} MB, PSS {last.proportional[node]:7.1f} MB, "
            f"after {options.settle_minutes:g} min {grown.get(node, math.nan):+.2f} %"
        )
    print(f"all nodes: {grown['all']:+.2f} % (at most {AT_MOST_PERCENT:g} %)")
    if options.output:
        replace_file(options.output, json.dumps({
            "machine": described, "growth_percent": grown,
            "samples": [asdict(sample) for sample in samples],
        }, indent=1) + "\n")
    return int(not grown["all"] <= AT_MOST_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
