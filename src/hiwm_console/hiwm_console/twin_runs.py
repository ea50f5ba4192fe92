"""Runs `scripts/twin` for the page of twins, one at a time. Tested by `test_twin_runs.py`."""

import asyncio
import contextlib
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from hiwm_console.protocol import Refused
from hiwm_core.twin_folder import is_twin

COMMAND = (sys.executable, "-m", "hiwm_evaluation.twin")
MOST_STEPS = 10_000
_STOPPING_S = 5.0  # from SIGINT to SIGKILL when the console ends


@dataclass(frozen=True, kw_only=True)
class TwinRequest:
    """What to run."""

    truth: str  # standin, or bag:PATH@STEP
    steps: int
    seed: int
    policy: str  # checkpoint that drives the stand-in; empty: the task's expert

    def words(self, output: Path) -> list[str]:
        """Return the command's arguments."""
        words = [
            self.truth, "--output", str(output), "--steps", str(self.steps), "--seed",
            str(self.seed),
        ]
        return [*words, "--policy", self.policy] if self.policy else words


def parse_request(text: str) -> TwinRequest:
    """Return the request that a page has sent as JSON.

    Raises:
        Refused: it is of another form; says which entry.
    """
    try:
        data = json.loads(text)
        request = TwinRequest(
            truth=data["truth"], steps=data["steps"], seed=data["seed"], policy=data["policy"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"not the request for a twin: {error}") from None
    if not isinstance(request.truth, str) or not (
        request.truth == "standin" or request.truth.startswith("bag:")
    ):
        raise Refused("truth: write standin or bag:PATH@STEP")
    if type(request.steps) is not int or not 1 <= request.steps <= MOST_STEPS:
        raise Refused(f"steps: give 1 to {MOST_STEPS}")
    if type(request.seed) is not int or request.seed < 0:
        raise Refused("seed: give 0 or more")
    if not isinstance(request.policy, str) or request.policy.startswith("-"):
        raise Refused("policy: give the path of a checkpoint, or nothing")
    return request


class TwinRuns:
    """Starts and stops the command; all methods are called on the server's loop.

    Args:
        folder: in which each run gets a folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._starting = self._stopped = False
        self._waiting: asyncio.Task[None] | None = None
        self.name = ""  # of the present or last run's folder
        self.error = ""  # last line of a run that failed

    @property
    def running(self) -> bool:
        """Whether a run is in progress."""
        return self._starting or self._process is not None

    async def start(self, request: TwinRequest) -> str:
        """Start a run and return its folder's name.

        Raises:
            Refused: one is in progress, or the console shows a single twin.
        """
        if self.running:
            raise Refused(f"{self.name} still runs: stop it first")
        if is_twin(self._folder):
            raise Refused("this console shows one twin: open the folder that it lies in")
        number = 1
        while (self._folder / f"twin_{number:04d}").exists():
            number += 1
        self.name, self.error = f"twin_{number:04d}", ""
        self._starting, self._stopped = True, False  # before anyone else may ask
        try:
            self._process = await asyncio.create_subprocess_exec(
                *COMMAND, *request.words(self._folder / self.name),
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        finally:
            self._starting = False
        self._waiting = asyncio.ensure_future(self._wait(self._process))
        return self.name

    def stop(self) -> None:
        """End the run; it writes what there is. A second request changes nothing."""
        if self._process is not None and not self._stopped:
            self._stopped = True
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)

    async def close(self) -> None:
        """End the run, and wait for it."""
        if self._process is None or self._waiting is None:
            return
        self.stop()
        _, late = await asyncio.wait([self._waiting], timeout=_STOPPING_S)
        if late:
            self._process.kill()
            await self._waiting

    async def _wait(self, process: asyncio.subprocess.Process) -> None:
        _, said = await process.communicate()
        lines = said.decode(errors="replace").strip().splitlines()
        if process.returncode not in (0, 130):
            self.error = lines[-1] if lines else f"exit code {process.returncode}"
        self._process = None
