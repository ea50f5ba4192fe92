"""Closes, audits or recovers a bag after its last message, off the recording thread.

Closing waits until the whole bag is on the disk, and an audit reads all of it. Both would delay the
messages of the next segment.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hiwm_core.bags.audit import Audit, audit_bag
from hiwm_core.bags.contents import errors_of
from hiwm_core.bags.disk import disk_refusal
from hiwm_core.bags.recover import recover_bag
from hiwm_core.errors import HiwmError


@dataclass(frozen=True, kw_only=True)
class FinishedBag:
    """A bag with its audit, or with the reason why there is none."""

    path: Path
    audit: Audit | None
    error: str = ""
    refused: str = ""  # why the disk did not take its end


@dataclass(frozen=True, kw_only=True)
class _Task:
    bag: Path
    whole: bool
    close: Callable[[], None] | None


class BagFinisher:
    """Closes and audits bags, and recovers broken ones, in its own thread."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[FinishedBag] = queue.SimpleQueue()
        self._broken: list[Path] = []
        self._open = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="bag-finisher", daemon=True)
        self._thread.start()

    def finish(
        self, bag: Path, *, whole: bool, close: Callable[[], None] | None = None
    ) -> None:
        """Audit a bag, or recover one that is not whole.

        Args:
            bag: its folder.
            whole: False if the disk refused its end.
            close: called first, as of `ClosedBag`; None for a bag that is closed.
        """
        with self._changed:
            self._open += 1
        self._todo.put(_Task(bag=bag, whole=whole, close=close))

    def retry_broken(self) -> None:
        """Retry bags whose recovery failed, for example on a full disk."""
        with self._changed:
            broken, self._broken = self._broken, []
        for bag in broken:
            self.finish(bag, whole=False)

    def take_finished(self) -> Sequence[FinishedBag]:
        """Return the bags finished since the last call."""
        finished = []
        while True:
            try:
                finished.append(self._done.get_nowait())
            except queue.Empty:
                return finished

    def drain(self, timeout_s: float) -> bool:
        """Wait until all bags are finished; return False on timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open == 0, timeout_s)

    def close(self) -> None:
        """Finish the queued bags and stop the thread."""
        self._todo.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (todo := self._todo.get()) is not None:
            self._done.put(self._closed(todo) or self._finished(todo.bag, todo.whole))
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _closed(self, task: _Task) -> FinishedBag | None:
        """Close a bag; return None unless the disk refuses."""
        if task.close is None:
            return None
        try:
            task.close()
        except OSError as error:
            with self._changed:
                self._broken.append(task.bag)
            return FinishedBag(
                path=task.bag, audit=None, refused=disk_refusal(error, task.bag),
                error=f"{task.bag.name} could not be closed, and is recovered once there is space",
            )
        return None

    def _finished(self, bag: Path, whole: bool) -> FinishedBag:
        audit: Audit | None = None
        try:
            with errors_of(bag):
                if not whole:
                    return FinishedBag(path=bag, audit=recover_bag(bag))
                audit = audit_bag(bag)
                audit.save(bag)
                return FinishedBag(path=bag, audit=audit)
        except OSError as error:
            if whole:
                # The audit is valid even if the disk has no space to save it.
                return FinishedBag(
                    path=bag, audit=audit, error=f"{bag.name}: audit not saved: {error.strerror}"
                )
            with self._changed:
                self._broken.append(bag)
            return FinishedBag(
                path=bag, audit=None,
                error=f"{bag.name} is left unchanged, and is recovered once there is space",
            )
        except HiwmError as error:
            return FinishedBag(path=bag, audit=audit, error=str(error))
