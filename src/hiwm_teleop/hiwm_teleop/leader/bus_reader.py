"""A thread that reads one servo bus, so that a late or silent bus never blocks the node.

Other threads see only the last good reading, and whether the bus is lost. A reading is good if
every servo answered this question, is at a position it can have reached since the last reading,
and its clock runs (if it has one). Without a good reading for `lost_after_s` the bus is lost: the
port is closed and reopened until it works. The arm is checked again before its readings are used.
Tested by ``test_leader_bus_reader.py``.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hiwm_core.errors import DeviceError
from hiwm_teleop.leader.servo_bus import NoAnswerError, ServoBus
from hiwm_teleop.leader.servo_models import COUNTS_PER_TURN

# Interval between attempts to reopen a lost bus.
_RETRY_S = 0.2
# Longest wait for the first good reading after opening.
_FIRST_S = 2.0
# After a failure, the bus is drained until it is quiet, so that a late answer is not taken for the
# answer to the next question. Together with discarding one answer after each failure, this rejects
# answers that always exceed the library's timeout: see `_read_on`.
_QUIET_S = 0.05
# Interval between comparisons of the servos' clocks.
_CLOCK_S = 0.1
# The reader itself reports a lost arm. The age of its last reading counts only if the reader is
# blocked in a port that neither reads nor fails, and only after this additional time: a machine
# that stalls briefly stalls the reader too, and the arm is not lost.
_HELD_UP_S = 0.25
# Shortest interval between notifications of movement.
_NOTIFY_S = 0.008
# Nobody turns a joint faster than 30 rad/s. A faster reading is a garbled answer with a matching
# checksum: Feetech's has one byte.
_MAX_COUNTS_PER_S = 30.0 / 6.2832 * COUNTS_PER_TURN
_JITTER_COUNTS = 40.0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Positions of all servos at one time."""

    counts: tuple[int, ...]  # in the order of the bus's servo ids
    at_s: float  # steady clock when they were requested
    number: int  # sequence number of the reading


class BusReader:
    """Reads a bus in a thread from `start` to `stop`.

    Args:
        bus: not yet open; only the reader uses it from now on.
        check: called with the bus after each opening; raises DeviceError if the arm is not the
            expected one.
        period_s: between two readings, s.
        lost_after_s: without a good reading for this long the arm is lost, s.
        on_news: called from the thread when a joint has moved, and when the arm is lost or back.
    """

    def __init__(
        self, bus: ServoBus, check: Callable[[ServoBus], None], *, period_s: float,
        lost_after_s: float, on_news: Callable[[], None],
    ) -> None:
        self._bus = bus
        self._check = check
        self._period = period_s
        self._lost_after = lost_after_s
        self._on_news = on_news
        self._notified: tuple[int, ...] = ()
        self._notified_at = 0.0
        self._latest: Reading | None = None
        self._problem = ""
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def latest(self) -> Reading | None:
        """The newest good reading, however old."""
        return self._latest

    def loss(self, now_s: float) -> str:
        """Return why there is no good reading; empty while there is one.

        Args:
            now_s: steady clock, s.
        """
        latest, problem = self._latest, self._problem
        if problem:
            return problem
        if latest is None or now_s - latest.at_s > self._lost_after + _HELD_UP_S:
            return f"nothing read for too long ({self._bus.port}): check power and cable"
        return ""

    def start(self) -> None:
        """Open the bus and start the thread.

        Raises:
            DeviceError: no port, no arm, not the expected arm, or no good reading.
        """
        self._open()
        self._thread = threading.Thread(target=self._run, name="leader_bus", daemon=True)
        self._thread.start()
        end = time.monotonic() + _FIRST_S
        while self._latest is None and not self._problem and time.monotonic() < end:
            time.sleep(0.005)
        if self._latest is None:
            problem = self._problem or self.loss(time.monotonic())
            self.stop()
            raise DeviceError(problem)

    def stop(self) -> None:
        """Stop the thread and close the bus; may be called twice, and without `start`."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._bus.close()

    def _open(self) -> None:
        self._bus.open()
        try:
            self._bus.drain(_QUIET_S)
            self._check(self._bus)
        except DeviceError:
            self._bus.close()
            raise

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._read_on()
            except DeviceError as error:
                self._problem = str(error)
                self._notified = ()
                self._on_news()
            self._bus.close()
            while not self._ending.wait(_RETRY_S):
                try:
                    self._open()
                    break
                except DeviceError as error:
                    self._problem = str(error)

    def _read_on(self) -> None:
        """Publish good readings until stopped; raises DeviceError when the arm is lost.

        After a failure the next answer is discarded. If all answers exceeded the library's timeout,
        questions would be one timeout plus one quiet time apart. A late answer could then be taken
        for the answer to the next question, but never twice in a row.
        """
        clocks = _Clocks()
        good_at = time.monotonic()
        before: Reading | None = None
        failures = 0  # since the last good one
        doubtful = False
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                counts = self._bus.positions()
                if began - clocks.asked_at > _CLOCK_S:
                    clocks.see(self._bus.clocks(), self._bus.servo_ids, time.monotonic())
                if before is not None:
                    check_speed(before, counts, began, self._bus.servo_ids)
            except NoAnswerError:
                failures += 1
                if failures > 1 and time.monotonic() - good_at > self._lost_after:
                    raise
                self._bus.drain(_QUIET_S)
                doubtful = True
                continue
            if doubtful:
                doubtful = False
                continue
            if clocks.running:
                good_at, failures = began, 0
                number = self._latest.number + 1 if self._latest else 1
                before = self._latest = Reading(counts=counts, at_s=began, number=number)
                self._problem = ""
                if counts != self._notified and began - self._notified_at >= _NOTIFY_S:
                    self._notified, self._notified_at = counts, began
                    self._on_news()
            self._ending.wait(max(0.0, began + self._period - time.monotonic()))


class _Clocks:
    """Checks the servos' clocks: a servo that answers while its clock stands still is frozen."""

    def __init__(self) -> None:
        self._last: tuple[int, ...] = ()
        self.asked_at = float("-inf")
        self.running = False  # every clock was seen to advance, or servos have none

    def see(self, clocks: tuple[int, ...], servos: Sequence[int], now_s: float) -> None:
        """Compare the clocks with the previous ones; raises DeviceError if one stands still.

        The previous clocks are at least `_CLOCK_S` older, and count milliseconds.
        """
        for servo, clock, last in zip(servos, clocks, self._last, strict=False):
            if clock == last:
                raise DeviceError(
                    f"servo {servo} is frozen: it answers, but its clock stands still",
                    remedy="power-cycle the arm",
                )
        self.running = bool(self._last) or not clocks
        self._last, self.asked_at = clocks, now_s


def check_speed(
    before: Reading, counts: tuple[int, ...], now_s: float, servos: Sequence[int]
) -> None:
    """Raise NoAnswerError if a servo reports a motion faster than a hand's."""
    most = _JITTER_COUNTS + _MAX_COUNTS_PER_S * (now_s - before.at_s)
    half = COUNTS_PER_TURN // 2
    for servo, old, new in zip(servos, before.counts, counts, strict=True):
        moved = abs((new - old + half) % COUNTS_PER_TURN - half)
        if moved > most:
            raise NoAnswerError(
                f"servo {servo} reports a jump of {moved} counts",
                remedy="check the arm's cable",
            )
