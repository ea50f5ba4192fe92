"""Converts the driver's messages to operator commands, and decides when to send them.

The rules, tested by the property tests of `test_page_commands.py`:

- The deadman is a level with an age: it is sent as held only if the page reported it within
  `FRESH_S`, over a connection that is not late by more than that.
- A page that falls silent, is late or reports that it is hidden loses control: a pause is
  requested, and the page must release the deadman before it can take over again. Only a deadman
  released by a live page hands back to the policy.
- A key pressed and released between two commands still moves the arm for one of them.

In lock-step a world waits for the command of its tick. The command is sent as late as the tick's
period allows, so that the person's current input shows in the very next frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hiwm_console.protocol import HandPose
from hiwm_core.control import Mode

DEVICE = "console"
# Silence or lateness after which the page loses control. The remaining time to 0.3 s is for
# detection (the hub checks every 20 ms) and for the request to the arbiter.
FRESH_S = 0.25
# A command is sent this long before the next frame is due: a world model's step on two busy cores.
LEAD_S = 0.025
# While a world makes no ticks, commands are repeated at this interval to show that the operator is
# present; the arbiter's timeout is 0.5 s.
REPEAT_S = 0.2
# A takeover that the arbiter has not granted after this time counts as refused.
_GRANT_S = 1.0
# The smallest delay in two such spans is the connection's own; any more is lateness. Clocks drift
# by less than a millisecond per span.
_SPAN_S = 15.0


@dataclass(frozen=True, kw_only=True)
class DriveSettings:
    """How a page's axes move the arms."""

    frame: str = "base"  # of tips' axes
    speed: float = 1.0  # share of full speed
    hands: tuple[HandPose, ...] = ()  # of a headset, instead of axes


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command for the arbiter."""

    deadman: bool
    axes: tuple[float, ...]
    settings: DriveSettings = DriveSettings()
    epoch: int
    step: int
    t: float  # the page's stamp of the newest message in it, ms
    demonstration: bool = False  # recorded as a demonstration, not as a correction


@dataclass(frozen=True)
class Pause:
    """A pause request for the arbiter."""

    reason: str


@dataclass(frozen=True)
class Released:
    """Notice to the page that it has lost control."""

    reason: str


Output = Command | Pause | Released


class _State(Enum):
    IDLE = "idle"
    HELD = "held"
    HANDING_BACK = "handing back"
    MUTED = "muted"  # lost: silent until the arbiter has ended our control


class Lateness:
    """Delay of a page's newest message relative to its fastest ones, s."""

    def __init__(self) -> None:
        self._best: list[float] = []
        self._until = float("-inf")

    def of(self, t_ms: float, now: float) -> float:
        """Return the lateness of a message with the page's stamp that arrived now."""
        delay = now - t_ms / 1e3
        if now >= self._until:
            self._best = [*self._best[-1:], delay]
            self._until = now + _SPAN_S
        self._best[-1] = min(self._best[-1], delay)
        return delay - min(self._best)


class PageCommands:
    """Converts the driver's messages to outputs; times are steady seconds, passed in."""

    def __init__(self) -> None:
        self._state = _State.IDLE
        self._mode = Mode.PAUSED
        self._device = ""
        self._granted = False  # the arbiter has confirmed our takeover
        self._must_release = False
        self._why = ""
        self._lateness = Lateness()
        self._received_at = float("-inf")
        self._began = 0.0
        self._late = 0.0
        self._t = -1.0
        self._demonstration = False
        self._settings = self._used_settings = DriveSettings()
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

    def begin(self, *, must_release: bool = False) -> None:
        """Forget the previous driver's page; call this when another one takes the seat.

        `must_release`: the new page held the deadman before; it must release it and press again.
        """
        self._lateness = Lateness()
        self._t = -1.0
        self._must_release = must_release
        self._current = self._latched = ()

    def receive(
        self, axes: Sequence[float], deadman: bool, t: float, now: float, *,
        demonstration: bool = False, settings: DriveSettings = DriveSettings(),  # noqa: B008 - frozen
    ) -> str:
        """Process a drive message; return why it was refused, or nothing."""
        if t < self._t:
            return "drive: t goes backwards"
        self._late = self._lateness.of(t, now)
        self._t, self._received_at = t, now
        self._changed |= settings != self._settings
        self._demonstration, self._settings = demonstration, settings
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
            self._must_release = False
            if self._state is _State.HELD:
                self._state = _State.HANDING_BACK
        elif (
            self._state is _State.IDLE and not self._must_release and self._late <= FRESH_S
            and self._tick is not None  # before the first tick there is nothing to control
        ):
            self._state, self._granted, self._began = _State.HELD, False, now
            self._answered, self._answer_at = False, now
            self._latched = current
        return ""

    def lose(self, why: str) -> list[Output]:
        """Give up control without handing back; return the resulting outputs."""
        if self._state is not _State.HELD:
            self._must_release = True
            return []
        self.drop()
        return [Pause(why), Released(why)]

    def drop(self) -> None:
        """Fall silent without a request: a pause or stop has been requested already."""
        if self._state in (_State.HELD, _State.HANDING_BACK):
            self._state, self._must_release = _State.MUTED, True

    def on_control(self, mode: Mode, device: str, reason: str) -> list[Output]:
        """Process the arbiter's control state."""
        self._mode, self._device, self._why = mode, device, reason
        ours = mode is Mode.HUMAN and device == DEVICE
        if ours:
            self._granted = True
        elif self._state is _State.HELD and self._granted:
            # Somebody paused, or the arbiter timed us out: do not fight for control.
            self._must_release = True
            self._state = _State.MUTED
            return [Released(reason)]
        return []

    def on_tick(
        self, epoch: int, step: int, *, period_s: float, lockstep: bool, now: float
    ) -> None:
        """Process a new tick; the next one is due in `period_s`, 0 = immediately."""
        if self._tick == (epoch, step):
            return
        self._tick, self._lockstep = (epoch, step), lockstep
        self._answered = False
        wait = period_s - LEAD_S if lockstep and self._granted else 0.0
        self._answer_at = now + max(0.0, wait)

    def take(self, now: float) -> list[Output]:
        """Return the outputs due now."""
        if self._state is _State.HELD:
            age = now - self._received_at
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
            # Sent once, also after a pause: the arbiter must see the deadman released.
            self._state = _State.IDLE
            return [self._command(deadman=False, now=now)]
        return []

    def due(self, now: float) -> float | None:
        """Return when `take` will next have an output; None if that depends on events."""
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
            self._latched, self._used_settings = self._current, self._settings
            return [self._command(deadman=True, now=now)]
        if self._answered and now - self._sent_at >= REPEAT_S:
            return [self._command(deadman=True, now=now)]
        return []

    def _command(self, *, deadman: bool, now: float) -> Command:
        epoch, step = self._tick or (0, 0)
        self._sent_at = now
        return Command(
            deadman=deadman, axes=self._used if deadman else (), epoch=epoch, step=step, t=self._t,
            demonstration=self._demonstration, settings=self._used_settings,
        )
