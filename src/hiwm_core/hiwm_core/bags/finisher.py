"""Audits or recovers a bag after its last message, off the recording thread.

An audit reads the whole file, which would delay the messages of the next segment.
"""

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hiwm_core.bags.audit import Audit, audit_bag
from hiwm_core.bags.contents import errors_of
from hiwm_core.bags.recover import recover_bag
from hiwm_core.errors import HiwmError


@dataclass(frozen=True, kw_only=True)
class FinishedBag:
    """A bag with its audit, or with the reason why there is none."""

    path: Path
    audit: Audit | None
    error: str = ""


class BagFinisher:
    """Audits closed bags and recovers broken ones in its own thread."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[tuple[Path, bool] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[FinishedBag] = queue.SimpleQueue()
        self._broken: list[Path] = []
        self._open = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="bag-finisher", daemon=True)
        self._thread.start()

    def finish(self, bag: Path, *, whole: bool) -> None:
        """Audit a closed bag, or recover one that is not whole."""
        with self._changed:
            self._open += 1
        self._todo.put((bag, whole))

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
            bag, whole = todo
            self._done.put(self._finished(bag, whole))
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

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
