"""`scripts/rollout`: reads options, stores results, prints progress."""

import argparse
import hashlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiwm_core.control_period import require_period
from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError, HiwmError, StoreError
from hiwm_core.output_folders import check_output_folder
from hiwm_core.robot_config import load_robot
from hiwm_core.session_lock import tool_lock
from hiwm_core.tasks import Task, load_task
from hiwm_core.user_paths import path_argument, user_path
from hiwm_core.workspace_check import file_workspace
from hiwm_core.world_heads import require_success_head
from hiwm_evaluation.rollout.setting import RolloutWorld, Setting
from hiwm_evaluation.rollout.shards import (
    ABORTED,
    ROLE,
    Shard,
    Submission,
    holds_rollouts,
    shard,
    shard_results,
    submit_shards,
)
from hiwm_evaluation.rollout.workers import run_trials
from hiwm_evaluation.trials import (
    Outcome,
    TrialFolder,
    TrialResult,
    duration_text,
    read_starts,
    sampled_starts,
    summary_line,
)
from hiwm_learning.checkpoints import Checkpoint, load_checkpoint, require_embodiment
from hiwm_learning.world_models.families import load_simulator

# scripts/env.sh sets HIWM_ROOT to the checkout.
MODELS = Path(os.environ.get("HIWM_ROOT", "."), "models")
SUCCESS_PROBABILITY = 0.5  # equal to the evaluator's success_threshold
_PROGRESS_S = 5.0  # interval of progress lines


@dataclass(frozen=True, kw_only=True)
class PolicyFile:
    """A policy to run."""

    name: str  # of its result folder
    path: Path
    label: str  # as in results


def main(words: Sequence[str] | None = None) -> int:
    """Run and return 0; 1 after an error, `ABORTED` after aborted trials, 130 if interrupted."""
    options = _parser().parse_args(words)
    given_words = sys.argv[1:] if words is None else list(words)
    # When terminated, it also stops its worker processes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        policies = _named(options.policies)
        given = (options.starts_file, options.world_checkpoint, options.starts)
        check_output_folder(
            options.output, "a folder of rollouts", holds_rollouts,
            inputs=[*policies.values(), *(path for path in given if path is not None)],
        )
        _check_counts(options)
        part = shard(options.shard) if options.shard else None
        if options.executor == "submitit" and part is None:
            submit_shards(
                given_words, options.output, Submission(
                    shards=options.shards, minutes=options.job_minutes,
                    slurm=tuple(options.slurm),
                ),
            )
        output = part.folder(options.output) if part else options.output
        with tool_lock(output, ROLE):
            return _run(options, policies, output, part)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command continues from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/rollout",
        description="Run policies from many starts, in the world model or on the stand-in, without "
        "a graph. Writes the same files as the evaluator, into OUTPUT/NAME/WORLD.",
    )
    parser.add_argument(
        "--policy", action="append", required=True, metavar="[NAME=]PATH", dest="policies",
        help="policy checkpoint; may be repeated. NAME defaults to the file name",
    )
    parser.add_argument(
        "--world", action="append", choices=[world.value for world in RolloutWorld],
        dest="worlds", help="repeat it for both (default: imagination)",
    )
    parser.add_argument(
        "--output", "-o", type=path_argument, required=True, help="folder of the results"
    )
    parser.add_argument("--trials", type=int, default=50, help="trials per policy (default 50)")
    parser.add_argument(
        "--start-seed", type=int, default=0,
        help="seed of starts and plans; trial i is reset with this seed + i (default 0)",
    )
    parser.add_argument(
        "--starts-file", type=path_argument,
        help="YAML list of starts to use instead: one list of the task's values per trial"
    )
    parser.add_argument(
        "--horizon", type=int, default=0, help="most ticks of a trial (default: from the task)"
    )
    parser.add_argument("--task", help="name or path of the task (default: the first policy's)")
    parser.add_argument(
        "--world-checkpoint", type=path_argument,
        help="world model (default: models/world_TASK.safetensors)"
    )
    parser.add_argument(
        "--starts", type=path_argument,
        help="imagination: start frames (default: those next to the world model)",
    )
    parser.add_argument(
        "--robot", default="",
        help="imagination: name or path of the robot whose workspace bounds the actions "
        "(default: none)",
    )
    parser.add_argument(
        "--batch", type=int, default=64,
        help="imagination: trials in parallel per process; 1 is byte-identical to a graph "
        "(default 64)",
    )
    parser.add_argument(
        "--processes", type=int, default=len(os.sched_getaffinity(0)),
        help="worker processes (default: number of cores)",
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads per process (default 1)"
    )
    parser.add_argument("--device", default="cpu", help="device of the models: cpu or cuda")
    _add_shard_options(parser)
    return parser


