"""Rollouts in shards: every n-th trial in a run of its own, on this machine or as a Slurm array.

A shard has a folder in OUTPUT/shards, so that shards share no file. A run without `--shard` first
takes over the shards' trials, aborted ones too. Tested by ``test_rollout_shards.py``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiwm_core.errors import ConfigError, DeviceError
from hiwm_core.session_lock import LOCKS_FOLDER

ROLE = "rollout"  # that locks an output folder
ABORTED = 3  # exit code of a run with aborted trials
_FOLDER = "shards"
_SUBMITTED = "submitit"  # folder of submitit's own files


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several runs that share the trials."""

    number: int  # from 1
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, trial: int) -> bool:
        """Return whether a trial (counted from 0) is this shard's."""
        return trial % self.count == self.number - 1

    def folder(self, output: Path) -> Path:
        """Return the shard's own output folder."""
        return output / _FOLDER / f"{self.number}-of-{self.count}"


def shard(text: str) -> Shard:
    """Return the shard of a text such as 2/8.

    Raises:
        ConfigError: it is not one.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(part) for part in found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise ConfigError(
            f"shard {text!r}", where="--shard", remedy="give i/n with i from 1 to n, such as 2/8"
        )
    return Shard(number=number, count=count)


def shard_results(output: Path, policy: str, world: str) -> list[Path]:
    """Return the folders of a policy's trials in one world that shards have written."""
    return sorted(
        path.parent for path in output.glob(f"{_FOLDER}/*/{policy}/{world}/trials.jsonl")
    )


def holds_rollouts(folder: Path) -> bool:
    """Return whether rollouts or their shards wrote in a folder; a lock stays there."""
    if (folder / LOCKS_FOLDER / f"{ROLE}.lock").is_file():
        return True
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return bool(names) and names <= {_FOLDER, _SUBMITTED}


@dataclass(frozen=True, kw_only=True)
class Submission:
    """How shards are submitted."""

    shards: int
    minutes: int  # limit of a job
    slurm: tuple[str, ...] = ()  # KEY=VALUE, of sbatch


def submit_shards(words: Sequence[str], output: Path, submission: Submission) -> None:
    """Run a command line of `scripts/rollout` as shards, and wait for all of them.

    They run as a Slurm array; where there is no Slurm, as processes of this machine.

    Args:
        words: of the command line, without executor.
        output: of the command line.
        submission: how many, and Slurm's settings.

    Raises:
        ConfigError: submitit is not installed, or a setting is invalid.
        DeviceError: a shard failed; names its log. Aborted trials are not a failure.
    """
    settings = dict(_setting(text) for text in submission.slurm)
    try:
        import submitit
    except ImportError:
        raise ConfigError(
            "submitit is not installed", where="--executor submitit",
            remedy="pip install submitit; or start each shard yourself with --shard i/n, then the "
            "command without it",
        ) from None
    executor = submitit.AutoExecutor(folder=output / _SUBMITTED)
    executor.update_parameters(
        name="hiwm_rollout", timeout_min=submission.minutes,
        **{f"slurm_{name}": value for name, value in settings.items()},
    )
    numbers = range(1, submission.shards + 1)
    jobs = executor.map_array(
        run_shard, [[*words, "--shard", f"{number}/{submission.shards}"] for number in numbers]
    )
    print(
        f"{submission.shards} shards on {executor.cluster}: "
        f"{', '.join(str(job.job_id) for job in jobs)}; logs in {output / _SUBMITTED}", flush=True,
    )
    failed = []
    try:
        failed = [(number, job) for number, job in zip(numbers, jobs, strict=True) if _fails(job)]
    except KeyboardInterrupt:
        for job in jobs:
            job.cancel()
        raise
    if failed:
        number, job = failed[0]
        raise DeviceError(
            f"{len(failed)} of {submission.shards} shards failed, the first is {number}",
            where=str(job.paths.stderr), remedy="fix the cause and run the same command again: "
            "finished trials are kept",
        )


def run_shard(words: Sequence[str]) -> int:
    """Run a command line of `scripts/rollout`; called in a job's own process."""
    # The command line imports this module.
    from hiwm_evaluation.rollout.command_line import main

    return main(words)


def _fails(job: Any) -> bool:
    """Wait for a job; return whether it failed."""
    return job.exception() is not None or job.result() not in (0, ABORTED)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier() and value):
        raise ConfigError(
            f"{text!r}", where="--slurm", remedy="give KEY=VALUE, such as partition=gpu"
        )
    return name, value
