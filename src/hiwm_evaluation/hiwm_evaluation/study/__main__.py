"""Reproduce a study from seeds to its report, block by block.

The block `tune` comes first. Every other block is one backbone and one training seed, or the
agreement of the worlds, or branching (docs/study.md). Results of blocks are text. A block with
results is not run again, so that blocks can be run on different machines and days. Ctrl-C stops at
any time; the same command continues. The output of each stage is in logs/, its duration in done/.
"""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError, HiwmError
from hiwm_core.number_arguments import whole_number
from hiwm_core.output_folders import check_output_folder, json_with
from hiwm_core.session_lineage import software_version
from hiwm_core.tasks import Task, load_task
from hiwm_core.user_paths import path_argument
from hiwm_evaluation.report import write_report
from hiwm_evaluation.study.blocks import (
    BLOCK_FILE,
    chosen_weights,
    finished_blocks,
    is_finished,
    write_block,
    write_study,
)
from hiwm_evaluation.study.budgets import BUDGETS, Budget, budget_of
from hiwm_evaluation.study.estimate import block_minutes
from hiwm_evaluation.study.policies import TUNE_BLOCK, Block, blocks
from hiwm_evaluation.study.runner import Runner
from hiwm_evaluation.study.settings import (
    SETTINGS_FILE,
    StudySettings,
    require_same_blocks,
    require_same_work,
    require_separate_starts,
)
from hiwm_evaluation.study.stages import Plan
from hiwm_evaluation.study.worlds import checked_world
from hiwm_evaluation.task_study import task_study


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="scripts/reproduce", description=__doc__)
    parser.add_argument("task", help="name of config/tasks/NAME.yaml")
    parser.add_argument(
        "--budget", choices=sorted(BUDGETS), default="small",
        help="small: two CPU cores; full: a GPU machine; smoke: minutes, to test the commands",
    )
    parser.add_argument(
        "--block", action="append", metavar="NAME",
        help="run this block, for example diffusion-s0; may be repeated (default: all blocks)",
    )
    parser.add_argument(
        "--world-model", type=path_argument, metavar="CHECKPOINT",
        help="use this world model (default: record its data and train it first)",
    )
    parser.add_argument(
        "--other-world", type=path_argument, metavar="CHECKPOINT",
        help="also try the policies of the agreement blocks in this world model, of lower quality "
        "for example",
    )
    parser.add_argument(
        "--folder", type=path_argument, help="work folder (default: runs/study_TASK_BUDGET)"
    )
    parser.add_argument(
        "--results", type=path_argument,
        help="folder of the results (default: results in the work folder)"
    )
    parser.add_argument("--jobs", type=whole_number(1), default=2, help="stages in parallel")
    parser.add_argument(
        "--shards", type=whole_number(0), default=0, metavar="N",
        help="run each policy's trials as N Slurm jobs, or processes where there is no Slurm; "
        "needs submitit (default: in one process)",
    )
    parser.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE",
        help="setting of sbatch for --shards, such as partition=gpu; may be repeated",
    )
    parser.add_argument(
        "--merge", action="store_true", help="only write the report of the finished blocks"
    )
    parser.add_argument(
        "--list", action="store_true",
        help="print the stages and the estimated durations, and exit",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Reproduce from the command line and return the exit code; 130 if interrupted."""
    options = build_parser().parse_args(arguments)
    root = Path(os.environ.get("HIWM_ROOT", ".")).absolute()
    folder = (options.folder or root / "runs" / f"study_{options.task}_{options.budget}").absolute()
    results = (options.results or folder / "results").absolute()
    try:
        task = load_task(options.task)
        budget = budget_of(options.budget, task.name)
        requested = _requested(options.block, budget)
        if not (root / "launch" / "evaluate.launch.xml").exists():
            raise ConfigError(
                "no launch files there", where=f"HIWM_ROOT {root}",
                remedy="run scripts/reproduce, or source scripts/env.sh first",
            )
        if not (options.list or options.merge):
            _check_folders(options, folder, results)
        plan = Plan(
            root, folder, task, budget, world=_world(options, task), weights="CHOSEN",
            other_world=_other_world(options, task), spread=_spread(options),
        )
        if options.list:
            _list(plan, requested, options.jobs)
            return 0
        if not options.merge:
            _run(options, task, plan, results, requested)
            if not any(is_finished(results, b) for b in blocks(budget) if b.name != TUNE_BLOCK):
                print(f"chosen: {chosen_weights(results)}; no finished block to report yet")
                return 0
        missing = write_study(results, budget)
        page = write_report(results, results / "report")
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command continues from here", file=sys.stderr)
        return 130
    print(f"report: {page}" + (f"; not run yet: {', '.join(missing)}" if missing else ""))
    return 0


def _is_study(folder: Path) -> bool:
    # The runner makes its two folders before the first block writes the settings.
    begun = {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == {"logs", "done"}
    return begun or json_with("task", "budget")(folder / SETTINGS_FILE)


def _software() -> str:
    """Return the version and, in a git checkout, its commit: code may change between blocks."""
    root = os.environ.get("HIWM_ROOT", ".")
    try:
        commit = subprocess.run(
            ["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return software_version()
    return f"{software_version()} ({commit})"


def _is_results(folder: Path) -> bool:
    # Not by study.json: one without blocks was written by hand, and would be replaced.
    return any(folder.glob(f"*/{BLOCK_FILE}"))


def _check_folders(options: argparse.Namespace, folder: Path, results: Path) -> None:
    """Refuse folders with other content than a study's."""
    given = [path for path in (options.world_model, options.other_world) if path]
    check_output_folder(folder, "a study", _is_study, inputs=given)
    if results != folder / "results":
        check_output_folder(results, "the results of a study", _is_results, inputs=given)


def _run(
    options: argparse.Namespace, task: Task, plan: Plan, results: Path, requested: Sequence[Block]
) -> None:
    """Run the blocks that are not finished, one after the other."""
    budget = plan.budget
    require_separate_starts(task, budget)
    settings = StudySettings(
        task=task.name, budget=budget, world=plan.world, other_world=plan.other_world,
        software=_software(),
        command=f"scripts/reproduce {task.name} --budget {options.budget}" + (
            f" --world-model {options.world_model}" if options.world_model else ""
        ) + (f" --other-world {options.other_world}" if options.other_world else ""),
        rate_hz=load_embodiment(task.embodiment).rate_hz,
    )
    runner = Runner(plan.folder, options.jobs, lambda line: print(line, flush=True))
    for block in requested:
        if is_finished(results, block):
            print(f"block {block.name}: its results are in {results / block.name}", flush=True)
            continue
        weights = chosen_weights(results) if block.weighted else ""
        require_same_blocks(results, [
            *finished_blocks(results, budget),
            settings.common(weights) | {"block": f"this run of {block.name}"},
        ])
        require_same_work(
            plan.folder, settings, trains=options.world_model is None, weights=weights
        )
        stages = plan.with_weights(weights).stages(block)
        print(f"block {block.name}: {len(stages)} stages", flush=True)
        runner.run(stages)
        seconds = runner.seconds()
        write_block(
            results, plan.folder, block, settings, weights=weights, lacking=runner.lacking(),
            seconds={stage.name: seconds[stage.name] for stage in stages},
        )


def _requested(names: Sequence[str] | None, budget: Budget) -> list[Block]:
    known = {block.name: block for block in blocks(budget)}
    for name in names or ():
        if name not in known:
            raise ConfigError(
                f"{name!r} is not a block of this budget", where="--block",
                remedy=f"use one of {', '.join(known)}",
            )
    return [block for name, block in known.items() if not names or name in names]


def _world(options: argparse.Namespace, task: Task) -> Path | None:
    """Return the path of --world-model; None without the option."""
    if options.world_model is None:
        return None
    return checked_world(options.world_model, task, "--world-model")


def _other_world(options: argparse.Namespace, task: Task) -> Path | None:
    """Return the path of --other-world; None without the option."""
    if options.other_world is None:
        return None
    return checked_world(options.other_world, task, "--other-world")


def _spread(options: argparse.Namespace) -> list[str]:
    """Return the words that make `scripts/rollout` run in shards; none without --shards."""
    if not options.shards:
        return []
    settings = [word for text in options.slurm for word in ("--slurm", text)]
    return ["--executor", "submitit", "--shards", str(options.shards), *settings]


def _list(plan: Plan, requested: Sequence[Block], jobs: int) -> None:
    known: set[str] = set()
    speeds = task_study(plan.task).speeds
    whole = 0.0
    for block in requested:
        stages = plan.stages(block)
        minutes = block_minutes(stages, speeds, jobs)
        whole += minutes
        print(f"{block.name}: about {minutes:.0f} min")
        for stage in stages:
            if stage.name not in known:
                print(f"  {stage.name}: {shlex.join(stage.command)}")
            known.add(stage.name)
    print(
        f"about {whole / 60:.1f} h with {jobs} stages in parallel, each block in a new folder, "
        "without training a world model"
    )


if __name__ == "__main__":
    sys.exit(main())
