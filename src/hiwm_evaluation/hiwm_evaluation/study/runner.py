"""Runs the stages of a study: one line each, logs apart, interrupted and resumed at will."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from hiwm_core.errors import HiwmError
from hiwm_core.ros_domains import domain_id
from hiwm_evaluation.study.stages import Stage

# A recorder closes and audits its bag, a trainer writes its checkpoint.
_END_S = 60.0


class Runner:
    """Runs what is left of a study.

    Args:
        folder: of the study; marks go to done/, output to logs/.
        jobs: stages run side by side, at most.
        write: takes progress lines.
    """

    def __init__(self, folder: Path, jobs: int, write: Callable[[str], None]) -> None:
        self._folder, self._jobs, self._write = folder, jobs, write
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._begun = time.monotonic()
        for name in ("done", "logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def seconds(self) -> dict[str, float]:
        """Return what each finished stage took, s."""
        return {
            path.stem: float(json.loads(path.read_text())["seconds"])
            for path in (self._folder / "done").glob("*.json")
        }

    def run(self, stages: Sequence[Stage]) -> None:
        """Run the stages that are not done.

        Raises:
            HiwmError: one failed; the same command goes on from there.
            KeyboardInterrupt: after what ran has ended.
        """
        numbers = {stage.name: number for number, stage in enumerate(stages, 1)}
        left = [stage for stage in stages if not self._done(stage).exists()]
        if len(left) < len(stages):
            self._say(f"{len(stages) - len(left)} of {len(stages)} stages are done")
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
                # Within the pool, which would otherwise wait for what runs.
                self._stop()
                raise

    def _ready(self, left: Sequence[Stage], running: Sequence[Stage]) -> list[Stage]:
        """Return the stages to begin now: the first ones that wait for nothing that is not done."""
        found = [
            stage for place, stage in enumerate(left)
            if not any(stage.waits_for(other) for other in (*running, *left[:place]))
        ]
        return found[: max(0, self._jobs - len(running))]

    def _done(self, stage: Stage) -> Path:
        return self._folder / "done" / f"{stage.name}.json"

    def _say(self, line: str) -> None:
        self._write(f"[{(time.monotonic() - self._begun) / 60:6.1f} min] {line}")

    def _run(self, stage: Stage, number: int, count: int) -> None:
        with self._lock:
            if self._stopping:
                return
        command = list(stage.command)
        if stage.anew is not None:
            shutil.rmtree(stage.anew, ignore_errors=True)
        if stage.resumes_from is not None and stage.resumes_from.exists():
            command += stage.resume
        self._say(f"{number}/{count} {stage.name} ...")
        log = self._folder / "logs" / f"{stage.name}.log"
        begun = time.monotonic()
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                # A Ctrl-C is passed on once, by us.
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
            with self._lock:
                self._stopping = True  # nothing that is queued begins any more
            lines = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
            why = f"exit code {code}" if code else f"left no {missing[0]}"
            raise HiwmError(
                f"stage {stage.name} failed: {why}; it said last: {lines[-1][:200]}",
                where=str(log), remedy="fix the cause and give the same command: it goes on here",
            )
        seconds = time.monotonic() - begun
        self._done(stage).write_text(
            json.dumps({"seconds": round(seconds, 1), "command": command}, indent=1) + "\n"
        )
        self._say(f"{number}/{count} {stage.name} done in {seconds / 60:.1f} min")

    def _stop(self) -> None:
        """End what runs, politely first."""
        with self._lock:
            self._stopping = True
            running = list(self._running)
        for process in running:
            # Not SIGINT: what was started in the background of a shell ignores that one.
            os.killpg(process.pid, signal.SIGTERM)
        for process in running:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
