"""What data is worth: quality of a world model against frames, and against the share of edge data.

    python -m hiwm_learning.world_models.data_worth DATA... -o runs/data_worth

Trains one latent model for each number of frames and for each share of the data of one kind, all
for the same time, and evaluates all of them on the same held-out recordings. Finished trainings are
kept: started again, the command goes on. Writes the figures as JSON and as a picture.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

from hiwm_core.errors import HiwmError
from hiwm_core.number_arguments import thread_count, whole_number
from hiwm_core.output_folders import claim_folder
from hiwm_core.user_paths import path_argument
from hiwm_learning.checkpoints import write_file
from hiwm_learning.world_models.experiments import Results, Run, run_all

WHAT = "a folder of data_worth"
RESULTS, PICTURE = "data_worth.json", "data_worth.png"
FRAMES = (5000, 10000, 20000, 40000)
SHARES = (0.0, 0.2, 0.5, 1.0)
HORIZONS = ("10", "25", "50")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code; 130 when interrupted."""
    parser = argparse.ArgumentParser(
        prog="data_worth", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="+", type=path_argument, help="folders of recordings")
    parser.add_argument("--output", "-o", type=path_argument, required=True, help="folder")
    parser.add_argument("--frames", type=_numbers, default=FRAMES, metavar="N,N")
    parser.add_argument("--shares", type=_numbers, default=SHARES, metavar="S,S")
    parser.add_argument("--kind", default="edge", help="of data, for the shares")
    parser.add_argument("--network", default="cpu")
    parser.add_argument("--robot-minutes", type=float, default=8.0)
    parser.add_argument("--filling-minutes", type=float, default=4.0)
    parser.add_argument("--minutes", type=float, default=25.0, help="of dynamics training, each")
    parser.add_argument("--steps", type=whole_number(1), help="the same in steps, of every stage")
    parser.add_argument("--starts", type=whole_number(1), default=120, help="of the evaluation")
    parser.add_argument("--threads", type=thread_count, default=2)
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def runs_of(options: argparse.Namespace) -> list[Run]:
    """Return all trainings that the options ask for."""
    common: tuple[str, ...] = (
        "--network", options.network, "--threads", str(options.threads),
        "--robot-minutes", str(options.robot_minutes),
        "--filling-minutes", str(options.filling_minutes), "--head-minutes", "2",
        "--minutes", str(options.minutes),
    )
    if options.steps is not None:
        common += (
            "--steps", str(options.steps), "--robot-steps", str(options.steps),
            "--hand-steps", str(options.steps), "--grip-steps", str(options.steps),
            "--filling-steps", str(options.steps),
            "--joint-steps", str(options.steps), "--head-steps", str(options.steps),
        )
    return [
        *(
            Run(name=f"frames_{int(frames)}", options=(*common, "--frames", str(int(frames))))
            for frames in options.frames
        ),
        *(
            Run(
                name=f"{options.kind}_{share:g}",
                options=(*common, "--share", f"{options.kind}={share:g}"),
            )
            for share in options.shares
        ),
    ]


def _run(options: argparse.Namespace) -> int:
    folder: Path = options.output
    claim_folder(folder, WHAT, inputs=options.data)
    results = Results(folder / RESULTS)
    code = run_all(
        runs_of(options), options.data, folder, results=results,
        evaluation=["--starts", str(options.starts), "--threads", str(options.threads)],
        report=lambda line: print(line, flush=True),
    )
    if results.rows:
        draw(results.rows, options.kind, folder / PICTURE)
        print(markdown(results.rows))
    return code


def markdown(rows: Mapping[str, Any]) -> str:
    """Return the figures as a table."""
    lines = ["| run | " + " | ".join(f"PSNR at {h}" for h in HORIZONS) + " |"]
    lines.append("|---" * (len(HORIZONS) + 1) + "|")
    for name, row in rows.items():
        cells = [_psnr(row, horizon) for horizon in HORIZONS]
        lines.append("| " + " | ".join(
            [name, *("-" if cell is None else f"{cell:.1f}" for cell in cells)]
        ) + " |")
    return "\n".join(lines)


def draw(rows: Mapping[str, Any], kind: str, path: Path) -> None:
    """Write a PNG of PSNR, and of the task's first column, against frames and shares."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    for column, (prefix, title) in enumerate((
        ("frames_", "frames to train on"), (f"{kind}_", f"share of the data of the kind {kind}"),
    )):
        points = sorted(
            (float(name.removeprefix(prefix)), row) for name, row in rows.items()
            if name.startswith(prefix)
        )
        for horizon in HORIZONS:
            for axis, value_of in ((axes[0, column], _psnr), (axes[1, column], _own)):
                line = [(x, value) for x, row in points
                        if (value := value_of(row, horizon)) is not None]
                if line:
                    axis.plot(*zip(*line, strict=True), "o-", label=f"{horizon} steps")
        axes[0, column].set_title("PSNR, dB, all starts", fontsize=10)
        if points:
            own = points[0][1]["measure"]["columns"][0]["title"]
            axes[1, column].set_title(f"{own}, where something moves", fontsize=10)
        for axis in axes[:, column]:
            axis.set_xlabel(title)
            axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    write_file(path, lambda file: figure.savefig(file, format="png", dpi=110))


def _psnr(row: Mapping[str, Any], horizon: str) -> float | None:
    found = row["all_starts"].get(horizon, {}).get("imagined")
    return None if found is None else found["psnr_db"]


def _own(row: Mapping[str, Any], horizon: str) -> float | None:
    found = row["moving"].get(horizon, {}).get("imagined")
    value = None if found is None else found[row["measure"]["columns"][0]["key"]]
    return None if value is None else float(value)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(",") if word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers: N,N") from None


if __name__ == "__main__":
    sys.exit(main())
