"""Distributes trials over processes. Tested by ``test_rollout_command.py``."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from hiwm_core.errors import DeviceError, HiwmError
from hiwm_evaluation.rollout.setting import Setting, Wanted, trials
from hiwm_evaluation.trials import TrialResult

_POLL_S = 0.2  # interval of checks for interruption


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Cost of trials."""

    steps: int
    seconds: float  # from the first ready process to the last result

    @property
    def rate(self) -> float:
        """Steps per second."""
        return self.steps / self.seconds if self.seconds else 0.0


def run_trials(
    setting: Setting, wanted: Sequence[Wanted], *, processes: int, threads: int,
    on_result: Callable[[int, TrialResult], None],
) -> Effort:
    """Run trials and report the policy's number and the result of each.

    Args:
        setting: of the trials.
        wanted: the trials, grouped by policy.
        processes: number of processes.
        threads: CPU threads per process.
        on_result: called in this process as trials end, in any order.

    Raises:
        HiwmError: a process failed; the others are stopped.
        KeyboardInterrupt: SIGINT or SIGTERM arrived; every stored result is complete.
    """
    # Forked processes would share the locks of torch's threads.
    context = multiprocessing.get_context("spawn")
    workers = []
    open_ends: list[Connection] = []
    started, steps = 0.0, 0
    interrupts = _Interrupts()
    try:
        for number in range(min(processes, len(wanted))):
            ours, theirs = context.Pipe(duplex=False)
            worker = context.Process(
                target=_work, args=(setting, wanted[number::processes], threads, theirs),
                daemon=True,
            )
            _start_without_interrupts(worker)
            theirs.close()
            workers.append(worker)
            open_ends.append(ours)
        while open_ends:
            interrupts.check()
            for end in wait(open_ends, timeout=_POLL_S):
                assert isinstance(end, Connection)
                try:
                    message = end.recv()
                except EOFError:
                    open_ends.remove(end)
                    continue
                if isinstance(message, str):
                    raise HiwmError(message)
                if message is None:
                    started = started or time.monotonic()
                else:
                    steps += message[1].steps
                    on_result(*message)
        ended = time.monotonic()
        for worker in workers:
            worker.join()
            if worker.exitcode:
                raise DeviceError(
                    f"a process exited with code {worker.exitcode}", where="rollout",
                    remedy="run the same command again to continue; use fewer processes if memory "
                    "ran out",
                )
    finally:
        for worker in workers:
            worker.terminate()
        interrupts.close()
    return Effort(steps=steps, seconds=ended - started if started else 0.0)


def _start_without_interrupts(process: BaseProcess) -> None:
    """Start a process that a Ctrl-C does not reach, not even while it still imports.

    A process inherits the blocked signals of the thread that starts it. The resource tracker of
    multiprocessing unblocks SIGINT when it starts, so it starts first.
    """
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Interrupts:
    """Records SIGINT and SIGTERM, which are handled between two results."""

    def __init__(self) -> None:
        self._arrived = False
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }

    def _note(self, number: int, frame: object) -> None:
        self._arrived = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal arrived."""
        if self._arrived:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Restore the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _work(
    setting: Setting, wanted: Sequence[Wanted], threads: int, connection: Connection
) -> None:
    """Send None when ready, then the results of trials; a text is an error."""
    os.environ.setdefault("MUJOCO_GL", "egl")
    import torch

    torch.set_num_threads(threads)
    try:
        connection.send(None)
        for result in trials(setting, wanted):
            connection.send(result)
    except HiwmError as error:
        connection.send(str(error))
    except BrokenPipeError:
        pass  # the parent has exited
    finally:
        connection.close()
