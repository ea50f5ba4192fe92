"""Several trainings of the latent family, each evaluated on the same held-out recordings.

A finished run leaves its figures in one JSON file and is never run again; an interrupted one goes
on where it stopped.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import ConfigError
from hiwm_learning.world_models import train
from hiwm_learning.world_models.evaluation import evaluate


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training."""

    name: str  # also of its files
    options: tuple[str, ...]  # of the training command, beside data, family and output


class Results:
    """The figures of finished runs, in one file.

    Args:
        path: the JSON file; it need not exist.

    Raises:
        ConfigError: the file is of another form.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Any] = {}
        if path.exists():
            try:
                self.rows = dict(json.loads(path.read_text())["runs"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"not the results of such runs: {error}", where=str(path),
                    remedy="move it away, or give another folder",
                ) from None

    def add(self, name: str, row: Mapping[str, Any]) -> None:
        """Write down the figures of a run."""
        self.rows[name] = dict(row)
        replace_file(self.path, json.dumps({"runs": self.rows}, indent=1) + "\n")


def run_all(
    runs: Sequence[Run], data: Sequence[Path], folder: Path, *, results: Results,
    evaluation: Sequence[str], report: Callable[[str], None],
) -> int:
    """Train and evaluate what is not finished; return 0, or the exit code of what stopped it.

    Args:
        runs: in order.
        data: folders of bags, the same for all.
        folder: for checkpoints, work folders and evaluations.
        results: takes the figures.
        evaluation: further options of the evaluation.
        report: takes progress lines.
    """
    for number, run in enumerate(runs):
        if run.name in results.rows:
            report(f"{run.name}: finished before")
            continue
        report(f"{run.name}: run {number + 1} of {len(runs)}")
        checkpoint = folder / f"{run.name}.safetensors"
        words = [str(path) for path in data]
        code = train.main([
            *words, "--family", "latent", "--output", str(checkpoint), "--name", run.name,
            "--resume", *run.options,
        ])
        if code:
            return code
        code = evaluate.main([str(checkpoint), *words, *evaluation])
        if code:
            return code
        numbers = json.loads(checkpoint.with_suffix(".evaluation.json").read_text())
        results.add(run.name, figures_of(numbers))
    return 0


def figures_of(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of an evaluation that runs are compared by."""
    return {
        "measure": numbers["measure"],
        **{
            name: {step: row for step, row in numbers[key].items() if row["n"]}
            for name, key in (("all_starts", "all_starts"), ("moving", "horizons"))
        },
        "replays": numbers["replays"], "trust": numbers["trust"]["pooled"]["moving"],
        "latency": numbers["latency"],
    }

