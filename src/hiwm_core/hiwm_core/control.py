"""Who is in control: one table of modes and events, and the liveness of the operator.

The arbiter node drives it and the console and recorder only read what it says. Held by
``test_control.py``: what is not in the table cannot happen, a lost operator never gives control
back to the policy, and a person is in control only while the deadman is held *and* fresh.

Time is the caller's steady clock, injected as a function that returns seconds, so that neither a
stopped ``/clock`` nor a wall-clock step can keep a lost operator alive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from types import MappingProxyType


class Mode(IntEnum):
    """Who moves the world. Numbers as in hiwm_interfaces/ControlState."""

    PAUSED = 0
    POLICY = 1
    HUMAN = 2
    HANDBACK = 3
    STOPPED = 4


class Source(IntEnum):
    """Where an action came from. Numbers as in hiwm_interfaces/Command."""

    NONE = 0
    POLICY = 1
    HUMAN = 2
    DEMONSTRATION = 3
    HANDBACK = 4


class Event(Enum):
    """What may change the mode."""

    START = "start"
    PAUSE = "pause"
    STOP = "stop"
    CLEAR_STOP = "clear_stop"
    TAKE_OVER = "take_over"  # a deadman is held, fresh
    RELEASE = "release"  # it is explicitly let go, and a policy is there to hand back to
    RELEASE_TO_PAUSE = "release_to_pause"  # let go after a demonstration, or without a policy
    OPERATOR_LOST = "operator_lost"  # nothing heard from the device in control for too long
    HANDBACK_DONE = "handback_done"  # the ramp has reached the policy's plan
    POLICY_FAULT = "policy_fault"  # a plan that cannot be used


# Index = ControlRequest.request.
REQUESTS = (Event.START, Event.PAUSE, Event.STOP, Event.CLEAR_STOP)

# The only transitions there are. TAKE_OVER in HUMAN and RELEASE elsewhere are no events: the
# machine looks at levels and raises them only where they change something.
TABLE: MappingProxyType[tuple[Mode, Event], Mode] = MappingProxyType(
    {
        (Mode.PAUSED, Event.START): Mode.POLICY,
        (Mode.PAUSED, Event.PAUSE): Mode.PAUSED,
        (Mode.POLICY, Event.PAUSE): Mode.PAUSED,
        (Mode.HUMAN, Event.PAUSE): Mode.PAUSED,
        (Mode.HANDBACK, Event.PAUSE): Mode.PAUSED,
        (Mode.PAUSED, Event.STOP): Mode.STOPPED,
        (Mode.POLICY, Event.STOP): Mode.STOPPED,
        (Mode.HUMAN, Event.STOP): Mode.STOPPED,
        (Mode.HANDBACK, Event.STOP): Mode.STOPPED,
        (Mode.STOPPED, Event.STOP): Mode.STOPPED,
        (Mode.STOPPED, Event.CLEAR_STOP): Mode.PAUSED,
        (Mode.PAUSED, Event.TAKE_OVER): Mode.HUMAN,
        (Mode.POLICY, Event.TAKE_OVER): Mode.HUMAN,
        (Mode.HANDBACK, Event.TAKE_OVER): Mode.HUMAN,
        (Mode.HUMAN, Event.RELEASE): Mode.HANDBACK,
        (Mode.HUMAN, Event.RELEASE_TO_PAUSE): Mode.PAUSED,
        (Mode.HUMAN, Event.OPERATOR_LOST): Mode.PAUSED,
        (Mode.HANDBACK, Event.HANDBACK_DONE): Mode.POLICY,
        (Mode.POLICY, Event.POLICY_FAULT): Mode.PAUSED,
        (Mode.HANDBACK, Event.POLICY_FAULT): Mode.PAUSED,
    }
)


@dataclass(frozen=True, kw_only=True)
class Transition:
    """Answer to one event: whether it took effect, why not, and the mode in force."""

    accepted: bool
    message: str
    mode: Mode


@dataclass(kw_only=True)
class ControlState:
    """All the control machine remembers."""

    mode: Mode = Mode.PAUSED
    reason: str = "started"  # what led to this mode, for people
    notice: str = ""  # last refusal since the mode changed, for people
    device: str = ""  # device in control; empty when none
    deadman: bool = False  # level as last heard
    heard_at: float | None = None  # steady clock [s] of the last operator command
    demonstration: bool = False  # the device in control records demonstrations
    holding: set[str] = field(default_factory=set)  # devices whose deadman was last heard held
    barred: set[str] = field(default_factory=set)  # devices that must let go before a takeover
    takeovers: int = 0
    takeover_began: float | None = None  # steady clock [s]; None once the first command was sent
    takeover_ticks: int = 0  # ticks since then
    takeover_latency_s: float = math.nan  # last takeover; NaN = none yet
    takeover_latency_ticks: int = 0
    plans_dropped: int = 0
    commands_dropped: int = 0

    @property
    def source(self) -> Source:
        """Return the source a command would carry now."""
        if self.mode is Mode.HUMAN:
            return Source.DEMONSTRATION if self.demonstration else Source.HUMAN
        return {Mode.POLICY: Source.POLICY, Mode.HANDBACK: Source.HANDBACK}.get(
            self.mode, Source.NONE
        )

    @property
    def explanation(self) -> str:
        """Return reason and last refusal as one line for people."""
        return f"{self.reason}; {self.notice}" if self.notice else self.reason


class ControlMachine:
    """Apply events to the mode by the table, and watch the operator's liveness.

    ``operator_timeout_s``: seconds of silence after which the device in control is lost.
    ``clock``: steady seconds.
    """

    def __init__(
        self, *, operator_timeout_s: float, clock: Callable[[], float], start_mode: Mode
    ) -> None:
        if start_mode not in (Mode.PAUSED, Mode.POLICY):
            raise ValueError(f"start mode {start_mode.name} (control): use PAUSED or POLICY")
        self._timeout = operator_timeout_s
        self._clock = clock
        self._state = ControlState(mode=start_mode, reason=f"started in {start_mode.name}")

    @property
    def state(self) -> ControlState:
        """Return a copy of the state, with no lost operator still in control."""
        self.check_operator()
        state = self._state
        return replace(state, holding=set(state.holding), barred=set(state.barred))

    @property
    def mode(self) -> Mode:
        """Return the mode in force, with no lost operator still in control."""
        self.check_operator()
        return self._state.mode

    def operator_age(self) -> float:
        """Return seconds since the last operator command; -1 when there was none."""
        heard = self._state.heard_at
        return -1.0 if heard is None else self._clock() - heard

    def check_operator(self) -> bool:
        """Pause when the device in control fell silent; return whether that happened now."""
        age = self.operator_age()
        if self._state.mode is not Mode.HUMAN or age <= self._timeout:
            return False
        device = self._state.device
        self._change(
            Event.OPERATOR_LOST,
            f"{device} was in control and has been silent for {age:.2f} s; "
            "take over again or start the policy",
        )
        return True

    def fire(self, event: Event, reason: str) -> Transition:
        """Apply one event. What the table does not hold is refused and changes nothing."""
        self.check_operator()
        mode = self._state.mode
        if (mode, event) not in TABLE:
            possible = [request.value for request in REQUESTS if (mode, request) in TABLE]
            return Transition(
                accepted=False,
                message=f"{event.value} is not possible in {mode.name} (control): "
                f"possible requests now: {', '.join(possible)}",
                mode=mode,
            )
        if event in (Event.PAUSE, Event.STOP, Event.CLEAR_STOP):
            # A deadman still held would take over again at once and undo the request.
            self._state.barred = set(self._state.holding)
        elif event is Event.START:
            self._state.barred.clear()
        self._change(event, reason)
        return Transition(accepted=True, message=self._state.reason, mode=self._state.mode)

    def hear_operator(
        self, device: str, *, deadman: bool, demonstration: bool, policy_present: bool
    ) -> bool:
        """Take in one operator command by its levels; return whether its device is in control.

        While one device is in control no other one can take over or hand back.
        """
        self.check_operator()
        state = self._state
        if deadman:
            state.holding.add(device)
        else:
            state.holding.discard(device)
            state.barred.discard(device)
        if state.mode is Mode.HUMAN and device != state.device:
            if deadman:
                self.drop_command(f"{device} was ignored while {state.device} is in control")
            return False
        state.heard_at = self._clock()
        state.deadman = deadman
        if deadman:
            if device in state.barred:
                state.notice = f"{device} must let go of its deadman before it can take over again"
            elif (state.mode, Event.TAKE_OVER) in TABLE:
                state.device, state.demonstration = device, demonstration
                state.takeovers += 1
                state.takeover_began, state.takeover_ticks = state.heard_at, 0
                self._change(Event.TAKE_OVER, f"{device} took over")
            if state.mode is Mode.HUMAN:
                state.demonstration = demonstration
        elif state.mode is Mode.HUMAN:
            if state.demonstration:
                self._change(Event.RELEASE_TO_PAUSE, f"{device} ended its demonstration")
            elif not policy_present:
                self._change(
                    Event.RELEASE_TO_PAUSE, f"{device} let go and no policy runs to hand back to"
                )
            else:
                self._change(Event.RELEASE, f"{device} handed back")
        return state.mode is Mode.HUMAN

    def count_tick(self) -> None:
        """Note that the world published a tick."""
        if self._state.takeover_began is not None:
            self._state.takeover_ticks += 1

    def count_human_command(self) -> None:
        """Note that a human action was sent; the first one after a takeover ends its latency."""
        state = self._state
        if state.takeover_began is not None:
            state.takeover_latency_s = self._clock() - state.takeover_began
            state.takeover_latency_ticks = state.takeover_ticks
            state.takeover_began = None

    def drop_plan(self, notice: str = "") -> None:
        """Count a refused plan, and say why where people can do something about it."""
        self._state.plans_dropped += 1
        self._state.notice = notice or self._state.notice

    def drop_command(self, notice: str = "") -> None:
        """Count a refused operator command, and say why where people can mend it."""
        self._state.commands_dropped += 1
        self._state.notice = notice or self._state.notice

    def _change(self, event: Event, reason: str) -> None:
        state = self._state
        state.mode = TABLE[state.mode, event]
        state.reason, state.notice = reason, ""
        if state.mode is not Mode.HUMAN:
            state.device, state.demonstration = "", False
            state.takeover_began = None
