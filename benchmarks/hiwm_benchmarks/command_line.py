"""`scripts/bench`: runs the graphs, prints the table, writes the JSON."""

import argparse
import json
import math
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

from hiwm_bringup.launcher.command_line import parse_arguments
from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import HiwmError
from hiwm_core.output_folders import check_output_file, claim_folder, json_with
from hiwm_core.user_paths import path_argument

from .machine import machine
from .measuring import Options, measure
from .rows import ROWS, Measured, as_json, table, verdict


def main(words: Sequence[str] | None = None) -> int:
    """Measure and return 0; 1 if a row could not be measured or misses its bound."""
    options = _options(words)
    # SIGTERM must stop the graph as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    output = options.output or Path("sessions") / time.strftime("bench-%Y%m%d_%H%M%S.json")
    try:
        check_output_file(output, "a benchmark", json_with("machine", "rows", "problems"))
        if options.keep is not None:
            claim_folder(options.keep, "a folder of scripts/bench")
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    wanted = [row for row in ROWS if not options.rows or row.key in options.rows]
    described = machine()
    results: dict[str, Measured] = {}
    problems: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="hiwm_bench_") as scratch:
        for run in dict.fromkeys(row.run for row in wanted):
            print(f"bench: {run} ...", file=sys.stderr, flush=True)
            found: dict[str, Measured] = {}
            try:
                found = measure(
                    run,
                    Options(
                        launch_file=options.launch_file,
                        folder=(options.keep or Path(scratch)).absolute(),
                        seconds=options.seconds, repeats=options.repeats,
                        more=parse_arguments(options.arguments),
                    ),
                )
            except HiwmError as error:
                problems[run] = str(error)
                print(f"bench: {run}: {error}", file=sys.stderr, flush=True)
            for row in wanted:
                if row.run == run:
                    results[row.key] = found.get(row.key, Measured(value=math.nan))
    print(table(results))
    replace_file(output, json.dumps(
        {"machine": described, "rows": as_json(results), "problems": problems}, indent=2
    ) + "\n")
    print(f"load before: {described['load_before']} on {described['cores']} cores; {output}")
    return int(any(verdict(row, results[row.key].value) == "no" for row in wanted))


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measure the whole graph on this machine.",
        epilog="Rows: " + ", ".join(row.key for row in ROWS),
    )
    parser.add_argument(
        "arguments", nargs="*", metavar="name:=value",
        help="further arguments of launch/session.launch.xml",
    )
    parser.add_argument(
        "--rows", type=lambda text: text.split(","), default=[], metavar="KEY,KEY",
        help="measure only these rows (default all)",
    )
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="duration of rate measurements (default 30)"
    )
    parser.add_argument(
        "--repeats", type=int, default=60,
        help="rollbacks to measure; a third as many takeovers, a tenth as many continuations "
        "(default 60)",
    )
    parser.add_argument("--output", "-o", type=path_argument, help="JSON file to write")
    parser.add_argument("--keep", type=path_argument, help="folder for sessions and logs to keep")
    parser.add_argument(
        "--launch-file", type=path_argument, help="session.launch.xml (default the installed one)"
    )
    options = parser.parse_intermixed_args(words)
    words_left = [word for word in options.arguments if ":=" not in word]
    if words_left:
        parser.error(f"unknown argument {words_left[0]}; give name:=value, or memory_growth first")
    unknown = set(options.rows) - {row.key for row in ROWS}
    if unknown:
        parser.error(f"no row {sorted(unknown)}; rows are {', '.join(r.key for r in ROWS)}")
    if options.launch_file is None:
        share = Path(get_package_share_directory("hiwm_bringup"))
        options.launch_file = share / "launch" / "session.launch.xml"
    return options
