"""A thread that reads one servo bus, so that a late or silent one never holds up the node.

What it last read, and since when that is no longer good, is all that others see. A reading is good
when every servo answered what was asked, was asked just now, stands where it can have got to since
the last one, and (where servos have clocks) its clock runs. Without good readings for
`lost_after_s` the bus is lost: the port is closed, and opened again as often as it takes; the arm
that is then there is checked again before it is believed. Held by ``test_leader_bus_reader.py``.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hiwm_core.errors import DeviceError
from hiwm_teleop.leader.servo_bus import NoAnswerError, ServoBus
from hiwm_teleop.leader.servo_models import COUNTS_PER_TURN

# How often a lost bus is tried again.
_RETRY_S = 0.2
# The first good reading comes within this of opening, or there is something wrong.
_FIRST_S = 2.0
# A bus that failed is let talk until it is quiet, so that a late answer is not taken for the next
# question's. With this and one answer thrown away after each failure, answers that are always late
# by more than the library waits are never believed: see `_read_on`.
_QUIET_S = 0.05
# Servos' clocks are asked for only this often: asking costs as much as asking for positions.
_CLOCK_S = 0.1
# The reader says itself that the arm is lost. Only where it says nothing, held up in a port that
# neither reads nor fails, is the age of its last reading held against it, this much later: a
# machine that stops for a moment stops the reader too, and no arm is lost by that.
_HELD_UP_S = 0.25
# Listeners are told of movement at most this often.
_TELL_S = 0.008
# Nobody turns a joint faster than this; 30 rad/s. What looks like it is a garbled answer whose
# checksum happens to fit: Feetech's has one byte.
_MOST_COUNTS_PER_S = 30.0 / 6.2832 * COUNTS_PER_TURN
_JITTER_COUNTS = 40.0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Positions of all servos at one moment."""

    counts: tuple[int, ...]  # in the order of the bus's servo ids
    at_s: float  # steady clock when they were asked for
    number: int  # counts readings; a new one has a new number


class BusReader:
    """Reads a bus in a thread from `start` to `stop`.

    Args:
        bus: not yet open; the reader's alone from now on.
        check: called with the bus each time it was opened; raises DeviceError where the arm that
            is there is not the one expected.
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
        self._told: tuple[int, ...] = ()
        self._told_at = 0.0
        self._latest: Reading | None = None
        self._problem = ""
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def latest(self) -> Reading | None:
        """The newest good reading, however old."""
        return self._latest

    def loss(self, now_s: float) -> str:
        """Say why there is no good reading, empty while there is one.

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
        """Open the bus and begin.

        Raises:
            DeviceError: no port, no arm, not the one expected, or no good reading.
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
        """End the thread and close the bus; may be called twice, and without `start`."""
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
                self._told = ()
                self._on_news()
            self._bus.close()
            while not self._ending.wait(_RETRY_S):
                try:
                    self._open()
                    break
                except DeviceError as error:
                    self._problem = str(error)

    def _read_on(self) -> None:
        """Publish good readings until told to end; raises DeviceError when the arm is lost.

        After a failure the next answer is thrown away. Were all answers late by more than the
        library's patience, questions would be a patience and a quiet time apart, so that the late
        answer to the one before could be taken for this one's, but never twice in a row.
        """
        clocks = _Clocks(self._lost_after)
        good_at = time.monotonic()
        before: Reading | None = None
        failures = 0  # since the last good one
        doubtful = False
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                if began - clocks.asked_at > _CLOCK_S:
                    clocks.see(self._bus.clocks(), self._bus.servo_ids, began)
                counts = self._bus.positions()
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
                if counts != self._told and began - self._told_at >= _TELL_S:
                    self._told, self._told_at = counts, began
                    self._on_news()
            self._ending.wait(max(0.0, began + self._period - time.monotonic()))


class _Clocks:
    """Whether the servos' clocks run: a servo that answers and whose clock stands is frozen."""

    def __init__(self, patience_s: float) -> None:
        self._patience = patience_s
        self._last: tuple[int, ...] = ()
        self._moved_at: list[float] = []
        self._seen_moving: list[bool] = []
        self.asked_at = float("-inf")

    @property
    def running(self) -> bool:
        """True when each clock was seen to move, or servos have none."""
        return all(self._seen_moving)

    def see(self, clocks: tuple[int, ...], servos: Sequence[int], now_s: float) -> None:
        """Take in the clocks; raises DeviceError when one has stood still for too long."""
        if not self._last:
            self._moved_at = [now_s] * len(clocks)
            self._seen_moving = [False] * len(clocks)
        for i, (clock, last) in enumerate(zip(clocks, self._last, strict=False)):
            if clock != last:
                self._moved_at[i], self._seen_moving[i] = now_s, True
            elif now_s - self._moved_at[i] > self._patience:
                raise DeviceError(
                    f"servo {servos[i]} is frozen: it answers, and its clock stands still",
                    remedy="switch the arm off and on",
                )
        self._last, self.asked_at = clocks, now_s


def check_speed(
    before: Reading, counts: tuple[int, ...], now_s: float, servos: Sequence[int]
) -> None:
    """Raise NoAnswerError where a servo says that it moved faster than a hand can."""
    most = _JITTER_COUNTS + _MOST_COUNTS_PER_S * (now_s - before.at_s)
    half = COUNTS_PER_TURN // 2
    for servo, old, new in zip(servos, before.counts, counts, strict=True):
        moved = abs((new - old + half) % COUNTS_PER_TURN - half)
        if moved > most:
            raise NoAnswerError(
                f"servo {servo} says that it jumped by {moved} counts",
                remedy="check the cable of the arm",
            )
