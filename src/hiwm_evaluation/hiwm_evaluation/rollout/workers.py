"""Trials spread over processes. Held by ``test_rollout_command.py``."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from hiwm_core.errors import DeviceError, HiwmError
from hiwm_evaluation.rollout.setting import Setting, Wanted, trials
from hiwm_evaluation.trials import TrialResult

_LOOK_S = 0.2  # between two looks at whether it was interrupted


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What trials took."""

    steps: int
    seconds: float  # from the first process that was ready to the last result

    @property
    def rate(self) -> float:
        """Steps per second."""
        return self.steps / self.seconds if self.seconds else 0.0


def run_trials(
    setting: Setting, wanted: Sequence[Wanted], *, processes: int, threads: int,
    on_result: Callable[[int, TrialResult], None],
) -> Effort:
    """Run trials, calling back with the number of the policy and the result of each.

    Args:
        setting: of the trials.
        wanted: the trials, those of one policy together.
        processes: to spread them over.
        threads: CPU threads of the models in each.
        on_result: called in this process as trials end, in any order.

    Raises:
        HiwmError: a process could not do its work; the others are ended.
        KeyboardInterrupt: interrupted, or asked to end; no result is cut off half-kept.
    """
    # Forked processes would share the locks of torch's threads.
    context = multiprocessing.get_context("spawn")
    workers = []
    open_ends: list[Connection] = []
    for number in range(min(processes, len(wanted))):
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(
            target=_work, args=(setting, wanted[number::processes], threads, theirs), daemon=True
        )
        worker.start()
        theirs.close()
        workers.append(worker)
        open_ends.append(ours)
    began, steps = 0.0, 0
    interrupts = _Interrupts()
    try:
        while open_ends:
            interrupts.check()
            for end in wait(open_ends, timeout=_LOOK_S):
                assert isinstance(end, Connection)
                try:
                    message = end.recv()
                except EOFError:
                    open_ends.remove(end)
                    continue
                if isinstance(message, str):
                    raise HiwmError(message)
                if message is None:
                    began = began or time.monotonic()
                else:
                    steps += message[1].steps
                    on_result(*message)
        ended = time.monotonic()
        for worker in workers:
            worker.join()
            if worker.exitcode:
                raise DeviceError(
                    f"a process ended with code {worker.exitcode}", where="rollout",
                    remedy="run the same command again: it goes on; with fewer processes where "
                    "memory ran out",
                )
    finally:
        for worker in workers:
            worker.terminate()
        interrupts.close()
    return Effort(steps=steps, seconds=ended - began if began else 0.0)


class _Interrupts:
    """Notes SIGINT and SIGTERM, to be heeded between two results."""

    def __init__(self) -> None:
        self._noted = False
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }

    def _note(self, number: int, frame: object) -> None:
        self._noted = True

    def check(self) -> None:
        """Raise KeyboardInterrupt when one came."""
        if self._noted:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Let them do again what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _work(
    setting: Setting, wanted: Sequence[Wanted], threads: int, connection: Connection
) -> None:
    """Run trials and send None when ready, then their results; a text is an error."""
    # The first process decides what an interrupt means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
        pass  # nobody waits for the results any more
    finally:
        connection.close()
