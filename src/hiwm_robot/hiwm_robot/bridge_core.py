"""What the robot bridge decides: when a tick is due, what a command becomes, when to hold.

The node feeds it what arrives, with the steady clock's time, and sends what it answers. It never
hands out an action that did not pass the limits, and none at all unless it is running.
"""

import dataclasses
from dataclasses import dataclass, field
from enum import Enum, auto

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.limits import Limiter, LimiterState
from hiwm_robot.streams import Streams

Array = NDArray[np.float64]

SOURCE_NONE = 0  # Command.SOURCE_NONE
# An image this share of a period before its time is taken: cameras are not on the dot. Less than
# a third, so that a camera of three times the rate gives every third image.
SLACK = 0.3


class Phase(Enum):
    """Whether the robot may move."""

    INACTIVE = auto()  # nothing is sent, nothing is shown
    RESETTING = auto()  # the driver is placing the scene
    STARTING = auto()  # the first observation of an episode is awaited
    RUNNING = auto()


@dataclass(frozen=True, kw_only=True)
class Applied:
    """The target in force, and who gave it."""

    action: Array  # [A], embodiment order and units
    source: int = SOURCE_NONE
    device: str = ""


@dataclass(frozen=True, kw_only=True)
class TickPlan:
    """A tick to publish, and the hold to send with it, if any."""

    stamp_ns: int
    epoch: int
    step: int
    episode: int
    applied: Applied | None  # what led here; None on the first tick of an epoch
    hold: Array | None  # [A] to send at once, since the tick before was never answered
    shifted: bool  # the driver's clock ran backwards, and stamps were moved on


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a command, or of the lack of one."""

    send: Array | None = None  # [A] for the controllers, limited; None = send nothing
    dropped: str = ""  # why it was not used
    fault: str = ""  # why the robot was made to hold instead


@dataclass(kw_only=True)
class BridgeState:
    """All the bridge remembers of the episode."""

    phase: Phase = Phase.INACTIVE
    epoch: int = 0
    step: int = 0
    episode: int = 0
    waiting: bool = False  # a tick is out that no command has answered
    tick_stamp_ns: int = 0
    next_ns: int = 0  # stamp of the driver's from which on the next tick is due
    tick_wall: float = 0.0  # steady clock [s]
    sent_wall: float = 0.0  # steady clock of the last target sent, or of the start [s]
    measured: Array | None = None  # [A] at the tick
    limiter: LimiterState | None = None
    in_force: Applied | None = None
    sent: bool = False  # in_force answers the tick that is out
    holding: Array | None = None  # [A], where the first of a run of holds found the arms
    shift_ns: int = 0
    stale: str = ""  # why the robot holds; empty when all streams are fresh
    counts: dict[str, int] = field(default_factory=lambda: {
        "accepted": 0, "dropped": 0, "bad_actions": 0, "holds": 0, "limited": 0, "stale": 0,
    })


class BridgeCore:
    """The bridge's bookkeeping for one robot.

    Args:
        embodiment: limits, joints, cameras.
        streams: what has arrived from the drivers.
        lockstep: True when the driver waits for the answer of each observation.
        stale_after_s: age at which a stream holds the robot.
        hold_after_s: lock-step: a tick unanswered for longer is answered with a hold.
        epoch: epoch before the first episode.
        episode: number of the episode before the first one.
    """

    def __init__(
        self, *, embodiment: Embodiment, streams: Streams, lockstep: bool, stale_after_s: float,
        hold_after_s: float = 1.0, epoch: int = 0, episode: int = 0,
    ) -> None:
        self._limiter = Limiter(embodiment)
        self._streams = streams
        self._lockstep = lockstep
        self._stale_after_s = stale_after_s
        self._hold_after_s = hold_after_s
        self._full_rate = embodiment.rate_hz
        self.rate = embodiment.rate_hz
        self.state = BridgeState(epoch=epoch, episode=episode)

    # Phases

    def start(self, now: float, not_before_ns: int = 0) -> None:
        """Begin an episode with the first observation stamped at or after `not_before_ns`."""
        self._streams.require(not_before_ns)
        self.state.phase = Phase.STARTING
        self.state.waiting = False
        self.state.stale = ""
        self.state.sent_wall = now

    def begin_reset(self) -> str:
        """Stop ticks and commands while the scene is placed; returns why it cannot."""
        if self.state.phase is Phase.INACTIVE:
            return "the bridge is not active: activate it first"
        if self.state.phase is Phase.RESETTING:
            return "a reset is under way: wait for its answer"
        self.state.phase = Phase.RESETTING
        return ""

    def abandon_reset(self, now: float) -> None:
        """Go on with the episode there was; without one, begin at the next observation."""
        if self.state.phase is Phase.RESETTING:
            self.state.phase = Phase.RUNNING if self.state.in_force else Phase.STARTING
            self.state.sent_wall = now

    def stop(self) -> Array | None:
        """Become inactive; returns the position to hold, if one is known."""
        was_active = self.state.phase is not Phase.INACTIVE
        self.state.phase = Phase.INACTIVE
        self.state.waiting = False
        self.state.in_force = None
        position = self._streams.position
        return self._hold(position) if was_active and position is not None else None

    # Ticks

    def due(self, now: float, clock_ns: int | None = None) -> bool:
        """Return whether a tick can be published now; arguments as of `tick`."""
        state = self.state
        if state.phase not in (Phase.STARTING, Phase.RUNNING) or not self._streams.ready(now):
            return False
        if self._lockstep or state.phase is Phase.STARTING:
            return True
        early = state.next_ns - (self._streams.image_stamp_ns if clock_ns is None else clock_ns)
        # A clock far behind is not early, it was set back.
        return early <= SLACK * 1e9 / self.rate or early > 2e9 / self.rate

    def tick(self, now: float, clock_ns: int | None = None) -> TickPlan:
        """Make the newest observation a tick; call it when `due`.

        Args:
            now: steady clock [s].
            clock_ns: stamp for worlds paced by a timer; None takes the first camera's.
        """
        state = self.state
        position = self._streams.take()
        assert position is not None  # ready() said so
        stamp = (self._streams.image_stamp_ns if clock_ns is None else clock_ns) + state.shift_ns
        self._plan_next(stamp - state.shift_ns)
        shifted = stamp <= state.tick_stamp_ns
        if shifted:
            gap = state.tick_stamp_ns - stamp + round(1e9 / self._full_rate)
            state.shift_ns += gap
            stamp += gap
        hold = None
        if state.phase is Phase.STARTING:
            state.phase = Phase.RUNNING
            state.epoch += 1
            state.episode += 1
            state.step = 0
            state.limiter = self._limiter.initial_state()
            state.holding = None
            state.in_force = Applied(action=position)
            applied = None
        else:
            state.step += 1
            applied = state.in_force if state.sent or state.in_force is None else (
                dataclasses.replace(state.in_force, source=SOURCE_NONE, device="")
            )
            # In lock-step the driver takes a step for every command: a hold sent here would bring
            # the next tick at once, and that one the next hold. `poll` holds when patience ends.
            if state.waiting and not self._lockstep:
                hold = self._hold(position)
                state.in_force = Applied(action=hold)
        state.tick_stamp_ns = stamp
        state.tick_wall = now
        state.measured = position
        state.waiting = True
        state.sent = False
        return TickPlan(
            stamp_ns=stamp, epoch=state.epoch, step=state.step, episode=state.episode,
            applied=applied, hold=hold, shifted=shifted,
        )

    def _plan_next(self, stamp_ns: int) -> None:
        """Keep to the grid of the ticks so far, so that one late image does not cost the next."""
        period = round(1e9 / self.rate)
        late = 0 < stamp_ns - self.state.next_ns < period
        self.state.next_ns = (self.state.next_ns if late else stamp_ns) + period

    # Commands

    def command(
        self, *, epoch: int, step: int, action: ArrayLike, source: int, device: str, now: float
    ) -> Answer:
        """Return what to send for a command.

        Args:
            epoch: epoch of the tick it answers.
            step: step of the tick it answers.
            action: [A], embodiment order and units; empty with SOURCE_NONE asks for a hold.
            source: Command.SOURCE_*.
            device: who gave it.
            now: steady clock [s].
        """
        state = self.state
        dropped = self._drop_reason(epoch, step, now)
        if dropped:
            state.counts["dropped"] += 1
            return Answer(dropped=dropped)
        assert state.measured is not None and state.limiter is not None
        values = np.asarray(action, dtype=np.float64)
        if source == SOURCE_NONE and values.size == 0:
            return Answer(send=self._answer_with_hold(now))
        result = self._limiter.limit(values, state.measured, state.limiter)
        if result.held:
            state.counts["bad_actions"] += 1
            return Answer(
                send=self._answer_with_hold(now), fault=f"action of {device} {result.reason}"
            )
        state.counts["accepted"] += 1
        state.counts["limited"] += result.limited
        state.limiter = result.state
        state.holding = None
        self._answered(Applied(action=result.action, source=source, device=device), now)
        return Answer(send=result.action)

    def poll(self, now: float) -> Answer:
        """Return what the passing of time asks for: a hold, when a stream or the commander is late.

        Call it a few times a second.
        """
        state = self.state
        if state.phase not in (Phase.STARTING, Phase.RUNNING):
            return Answer()
        before = state.stale
        state.stale = self._stale_reason(now)
        if state.stale and not before:
            state.counts["stale"] += 1
            position = self._streams.position
            send = None
            if state.phase is Phase.RUNNING and position is not None:
                send = self._hold(position)
                if state.waiting:
                    self._answered(Applied(action=send), now)
            return Answer(send=send, fault=state.stale)
        late = now - state.tick_wall > self._hold_after_s
        if self._lockstep and state.waiting and late:
            return Answer(send=self._answer_with_hold(now))
        return Answer()

    def _drop_reason(self, epoch: int, step: int, now: float) -> str:
        state = self.state
        if state.phase is not Phase.RUNNING:
            return f"the bridge is {state.phase.name.lower()}"
        if epoch != state.epoch:
            return f"epoch {epoch}, now {state.epoch}"
        if step != state.step:
            return f"step {step}, now {state.step}"
        if not state.waiting:
            return f"step {step} is answered already"
        if state.stale:
            return state.stale
        if not self._lockstep and now - state.tick_wall > self._stale_after_s:
            return f"the observation is {now - state.tick_wall:.2f} s old"
        return ""

    def _stale_reason(self, now: float) -> str:
        if self._lockstep and self.state.waiting:
            return ""  # the driver waits for us: nothing is meant to come
        # In lock-step silence counts from the answer on.
        since = self.state.sent_wall if self._lockstep else 0.0
        return self._streams.stale_reason(now, since, self._stale_after_s)

    def _answer_with_hold(self, now: float) -> Array:
        assert self.state.measured is not None
        hold = self._hold(self.state.measured)
        self._answered(Applied(action=hold), now)
        return hold

    def _answered(self, applied: Applied, now: float) -> None:
        self.state.in_force = applied
        self.state.sent = True
        self.state.waiting = False
        self.state.sent_wall = now

    def _hold(self, position: Array) -> Array:
        """Return where to stay: the place the first of a run of holds found, so nothing creeps."""
        state = self.state
        state.counts["holds"] += 1
        if state.holding is None:
            state.holding = position.copy()
        state.limiter = self._limiter.initial_state()
        return state.holding
