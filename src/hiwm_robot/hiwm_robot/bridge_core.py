"""The robot bridge's decisions: when a tick is due, what to send for a command, when to hold.

The node passes in what arrives, with steady-clock time, and sends what this module returns. It
returns only limited actions, and none unless the bridge is running.
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.limits import Limiter
from hiwm_core.robots.safety import Activation
from hiwm_core.workspace_check import WorkspaceCheck, leaves_workspace
from hiwm_robot.bridge_state import SOURCE_NONE, Answer, Applied, BridgeState, Phase, TickPlan
from hiwm_robot.first_step import FirstStep
from hiwm_robot.streams import Streams

Array = NDArray[np.float64]

# An image may be early by this share of a period: cameras jitter. Less than a third, so that of a
# camera at three times the rate every third image is used.
SLACK = 0.3
# The same by the steady clock, which bounds only the mean rate: stamps may lie. Regular images come
# early by as much as the one that began the grid was late.
STEADY_SLACK = 1.0


class BridgeCore:
    """The bridge's bookkeeping for one robot.

    Args:
        embodiment: limits, joints, cameras.
        streams: what has arrived from the drivers.
        lockstep: True if the driver waits for a command after each observation.
        stale_after_s: a command that answers an older tick is dropped.
        activation: bounds on the first steps of an epoch.
        holds_last: [A] bool, entries whose hold is the last target; the others hold the measured
            position.
        epoch: epoch before the first episode.
        episode: number of the episode before the first one.
    """

    def __init__(
        self, *, embodiment: Embodiment, streams: Streams, lockstep: bool, stale_after_s: float,
        activation: Activation, holds_last: NDArray[np.bool_], epoch: int = 0, episode: int = 0,
    ) -> None:
        self._limiter = Limiter(embodiment)
        self._first_step = FirstStep(embodiment, activation)
        self._holds_last = holds_last
        self.workspace: WorkspaceCheck | None = None  # the last check of a target
        self._streams = streams
        self._lockstep = lockstep
        self._stale_after_s = stale_after_s
        self._full_rate = embodiment.rate_hz
        self.rate = embodiment.rate_hz
        self.state = BridgeState(epoch=epoch, episode=episode)

    # Phases

    def start(self, now: float, not_before_ns: int = 0) -> None:
        """Start an episode with the first observation stamped at or after `not_before_ns`."""
        # In lock-step the driver shows the same observation until a command comes.
        self._streams.require(not_before_ns, again=self._lockstep)
        self.state.phase = Phase.STARTING
        self.state.waiting = False
        self.state.stale = ""
        self.state.sent_wall = now

    def begin_reset(self) -> str:
        """Stop ticks and commands while the scene is placed; return a reason if that fails."""
        if self.state.phase is Phase.INACTIVE:
            return "the bridge is not active: activate it first"
        if self.state.phase is Phase.RESETTING:
            return "a reset is running: wait for its response"
        if self.state.phase is Phase.STOPPED:
            return f"the robot is stopped: {self.state.tripped}; call world/rearm first"
        self.state.phase = Phase.RESETTING
        return ""

    def abandon_reset(self, now: float) -> None:
        """Continue the previous episode; without one, start with the next observation."""
        if self.state.phase is Phase.RESETTING:
            self.state.phase = Phase.RUNNING if self.state.in_force else Phase.STARTING
            self.state.sent_wall = now

    def stop(self) -> Array | None:
        """Become inactive; return the position to hold, if known."""
        was_active = self.state.phase is not Phase.INACTIVE
        self.state.phase = Phase.INACTIVE
        self.state.waiting = False
        position = self._streams.position
        hold = self._hold(position) if was_active and position is not None else None
        self.state.in_force = None
        self.state.tripped = ""
        return hold

    def trip(self, reason: str) -> Array | None:
        """Stop until a person re-arms; return the position to hold, if the robot may be moving.

        The tick that waits is never answered, and every later command is of an older epoch.
        """
        state = self.state
        if state.phase in (Phase.INACTIVE, Phase.STOPPED):
            return None
        state.phase = Phase.STOPPED
        state.tripped = reason
        state.waiting = False
        state.counts["trips"] += 1
        position = self._streams.position
        return None if position is None else self._hold(position)

    def rearm(self, now: float) -> str:
        """Start a new epoch after a stop; return a reason if there is none to end."""
        if self.state.phase is not Phase.STOPPED:
            return "the bridge is not stopped"
        self.state.tripped = ""
        self.start(now)
        return ""

    # Ticks

    def due(self, now: float, clock_ns: int | None = None) -> bool:
        """Return whether a tick can be published now; arguments as in `tick`."""
        return self.expected(now, clock_ns) and self._streams.paired(now)

    def expected(self, now: float, clock_ns: int | None = None) -> bool:
        """Return whether a tick is due, or waits only for joint states; arguments as in `tick`."""
        state = self.state
        if state.phase not in (Phase.STARTING, Phase.RUNNING) or not self._streams.unused:
            return False
        if self._stale_reason(now):
            return False
        if state.phase is Phase.STARTING:
            return True
        if self._lockstep:
            return not state.waiting
        if state.next_wall - now > STEADY_SLACK / self.rate:
            return False  # whatever the stamps say
        early = state.next_ns - (self._streams.image_stamp_ns if clock_ns is None else clock_ns)
        # A stamp far before its time is not early: the clock was set back.
        return early <= SLACK * 1e9 / self.rate or early > 2e9 / self.rate

    def tick(self, now: float, clock_ns: int | None = None) -> TickPlan:
        """Make a tick from the newest observation; call it when `due`.

        Args:
            now: steady clock [s].
            clock_ns: stamp for worlds paced by a timer; None uses the first camera's.
        """
        state = self.state
        state.stale = self._stale_reason(now)  # or the answer to this tick would be dropped
        position = self._streams.take()
        assert position is not None  # checked by ready()
        stamp = (self._streams.image_stamp_ns if clock_ns is None else clock_ns) + state.shift_ns
        self._plan_next(stamp - state.shift_ns, now)
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
            state.began_wall = now
            state.moved = False
            state.in_force = Applied(action=position)
            applied = None
        else:
            state.step += 1
            applied = state.in_force if state.sent or state.in_force is None else (
                dataclasses.replace(state.in_force, source=SOURCE_NONE, device="", note="")
            )
            if state.waiting:
                hold = self._hold(position)
                state.in_force = Applied(action=hold)
        unknown = applied is None or shifted
        period_s = 0.0 if unknown else (stamp - state.tick_stamp_ns) * 1e-9
        state.tick_stamp_ns = stamp
        state.tick_wall = now
        state.measured = position
        state.waiting = True
        state.sent = False
        return TickPlan(
            stamp_ns=stamp, epoch=state.epoch, step=state.step, episode=state.episode,
            applied=applied, hold=hold, shifted=shifted, period_s=period_s,
        )

    def _plan_next(self, stamp_ns: int, now: float) -> None:
        """Stay on the grid of earlier ticks.

        A late image does not drop the next one, and early ones do not add up to a higher rate.
        """
        state = self.state
        period_s, period_ns = 1.0 / self.rate, round(1e9 / self.rate)
        on_grid = abs(stamp_ns - state.next_ns) < period_ns
        state.next_ns = (state.next_ns if on_grid else stamp_ns) + period_ns
        on_grid = abs(now - state.next_wall) < period_s
        state.next_wall = (state.next_wall if on_grid else now) + period_s

    # Commands

    def command(
        self, *, epoch: int, step: int, action: ArrayLike, source: int, device: str, now: float
    ) -> Answer:
        """Return what to send for a command.

        Args:
            epoch: epoch of the tick it answers.
            step: step of the tick it answers.
            action: [A], embodiment order and units; empty with SOURCE_NONE requests a hold.
            source: Command.SOURCE_*.
            device: the device or policy that sent it.
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
            return Answer(send=self._answer_with_hold(now), holds=True)
        problem = self._limiter.problem(values)
        if not problem and not state.moved:
            problem = self._first_step.problem(values, state.measured)
        if not problem:
            since = now - state.began_wall
            values = self._first_step.ramped(values, state.measured, since)
            result = self._limiter.limit(values, state.measured, state.limiter)
            problem = result.reason if result.held else self._workspace_problem(result.action)
        if problem:
            state.counts["bad_actions"] += 1
            fault = f"action of {device} {problem}"
            return Answer(send=self._answer_with_hold(now, fault), holds=True, fault=fault)
        state.moved = True
        state.counts["accepted"] += 1
        state.counts["limited"] += result.limited
        state.limiter = result.state
        state.holding = None
        self._answered(Applied(
            action=result.action, source=source, device=device, note=result.note
        ), now)
        return Answer(send=result.action)

    @property
    def waits_for_command(self) -> bool:
        """Whether the present tick waits for its command, as long as it takes (lock-step)."""
        return self._lockstep and self.state.phase is Phase.RUNNING and self.state.waiting

    def poll(self, now: float) -> Answer:
        """Check timeouts; return a hold when a stream is late.

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
                    self._answered(Applied(action=send, note=state.stale), now)
            return Answer(send=send, holds=True, fault=state.stale)
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
            return f"step {step} already has a command"
        if state.stale:
            return state.stale
        if not self._lockstep and now - state.tick_wall > self._stale_after_s:
            return f"the observation is {now - state.tick_wall:.2f} s old"
        return ""

    def _stale_reason(self, now: float) -> str:
        if self._lockstep and (self.state.waiting or self.state.phase is Phase.STARTING):
            return ""  # the driver waits for us, and repeats its observation: no data is due
        # In lock-step age counts from the command on.
        since = self.state.sent_wall if self._lockstep else 0.0
        return self._streams.stale_reason(now, since)

    def _workspace_problem(self, target: Array) -> str:
        """Return why a limited target may not be sent, or an empty string."""
        if self.workspace is None:
            return ""
        last = self.state.in_force
        start = self.state.measured if last is None else last.action
        assert start is not None
        problem = self.workspace.problem(target, start)
        return leaves_workspace(problem) if problem else ""

    def _answer_with_hold(self, now: float, note: str = "") -> Array:
        assert self.state.measured is not None
        hold = self._hold(self.state.measured)
        self._answered(Applied(action=hold, note=note), now)
        return hold

    def _answered(self, applied: Applied, now: float) -> None:
        self.state.in_force = applied
        self.state.sent = True
        self.state.waiting = False
        self.state.sent_wall = now

    def _hold(self, position: Array) -> Array:
        """Return the target of the first of consecutive holds, so that the arms do not drift."""
        state = self.state
        state.counts["holds"] += 1
        if state.holding is None:
            last = position if state.in_force is None else state.in_force.action
            state.holding = np.where(self._holds_last, last, position)
        state.limiter = self._limiter.at_rest(state.holding)
        return state.holding
