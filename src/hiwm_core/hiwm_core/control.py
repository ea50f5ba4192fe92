"""Who is in control: one table of modes and events, and a check that the operator is alive.

The arbiter node drives it; console and recorder only read its state. ``test_control.py`` tests that
nothing outside the table can happen, that a lost operator never gives control back to the policy,
and that a person is in control only while the deadman is held *and* fresh.

Time is the caller's steady clock, injected as a function that returns seconds. So neither a stopped
``/clock`` nor a jump of the wall clock can hide a lost operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from types import MappingProxyType


class Mode(IntEnum):
    """Who is in control. Numbers as in hiwm_interfaces/ControlState."""

    PAUSED = 0
    POLICY = 1
    HUMAN = 2
    HANDBACK = 3
    STOPPED = 4


class Source(IntEnum):
    """The source of an action. Numbers as in hiwm_interfaces/Command."""

    NONE = 0
    POLICY = 1
    HUMAN = 2
    DEMONSTRATION = 3
    HANDBACK = 4


class Event(Enum):
    """Events that may change the mode."""

    START = "start"
    PAUSE = "pause"
    STOP = "stop"
    CLEAR_STOP = "clear_stop"
    TAKE_OVER = "take_over"  # a deadman is held, fresh
    RELEASE = "release"  # released explicitly, with a policy to hand back to
    RELEASE_TO_PAUSE = "release_to_pause"  # released after a demonstration or without a policy
    OPERATOR_LOST = "operator_lost"  # the device in control has been silent for too long
    HANDBACK_DONE = "handback_done"  # the ramp has reached the policy's plan
    POLICY_FAULT = "policy_fault"  # an unusable plan


# Index = ControlRequest.request.
REQUESTS = (Event.START, Event.PAUSE, Event.STOP, Event.CLEAR_STOP)

# The only possible transitions. TAKE_OVER in HUMAN and RELEASE elsewhere are not events: the
# machine reads levels and raises events only if they change something.
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
    """Result of one event: whether it took effect, why not, and the current mode."""

    accepted: bool
    message: str
    mode: Mode


@dataclass(kw_only=True)
class ControlState:
    """The complete state of the control machine."""

    mode: Mode = Mode.PAUSED
    reason: str = "started"  # cause of this mode, as text
    notice: str = ""  # last refusal since the mode changed, as text
    device: str = ""  # device in control; empty if none
    deadman: bool = False  # last received level
    heard_at: float | None = None  # steady clock [s] of the last operator command
    demonstration: bool = False  # the device in control records demonstrations
    holding: set[str] = field(default_factory=set)  # devices with a held deadman, as last received
    barred: set[str] = field(default_factory=set)  # devices that must release before a takeover
    takeovers: int = 0
    takeover_began: float | None = None  # steady clock [s]; None once the first command was sent
    takeover_ticks: int = 0  # ticks since then
    takeover_latency_s: float = math.nan  # last takeover; NaN = none yet
    takeover_latency_ticks: int = 0
    plans_dropped: int = 0
    commands_dropped: int = 0

    @property
    def source(self) -> Source:
        """Return the source of a command sent now."""
        if self.mode is Mode.HUMAN:
            return Source.DEMONSTRATION if self.demonstration else Source.HUMAN
        return {Mode.POLICY: Source.POLICY, Mode.HANDBACK: Source.HANDBACK}.get(
            self.mode, Source.NONE
        )

    @property
    def explanation(self) -> str:
        """Return reason and last refusal as one line of text."""
        again = not self.notice or self.notice == self.reason
        return self.reason if again else f"{self.reason}; {self.notice}"


class ControlMachine:
    """Apply events to the mode by the table, and detect a lost operator.

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
        """Return a copy of the state, after a check for a lost operator."""
        self.check_operator()
        state = self._state
        return replace(state, holding=set(state.holding), barred=set(state.barred))

    @property
    def mode(self) -> Mode:
        """Return the current mode, after a check for a lost operator."""
        self.check_operator()
        return self._state.mode

    def operator_age(self) -> float:
        """Return seconds since the last operator command; -1 if there was none."""
        heard = self._state.heard_at
        return -1.0 if heard is None else self._clock() - heard

    def check_operator(self) -> bool:
        """Pause if the device in control has fallen silent; return whether this call paused."""
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
        """Apply one event. An event that is not in the table is refused and changes nothing."""
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
            # A deadman that is still held would take over at once and undo the request.
            self._state.barred = set(self._state.holding)
        elif event is Event.START:
            self._state.barred.clear()
        self._change(event, reason)
        return Transition(accepted=True, message=self._state.reason, mode=self._state.mode)

    def hear_operator(
        self, device: str, *, deadman: bool, demonstration: bool, policy_present: bool
    ) -> bool:
        """Process the levels of an operator command; return whether its device is in control.

        While one device is in control, no other device can take over or hand back.
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
                state.notice = f"{device} must release its deadman before it can take over again"
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
                    Event.RELEASE_TO_PAUSE, f"{device} released control, and no policy is running"
                )
            else:
                self._change(Event.RELEASE, f"{device} handed back")
        return state.mode is Mode.HUMAN

    def count_tick(self) -> None:
        """Count a tick of the world."""
        if self._state.takeover_began is not None:
            self._state.takeover_ticks += 1

    def count_human_command(self) -> None:
        """Record that a human action was sent; the first after a takeover ends the latency."""
        state = self._state
        if state.takeover_began is not None:
            state.takeover_latency_s = self._clock() - state.takeover_began
            state.takeover_latency_ticks = state.takeover_ticks
            state.takeover_began = None

    def drop_plan(self, notice: str = "") -> None:
        """Count a refused plan; the notice tells people what they can do."""
        self._state.plans_dropped += 1
        self._state.notice = notice or self._state.notice

    def drop_command(self, notice: str = "") -> None:
        """Count a refused operator command; the notice tells people what they can do."""
        self._state.commands_dropped += 1
        self._state.notice = notice or self._state.notice

    def _change(self, event: Event, reason: str) -> None:
        state = self._state
        state.mode = TABLE[state.mode, event]
        state.reason, state.notice = reason, ""
        if state.mode is not Mode.HUMAN:
            state.device, state.demonstration = "", False
            state.takeover_began = None
