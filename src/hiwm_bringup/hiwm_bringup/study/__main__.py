"""Reproduce a study from seeds to its report.

Ctrl-C ends it at any time; the same command goes on where it was. What each stage printed lies in
logs/, what it took in done/.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hiwm_bringup.study.budgets import BUDGETS
from hiwm_bringup.study.record import write_study
from hiwm_bringup.study.runner import Runner
from hiwm_bringup.study.stages import Plan
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError, HiwmError
from hiwm_core.session_lineage import software_version
from hiwm_core.task import load_task
from hiwm_evaluation.report import write_report


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="scripts/reproduce", description=__doc__)
    parser.add_argument("task", help="name of config/tasks/NAME.yaml, for example push_t")
    parser.add_argument(
        "--budget", choices=sorted(BUDGETS), default="small",
        help="small: two CPU cores, under three hours; full: a GPU machine",
    )
    parser.add_argument(
        "--folder", type=Path, help="of the study (default: runs/study_TASK_BUDGET)"
    )
    parser.add_argument(
        "--jobs", type=int, default=2, help="trainings, sessions or evaluations side by side"
    )
    parser.add_argument("--list", action="store_true", help="print the stages and end")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Reproduce from the command line and return the exit code; 130 when interrupted."""
    options = build_parser().parse_args(arguments)
    root = Path(os.environ.get("HIWM_ROOT", ".")).absolute()
    folder = (options.folder or root / "runs" / f"study_{options.task}_{options.budget}").absolute()
    budget = BUDGETS[options.budget]
    try:
        task = load_task(options.task)
        if not (root / "launch" / "evaluate.launch.xml").exists():
            raise ConfigError(
                "no launch files there", where=f"HIWM_ROOT {root}",
                remedy="run scripts/reproduce, or source scripts/env.sh first",
            )
        stages = Plan(root, folder, task.name, budget).stages()
        if options.list:
            for number, stage in enumerate(stages, 1):
                print(f"{number:>3} {stage.name}: {shlex.join(stage.command)}")
            return 0
        runner = Runner(folder, options.jobs, lambda line: print(line, flush=True))
        runner.run(stages)
        write_study(
            folder, task=task.name, budget=budget, software=software_version(),
            command=f"scripts/reproduce {task.name} --budget {options.budget}",
            rate_hz=load_embodiment(task.embodiment).rate_hz,
        )
        page = write_report(folder, folder / "report")
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    hours = sum(runner.seconds().values()) / 3600
    print(f"report: {page}; the stages took {hours:.2f} h in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
