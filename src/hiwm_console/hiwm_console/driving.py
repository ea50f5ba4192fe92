"""From what the driver's page says to what the arbiter hears, and when.

The rules, held by the property tests of `test_driving.py`:

- The deadman is a level and has an age: nothing is sent as held unless the page said so within
  `FRESH_S`, over a connection that is not late by more than that.
- A page that falls silent, comes late or says it is hidden loses control: the session is asked to
  pause, and the page must let go once before it can take over again. Nothing hands back to the
  policy but a deadman let go by a page that is there.
- A key pressed and let go between two commands still moves for one of them.

In lock-step a world waits for the command of its tick. The command is sent as late as the tick's
period allows, so that what a person does now shows in the very next frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hiwm_core.control import Mode

DEVICE = "console"
# Silence or lateness after which the page has lost control. What remains to 0.3 s is for noticing
# (the hub looks every 20 ms) and for the request to the arbiter.
FRESH_S = 0.25
# A command is sent so long before the next frame is due: a world model's step on two busy cores.
LEAD_S = 0.025
# While a world makes no ticks, the arbiter hears this often that the operator is still there; its
# own patience is 0.5 s.
REPEAT_S = 0.2
# A takeover that the arbiter has not granted by then was refused.
_GRANT_S = 1.0
# The smallest delay seen in two such spans is the connection's own; more is lateness. Clocks drift
# apart by less than a millisecond in one.
_SPAN_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Command:
    """Tell the arbiter."""

    deadman: bool
    axes: tuple[float, ...]
    epoch: int
    step: int
    t: float  # page's stamp of the newest message in it, ms
    demonstration: bool = False  # recorded as a demonstration, not as a correction


@dataclass(frozen=True)
class Pause:
    """Ask the arbiter to pause."""

    reason: str


@dataclass(frozen=True)
class Released:
    """Tell the page that it no longer has control."""

    reason: str


Output = Command | Pause | Released


class _State(Enum):
    IDLE = "idle"
    HELD = "held"
    HANDING_BACK = "handing back"
    MUTED = "muted"  # lost: silent until the arbiter has taken control away


class Lateness:
    """How much later than its fastest messages a page's newest came, s."""

    def __init__(self) -> None:
        self._best: list[float] = []
        self._until = float("-inf")

    def of(self, t_ms: float, now: float) -> float:
        """Return the lateness of a message with the page's stamp, arrived now."""
        delay = now - t_ms / 1e3
        if now >= self._until:
            self._best = [*self._best[-1:], delay]
            self._until = now + _SPAN_S
        self._best[-1] = min(self._best[-1], delay)
        return delay - min(self._best)


