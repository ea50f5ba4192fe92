"""Reproduce a study from seeds to its report, block by block.

A block is one backbone and one training seed; the block `tune` comes first. Results of blocks are
text. A block with results is not run again, so that blocks can be run on different machines and
days. Ctrl-C stops at any time; the same command continues. The output of each stage is in logs/,
its duration in done/.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError, HiwmError
from hiwm_core.output_folders import check_output_folder
from hiwm_core.session_lineage import software_version
from hiwm_core.tasks import load_task
from hiwm_core.user_paths import path_argument
from hiwm_evaluation.report import write_report
from hiwm_evaluation.study.blocks import (
    BLOCK_FILE,
    StudySettings,
    chosen_weights,
    is_finished,
    write_block,
    write_study,
)
from hiwm_evaluation.study.budgets import BUDGETS, Budget
from hiwm_evaluation.study.policies import Block, blocks
from hiwm_evaluation.study.runner import Runner
from hiwm_evaluation.study.stages import Plan
from hiwm_evaluation.study_file import STUDY_FILE


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
        "--folder", type=path_argument, help="work folder (default: runs/study_TASK_BUDGET)"
    )
    parser.add_argument(
        "--results", type=path_argument,
        help="folder of the results (default: results in the work folder)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="stages in parallel")
    parser.add_argument(
        "--shards", type=int, default=0, metavar="N",
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
    parser.add_argument("--list", action="store_true", help="print the stages and exit")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Reproduce from the command line and return the exit code; 130 if interrupted."""
    options = build_parser().parse_args(arguments)
    root = Path(os.environ.get("HIWM_ROOT", ".")).absolute()
    folder = (options.folder or root / "runs" / f"study_{options.task}_{options.budget}").absolute()
    results = (options.results or folder / "results").absolute()
    budget = BUDGETS[options.budget]
    try:
        requested = _requested(options.block, budget)
        if not (root / "launch" / "evaluate.launch.xml").exists():
            raise ConfigError(
                "no launch files there", where=f"HIWM_ROOT {root}",
                remedy="run scripts/reproduce, or source scripts/env.sh first",
            )
        if options.list:
            _list(Plan(
                root, folder, load_task(options.task).name, budget, world=_world(options),
                weights="CHOSEN", spread=_spread(options),
            ), requested)
            return 0
        if not options.merge:
            _run(options, root, folder, results, requested)
            if not any(is_finished(results, b) for b in blocks(budget) if not b.tuning):
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
    return (folder / "logs").is_dir() and (folder / "done").is_dir()


def _is_results(folder: Path) -> bool:
    return any(folder.glob(f"*/{BLOCK_FILE}")) or (folder / STUDY_FILE).is_file()


def _run(
    options: argparse.Namespace, root: Path, folder: Path, results: Path, requested: Sequence[Block]
) -> None:
    """Run the blocks that are not finished, one after the other."""
    inputs = [options.world_model] if options.world_model else []
    check_output_folder(folder, "a study", _is_study, inputs=inputs)
    if results != folder / "results":
        check_output_folder(results, "the results of a study", _is_results, inputs=inputs)
    budget = BUDGETS[options.budget]
    task = load_task(options.task)
    runner = Runner(folder, options.jobs, lambda line: print(line, flush=True))
    for block in requested:
        if is_finished(results, block):
            print(f"block {block.name}: its results are in {results / block.name}", flush=True)
            continue
        weights = "" if block.tuning else chosen_weights(results)
        plan = Plan(
            root, folder, task.name, budget, world=_world(options), weights=weights,
            spread=_spread(options),
        )
        stages = plan.stages(block)
        print(f"block {block.name}: {len(stages)} stages", flush=True)
        runner.run(stages)
        seconds = runner.seconds()
        settings = StudySettings(
            task=task.name, budget=budget, world=plan.world, software=software_version(),
            command=f"scripts/reproduce {task.name} --budget {options.budget}" + (
                f" --world-model {options.world_model}" if options.world_model else ""
            ),
            rate_hz=load_embodiment(task.embodiment).rate_hz,
        )
        write_block(
            results, folder, block, settings, weights=weights,
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


def _world(options: argparse.Namespace) -> Path | None:
    """Return the path of --world-model; None without the option."""
    if options.world_model is None:
        return None
    path = Path(options.world_model).absolute()
    if not path.is_file():
        raise ConfigError("no such file", where=str(path), remedy="give a world model's checkpoint")
    return path


def _spread(options: argparse.Namespace) -> list[str]:
    """Return the words that make `scripts/rollout` run in shards; none without --shards."""
    if not options.shards:
        return []
    settings = [word for text in options.slurm for word in ("--slurm", text)]
    return ["--executor", "submitit", "--shards", str(options.shards), *settings]


def _list(plan: Plan, requested: Sequence[Block]) -> None:
    known: set[str] = set()
    for block in requested:
        print(f"{block.name}:")
        for stage in plan.stages(block):
            if stage.name not in known:
                print(f"  {stage.name}: {shlex.join(stage.command)}")
            known.add(stage.name)


if __name__ == "__main__":
    sys.exit(main())
