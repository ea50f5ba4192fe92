"""The objectives of a latent world model side by side: one autoencoder, equal steps, one measure.

    scripts/ablate_objectives data/demonstration data/exploration --folder runs/objectives

Trains each with the same data, batches and steps, evaluates each on the same held-out starts, and
prints a table in markdown, with every checkpoint named by --beside as a further line. What is
there already is not made again.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hiwm_core.errors import HiwmError
from hiwm_core.output_folders import claim_folder
from hiwm_core.user_paths import path_argument
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.latent_world.objectives import OBJECTIVES
from hiwm_learning.training_command import WORK_FOLDER, starts_file

HORIZONS = ("1", "10", "50")
_FOLDER = "a folder of scripts/ablate_objectives"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="ablate_objectives", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="+", type=path_argument, help="folders of bags")
    parser.add_argument(
        "--folder", type=path_argument, required=True, help="of checkpoints and numbers"
    )
    parser.add_argument("--network", default="tiny", help="preset of width and depth")
    parser.add_argument("--autoencoder-steps", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=2000, help="of the dynamics, each objective")
    parser.add_argument(
        "--batch", type=int, default=16
    )
    parser.add_argument("--starts", type=int, default=40, help="held-out rollouts to judge by")
    parser.add_argument(
        "--beside", nargs="*", type=path_argument, default=[], help="further checkpoints"
    )
    parser.add_argument("--device", default="cpu")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate and print from the command line; return the exit code."""
    options = build_parser().parse_args(arguments)
    doubled = {path.stem for path in options.beside} & set(OBJECTIVES)
    if doubled:
        print(f"error: --beside {', '.join(doubled)}: named as an objective", file=sys.stderr)
        return 1
    folder: Path = options.folder
    try:
        claim_folder(folder, _FOLDER, inputs=[*options.data, *options.beside])
        rows, table = [], {}
        for objective in OBJECTIVES:
            path = folder / f"{objective}.safetensors"
            _train(options, objective, path)
            rows.append((objective, path))
        for name, path in [*rows, *((path.stem, path) for path in options.beside)]:
            table[name] = {
                "numbers": _evaluated(options, path), "minutes": load_checkpoint(path).info.minutes
            }
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    print(markdown(table))
    return 0


def _train(options: argparse.Namespace, objective: str, path: Path) -> None:
    if path.exists():
        return
    work = path.with_suffix(".work")
    shared = path.parent / "autoencoder.pt"  # it does not know the objective
    if shared.exists() and not (work / shared.name).exists():
        claim_folder(work, WORK_FOLDER)
        shutil.copy(shared, work / shared.name)
    partial = path.with_suffix(".partial.safetensors")
    subprocess.run([
        sys.executable, "-m", "hiwm_learning.train_world_model", "--family", "latent",
        *map(str, options.data), "--output", str(partial), "--work", str(work), "--resume",
        "--network", options.network, "--objective", objective, "--batch", str(options.batch),
        "--autoencoder-batch", str(options.batch), "--steps", str(options.steps),
        "--autoencoder-steps", str(options.autoencoder_steps),
    ], check=True)
    if not shared.exists():
        shutil.copy(work / shared.name, shared)
    starts = starts_file(partial)
    if starts.exists():
        starts.rename(starts_file(path))
    partial.rename(path)


def _evaluated(options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Return the numbers of a checkpoint, measured where they are not there."""
    found: Path = options.folder / f"{path.stem}.evaluation.json"
    if not found.exists():
        subprocess.run([
            sys.executable, "-m", "hiwm_learning.world_model.evaluate", str(path),
            *map(str, options.data), "--output", str(options.folder), "--device", options.device,
            "--starts", str(options.starts),
        ], check=True, stdout=subprocess.DEVNULL)
    numbers: dict[str, Any] = json.loads(found.read_text())
    return numbers


def markdown(table: dict[str, dict[str, Any]]) -> str:
    """Return the table: PSNR and the measure's columns by horizon, training and latency.

    Args:
        table: name -> "numbers", those of an evaluation, and "minutes" of training the dynamics.
    """
    first = next(iter(table.values()))["numbers"]
    columns = [("psnr_db", "PSNR, dB", ".1f")]
    columns += [(one["key"], one["title"], one["form"]) for one in first["measure"]["columns"]]
    titles = [title for _, title, _ in columns]
    titles[0] += ", at " + " / ".join(HORIZONS)
    lines = [
        f"| | {' | '.join(titles)} | minutes | ms a step |", "|---" * (len(columns) + 3) + "|",
    ]
    for name, entry in table.items():
        numbers = entry["numbers"]
        speed = numbers["latency"]["1"]["p50_ms_per_state"]
        cells = [_along(numbers, "imagined", key, form) for key, _, form in columns]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {entry['minutes']:.1f} | {speed:.0f} |"
        )
    for name, said in (("bound", "encoded and drawn again"), ("copy", "the first frame repeated")):
        cells = [_along(first, name, key, form) for key, _, form in columns]
        lines.append(f"| {said} | {' | '.join(cells)} | | |")
    return "\n".join(lines)


def _along(numbers: dict[str, Any], name: str, column: str, form: str) -> str:
    """Return one column at all horizons."""
    values = [numbers["horizons"][step].get(name, {}).get(column) for step in HORIZONS]
    counted = [numbers["horizons"][step]["n"] for step in HORIZONS]
    return " / ".join(
        "-" if not n else "lost" if value is None else format(value, form)
        for n, value in zip(counted, values, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