class Driving:
    """Turns the driver's messages into outputs; times are steady seconds, passed in."""

    def __init__(self) -> None:
        self._state = _State.IDLE
        self._mode = Mode.PAUSED
        self._device = ""
        self._granted = False  # the arbiter has confirmed us since we took over
        self._must_let_go = False
        self._why = ""
        self._lateness = Lateness()
        self._heard_at = float("-inf")
        self._began = 0.0
        self._late = 0.0
        self._t = -1.0
        self._demonstration = False
        self._current: tuple[float, ...] = ()
        self._latched: tuple[float, ...] = ()
        self._used: tuple[float, ...] = ()
        self._changed = False
        self._tick: tuple[int, int] | None = None
        self._answer_at = 0.0
        self._answered = True
        self._lockstep = True
        self._sent_at = float("-inf")

    @property
    def holding(self) -> bool:
        """Whether the driver holds control."""
        return self._state is _State.HELD

    def begin(self) -> None:
        """Forget the page that drove before; call it when another one takes the seat."""
        self._lateness = Lateness()
        self._t = -1.0
        self._must_let_go = False
        self._current = self._latched = ()

    def hear(
        self, axes: Sequence[float], deadman: bool, t: float, now: float, *,
        demonstration: bool = False,
    ) -> str:
        """Take a drive message; return why it was refused, or nothing."""
        if t < self._t:
            return "drive: t runs backwards"
        self._late = self._lateness.of(t, now)
        self._t, self._heard_at = t, now
        self._demonstration = demonstration
        current = tuple(axes)
        if len(current) != len(self._latched):
            self._latched = (0.0,) * len(current)
        self._latched = tuple(
            new if abs(new) >= abs(old) else old
            for new, old in zip(current, self._latched, strict=True)
        )
        self._changed |= current != self._current
        self._current = current
        if not deadman:
            self._must_let_go = False
            if self._state is _State.HELD:
                self._state = _State.HANDING_BACK
        elif (
            self._state is _State.IDLE and not self._must_let_go and self._late <= FRESH_S
            and self._tick is not None  # before the first tick there is nothing to control
        ):
            self._state, self._granted, self._began = _State.HELD, False, now
            self._answered, self._answer_at = False, now
            self._latched = current
        return ""

    def lose(self, why: str) -> list[Output]:
        """Control is lost, or thrown away: return what to do about it."""
        if self._state is not _State.HELD:
            self._must_let_go = True
            return []
        self.drop()
        return [Pause(why), Released(why)]

    def drop(self) -> None:
        """Fall silent without asking for anything: a pause or stop is under way already."""
        if self._state in (_State.HELD, _State.HANDING_BACK):
            self._state, self._must_let_go = _State.MUTED, True

    def on_control(self, mode: Mode, device: str, reason: str) -> list[Output]:
        """Hear from the arbiter who is in control."""
        self._mode, self._device, self._why = mode, device, reason
        ours = mode is Mode.HUMAN and device == DEVICE
        if ours:
            self._granted = True
        elif self._state is _State.HELD and self._granted:
            # Somebody paused, or the arbiter lost us: never fight for it.
            self._must_let_go = True
            self._state = _State.MUTED
            return [Released(reason)]
        return []

    def on_tick(
        self, epoch: int, step: int, *, period_s: float, lockstep: bool, now: float
    ) -> None:
        """Hear of a new tick: `period_s` until the next one is due, 0 = at once."""
        if self._tick == (epoch, step):
            return
        self._tick, self._lockstep = (epoch, step), lockstep
        self._answered = False
        wait = period_s - LEAD_S if lockstep and self._granted else 0.0
        self._answer_at = now + max(0.0, wait)

    def take(self, now: float) -> list[Output]:
        """Return what is due now."""
        if self._state is _State.HELD:
            age = now - self._heard_at
            if age > FRESH_S:
                return self.lose(f"the page in control has been silent for {age:.2f} s")
            if self._late > FRESH_S:
                return self.lose(f"the page in control is late by {self._late:.2f} s")
            if not self._granted and now - self._began > _GRANT_S:
                self.drop()
                return [Released(self._why or "the arbiter does not answer")]
        if self._tick is None:
            return []
        if self._state is _State.HELD:
            return self._held(now)
        if self._state is _State.HANDING_BACK or (
            self._state is _State.MUTED
            and not (self._mode is Mode.HUMAN and self._device == DEVICE)
        ):
            # Said once, also after a pause: the arbiter wants to see the deadman let go.
            self._state = _State.IDLE
            return [self._command(deadman=False, now=now)]
        return []

    def due(self, now: float) -> float | None:
        """Return when `take` has something to say next, or None while only events can tell."""
        if self._state is not _State.HELD or self._tick is None:
            return None
        if not self._answered:
            return self._answer_at
        return self._sent_at + REPEAT_S

    def _held(self, now: float) -> list[Output]:
        streams = not self._lockstep and self._changed
        if (not self._answered and now >= self._answer_at) or streams:
            self._answered, self._changed = True, False
            self._used = tuple(
                new or latched for new, latched in zip(self._current, self._latched, strict=True)
            )
            self._latched = self._current
            return [self._command(deadman=True, now=now)]
        if self._answered and now - self._sent_at >= REPEAT_S:
            return [self._command(deadman=True, now=now)]
        return []

    def _command(self, *, deadman: bool, now: float) -> Command:
        epoch, step = self._tick or (0, 0)
        self._sent_at = now
        return Command(
            deadman=deadman, axes=self._used if deadman else (), epoch=epoch, step=step, t=self._t,
            demonstration=self._demonstration,
        )
