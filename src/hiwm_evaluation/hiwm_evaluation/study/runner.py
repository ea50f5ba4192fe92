"""Runs the stages of a study: one progress line each, separate logs, interruptible, resumable."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import HiwmError, StoreError
from hiwm_core.json_files import read_object
from hiwm_core.ros_domains import domain_id
from hiwm_evaluation.study.stages import Stage

# Time for a recorder to close and audit its bag, or for a trainer to write its checkpoint.
_END_S = 60.0
_AGAIN = "delete the file: the same command then runs this stage again"


class Runner:
    """Runs the unfinished stages of a study.

    Args:
        folder: of the study; finished stages are recorded in done/, output in logs/.
        jobs: most stages in parallel.
        write: receives progress lines.
    """

    def __init__(self, folder: Path, jobs: int, write: Callable[[str], None]) -> None:
        self._folder, self._jobs, self._write = folder, jobs, write
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._started = time.monotonic()
        self._optional: list[Stage] = []
        for name in ("done", "logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def seconds(self) -> dict[str, float]:
        """Return the duration of each finished stage, s."""
        return {name: stage["seconds"] for name, stage in self._finished().items()}

    def lacking(self) -> dict[str, str]:
        """Return the reason for each optional stage that failed or had no input."""
        found = {name: stage.get("lacking", "") for name, stage in self._finished().items()}
        return {name: why for name, why in found.items() if why}

    def _finished(self) -> dict[str, dict[str, Any]]:
        """Return what was written down of each finished stage."""
        found = {}
        for path in (self._folder / "done").glob("*.json"):
            stage = read_object(path, _AGAIN)
            if not isinstance(stage.get("seconds"), int | float):
                raise StoreError("has no 'seconds'", where=str(path), remedy=_AGAIN)
            found[path.stem] = stage
        return found

    def run(self, stages: Sequence[Stage]) -> None:
        """Run the stages that are not done.

        A stage that reads from an optional one that failed is left out.

        Raises:
            HiwmError: a stage failed; the same command continues from it.
            KeyboardInterrupt: after all running stages have stopped.
        """
        numbers = {stage.name: number for number, stage in enumerate(stages, 1)}
        self._optional = [stage for stage in stages if stage.optional]
        left = [stage for stage in stages if not self._done(stage).exists()]
        if len(left) < len(stages):
            self._report(f"{len(stages) - len(left)} of {len(stages)} stages are done")
        running: dict[Future[None], Stage] = {}
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                while left or running:
                    for stage in self._ready(left, list(running.values())):
                        left.remove(stage)
                        running[pool.submit(
                            self._run, stage, numbers[stage.name], len(stages)
                        )] = stage
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        del running[future]
                        future.result()
            except BaseException:
                # Inside the pool, whose exit waits for running stages.
                self._stop()
                raise

    def _ready(self, left: Sequence[Stage], running: Sequence[Stage]) -> list[Stage]:
        """Return the stages to start now: the first ones whose inputs are complete."""
        found = [
            stage for place, stage in enumerate(left)
            if not any(stage.waits_for(other) for other in (*running, *left[:place]))
        ]
        return found[: max(0, self._jobs - len(running))]

    def _done(self, stage: Stage) -> Path:
        return self._folder / "done" / f"{stage.name}.json"

    def _report(self, line: str) -> None:
        self._write(f"[{(time.monotonic() - self._started) / 60:6.1f} min] {line}")

    def _run(self, stage: Stage, number: int, count: int) -> None:
        with self._lock:
            if self._stopping:
                return
        absent = [
            other.name for other in self._optional
            if stage.waits_for(other) and not all(path.exists() for path in other.leaves)
        ]
        if absent:
            self._leave_out(stage, f"needs {absent[0]}")
            return
        command = list(stage.command)
        if stage.cleared is not None:
            shutil.rmtree(stage.cleared, ignore_errors=True)
        if stage.resumes_from is not None and stage.resumes_from.exists():
            command += stage.resume
        self._report(f"{number}/{count} {stage.name} ...")
        log = self._folder / "logs" / f"{stage.name}.log"
        started = time.monotonic()
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                # The runner forwards Ctrl-C once.
                start_new_session=True,
                env={**os.environ, "ROS_DOMAIN_ID": str(domain_id()), "PYTHONUNBUFFERED": "1"},
            )
            with self._lock:
                self._running.add(process)
            code = process.wait()
            with self._lock:
                self._running.discard(process)
        if self._stopping:
            return
        missing = [path for path in stage.leaves if not path.exists()]
        if code or missing:
            lines = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
            if stage.optional and code == 1:
                self._leave_out(stage, lines[-1][:200])
                return
            with self._lock:
                self._stopping = True  # queued stages no longer start
            why = f"exit code {code}" if code else f"left no {missing[0]}"
            raise HiwmError(
                f"stage {stage.name} failed: {why}; its last line: {lines[-1][:200]}",
                where=str(log), remedy="fix the cause and run the same command to continue here",
            )
        seconds = time.monotonic() - started
        self._write_done(stage, {"seconds": round(seconds, 1), "command": command})
        self._report(f"{number}/{count} {stage.name} done in {seconds / 60:.1f} min")

    def _leave_out(self, stage: Stage, why: str) -> None:
        self._write_done(stage, {"seconds": 0.0, "command": list(stage.command), "lacking": why})
        self._report(f"{stage.name} is left out: {why}")

    def _write_done(self, stage: Stage, content: Mapping[str, object]) -> None:
        replace_file(self._done(stage), json.dumps(content, indent=1) + "\n")

    def _stop(self) -> None:
        """Stop the running stages: terminate, then kill."""
        with self._lock:
            self._stopping = True
            running = list(self._running)
        for process in running:
            # Not SIGINT: background jobs of a shell ignore it.
            os.killpg(process.pid, signal.SIGTERM)
        for process in running:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