def _add_shard_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "shards", "Shards share the trials. The command without --shard takes over their results, "
        "and runs what is left.",
    )
    group.add_argument("--shard", metavar="i/n", help="run only every n-th trial, from the i-th on")
    group.add_argument(
        "--executor", choices=("here", "submitit"), default="here",
        help="submitit: run --shards shards as a Slurm array, or as processes where there is no "
        "Slurm, and take over their results (default here)",
    )
    group.add_argument("--shards", type=int, default=2, help="of submitit (default %(default)s)")
    group.add_argument(
        "--job-minutes", type=int, default=240, help="limit of a shard (default %(default)s)"
    )
    group.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE",
        help="setting of sbatch, such as partition=gpu; may be repeated",
    )


def _check_counts(options: argparse.Namespace) -> None:
    """Raise ConfigError for a number that is too small."""
    for name, least in (
        ("trials", 1), ("start_seed", 0), ("horizon", 0), ("batch", 1), ("processes", 1),
        ("threads", 1), ("shards", 1), ("job_minutes", 1),
    ):
        if getattr(options, name) < least:
            raise ConfigError(
                f"{getattr(options, name)}", where=f"--{name.replace('_', '-')}",
                remedy=f"give {least} or more",
            )


def _run(
    options: argparse.Namespace, named: Mapping[str, Path], output: Path, part: Shard | None
) -> int:
    checkpoints = {name: load_checkpoint(path) for name, path in named.items()}
    task = load_task(options.task or next(iter(checkpoints.values())).info.task)
    embodiment = load_embodiment(task.embodiment)
    for path, checkpoint in zip(named.values(), checkpoints.values(), strict=True):
        require_embodiment(checkpoint.info, embodiment.hash, str(path))
        require_period(
            checkpoint.info.control_period_s, 1.0 / embodiment.rate_hz, "policy", str(path)
        )
    policies = [
        PolicyFile(name=name, path=named[name], label=checkpoint.label)
        for name, checkpoint in checkpoints.items()
    ]
    starts = (
        read_starts(options.starts_file, options.trials, task.start_names) if options.starts_file
        else sampled_starts(task, options.start_seed, options.trials)
    )
    model = options.world_checkpoint or MODELS / f"world_{task.name}.safetensors"
    aborted = 0
    for world in dict.fromkeys(RolloutWorld(w) for w in options.worlds or ["imagination"]):
        setting = Setting(
            world=world, task=options.task or task.name, policies=tuple(named.values()),
            starts=tuple(starts), seed=options.start_seed,
            horizon=options.horizon or task.horizon_steps,
            threshold=(
                SUCCESS_PROBABILITY if world is RolloutWorld.IMAGINATION
                else task.success_progress
            ),
            world_checkpoint=model,
            start_frames=options.starts or model.with_name(model.stem + "_starts.npz"),
            batch=options.batch, device=options.device, robot=options.robot,
        )
        aborted += _roll_out(setting, policies, task, embodiment, options, output, part)
    if aborted:
        print(
            f"incomplete: {aborted} trials were aborted, see above and trials.jsonl; the command "
            "runs them again", file=sys.stderr,
        )
    return ABORTED if aborted else 0


def _named(given: Sequence[str]) -> dict[str, Path]:
    """Return the policies' paths by name."""
    named: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.rpartition("=")
        name = name if equals else Path(path).stem
        if not name or Path(name).name != name:
            raise ConfigError(f"name {name!r}", where="--policy", remedy="give a valid folder name")
        if name in named:
            raise ConfigError(
                f"two policies are named {name!r}", where="--policy",
                remedy="name them: --policy one=PATH --policy other=PATH",
            )
        named[name] = user_path(path)
    return named


def _roll_out(
    setting: Setting, policies: Sequence[PolicyFile], task: Task, embodiment: Embodiment,
    options: argparse.Namespace, output: Path, part: Shard | None,
) -> int:
    """Run the unfinished trials of all policies in one world; return the number of aborted ones."""
    conditions = _conditions(setting, task, embodiment)
    folders: list[TrialFolder] = []
    try:
        for policy in policies:
            place = output / policy.name / setting.world.value
            folders.append(TrialFolder(place, conditions, setting.starts, task.start_names))
            for results in shard_results(output, policy.name, setting.world.value):
                folders[-1].take_over(results)
            _check_policy(folders[-1].results, policy, place)
        wanted_trials = [i for i in range(len(setting.starts)) if part is None or part.has(i)]
        # Jobs have run all trials: those that were aborted there are counted, not run here.
        in_jobs = options.executor == "submitit" and part is None
        left = [
            sorted(set(wanted_trials) - (set(folder.results) if in_jobs else folder.finished))
            for folder in folders
        ]
        wanted = [(p, trial) for p, numbers in enumerate(left) for trial in numbers]
        progress = _Progress(setting, policies, [len(numbers) for numbers in left])
        progress.start(len(policies) * len(wanted_trials))

        def keep(policy: int, result: TrialResult) -> None:
            folders[policy].append(result)
            if progress.count(policy, result):
                print(
                    f"{progress.name(policy)}: {summary_line(folders[policy].write_summary())}",
                    flush=True,
                )

        if wanted:
            effort = run_trials(
                setting, wanted, processes=options.processes, threads=options.threads,
                on_result=keep,
            )
            print(
                f"{setting.world.value}: {effort.steps} steps in {effort.seconds:.1f} s, "
                f"{effort.rate:.0f} steps/s; results in {output}", flush=True,
            )
        return sum(
            folder.results[trial].outcome is Outcome.ABORTED
            for folder in folders for trial in wanted_trials
        )
    finally:
        for folder in folders:
            folder.write_summary()
            folder.close()


def _conditions(setting: Setting, task: Task, embodiment: Embodiment) -> dict[str, Any]:
    """Return the evaluator's conditions, and those of the rollout."""
    imagined = setting.world is RolloutWorld.IMAGINATION
    conditions: dict[str, Any] = {
        "world": "imagination" if imagined else "hardware",
        "robot": "" if imagined else task.stand_in().stand_in_robot, "stand_in": not imagined,
        "embodiment_hash": embodiment.hash, "task": task.name, "task_hash": task.hash,
        "checkpoint_hash": "", "seed": setting.seed, "horizon": setting.horizon,
        "success_threshold": setting.threshold, "made_by": "rollout",
    }
    if imagined:
        simulator, checkpoint = load_simulator(setting.world_checkpoint, embodiment)
        _check_task(checkpoint, task)
        require_success_head(simulator.heads, str(setting.world_checkpoint))
        conditions |= {
            "checkpoint_hash": checkpoint.hash, "batch": setting.batch,
            "start_frames_hash": _file_hash(setting.start_frames),
        }
        if setting.robot:
            robot = load_robot(setting.robot)
            if file_workspace(robot, embodiment) is None:
                raise ConfigError(
                    f"robot {robot.name} has no workspace", where="--robot",
                    remedy="add the section workspace to its file (docs/robots.md), or leave "
                    "--robot out",
                )
            conditions["workspace"] = robot.name
    return conditions


def _check_task(checkpoint: Checkpoint, task: Task) -> None:
    """Raise CheckpointError unless a world model was trained for a task."""
    if not task.is_known_as(checkpoint.info.task_hash):
        raise CheckpointError(
            f"the checkpoint was trained for task {checkpoint.info.task} with hash "
            f"{checkpoint.info.task_hash[:12]}, this one has {task.hash[:12]}",
            where=str(checkpoint.path),
            remedy="use the task file it was trained with, or train again",
        )


def _check_policy(results: Mapping[int, TrialResult], policy: PolicyFile, folder: Path) -> None:
    others = {result.policy for result in results.values() if result.policy} - {policy.label}
    if others:
        raise StoreError(
            f"contains trials of {', '.join(sorted(others))}, this policy is {policy.label}",
            where=str(folder), remedy="give another --output, or another NAME=",
        )


def _file_hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"cannot read the start frames: {error.strerror}", where=str(path),
            remedy="training writes them next to the world-model checkpoint; or give them with "
            "--starts",
        ) from None


class _Progress:
    """Counts trials and prints progress."""

    def __init__(
        self, setting: Setting, policies: Sequence[PolicyFile], left: Sequence[int]
    ) -> None:
        self._world = setting.world.value
        self._policies = policies
        self._left = list(left)
        self._total = sum(left)
        self._done = 0
        self._started = self._printed = time.monotonic()

    def name(self, policy: int) -> str:
        """Return the name of a policy and this world, for people."""
        return f"{self._policies[policy].name}, {self._world}"

    def start(self, total: int) -> None:
        """Print the number of trials to run, out of a total."""
        done = total - self._total
        resumed = f"; {done} of {total} are already done" if done else ""
        names = ", ".join(policy.name for policy in self._policies)
        print(
            f"{self._world}: {self._total} trials of {names}{resumed}",
            flush=True,
        )

    def count(self, policy: int, result: TrialResult) -> bool:
        """Count a trial; return whether it was the last of its policy."""
        self._done += 1
        self._left[policy] -= 1
        now = time.monotonic()
        if result.outcome is Outcome.ABORTED:
            print(
                f"{self.name(policy)}, trial {result.trial}: aborted, {result.reason}", flush=True
            )
        if now - self._printed > _PROGRESS_S and self._done < self._total:
            self._printed = now
            seconds = (now - self._started) / self._done * (self._total - self._done)
            print(
                f"{self._world}: {self._done} of {self._total} trials, {duration_text(seconds)}",
                flush=True,
            )
        return self._left[policy] == 0
