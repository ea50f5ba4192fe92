"""What a policy would do from one saved state, as often as there are seeds, in one batch; no ROS.

States are values, so nothing here moves the world they were taken from. Which plan a continuation
gets follows from its seed and step, what the world answers from the state: the same state, seeds
and checkpoints give the same continuations. A batch of many and one alone agree to rounding, which
a contact may turn into another course. Held by `test_continuations.py`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.errors import ConfigError, HiwmError
from hiwm_learning.simulators import ImaginedObservation, Reading, WorldSimulator, WorldState

# What a person can look at, and a machine without a GPU answers within minutes.
MOST_COUNT = 64
MOST_STEPS = 1000
MOST_FRAMES = 64
# An answer travels as one message, twice.
MOST_PIXEL_BYTES = 64_000_000
# Probability that counts as success, as in evaluation by the success head.
GOAL = 0.5


class CutShortError(HiwmError):
    """The continuations are no longer wanted."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which continuations are asked for."""

    count: int
    steps: int  # longest, control steps
    seed: int  # of the first; the others count on from it
    frames: int  # of each, evenly spaced over `steps`

    def check(self, frame_bytes: int) -> None:
        """Raise ConfigError for more than is made, or nothing; frames are of `frame_bytes`."""
        for name, value, least, most in (
            ("count", self.count, 1, MOST_COUNT), ("steps", self.steps, 1, MOST_STEPS),
            ("frames", self.frames, 0, MOST_FRAMES),
        ):
            if not least <= value <= most:
                raise ConfigError(
                    f"{name} {value}", where="world/continue_state",
                    remedy=f"ask for {least} to {most}",
                )
        whole = self.count * self.frames * frame_bytes
        if whole > MOST_PIXEL_BYTES:
            raise ConfigError(
                f"{self.count} continuations with {self.frames} frames each are "
                f"{whole / 1e6:.0f} MB", where="world/continue_state",
                remedy=f"ask for {MOST_PIXEL_BYTES // (self.count * frame_bytes)} frames or fewer",
            )

    def shown(self, step: int) -> bool:
        """Return whether a frame is wanted of a step, counted from 1."""
        return step * self.frames // self.steps > (step - 1) * self.frames // self.steps


@dataclass(frozen=True, kw_only=True)
class Plans:
    """A policy's answer."""

    observation_steps: int  # observations it looks at
    execute_horizon: int  # actions of each plan that run before the next
    actions: NDArray[np.float64]  # [N, K, A]


# (seeds [N], observations [N][up to observation_steps], newest last) -> plans.
Ask = Callable[[Sequence[int], Sequence[Sequence[ImaginedObservation]]], Plans]


@dataclass(kw_only=True)
class Continuation:
    """One continuation, as far as it went."""

    seed: int
    state: WorldState
    success: float  # highest so far
    progress: float  # at its end
    trust: float  # lowest so far
    seen: deque[ImaginedObservation]  # what the policy looks at, newest last
    end: str = ""  # why it ended before its steps
    progress_by_step: list[float] = field(default_factory=list)
    frames: list[tuple[int, NDArray[np.uint8]]] = field(default_factory=list)  # step, [H, W, 3]

    def take(self, state: WorldState, reading: Reading) -> None:
        """Go one step on."""
        self.state = state
        self.progress = reading.progress
        self.progress_by_step.append(reading.progress)
        self.success = float(np.fmax(self.success, reading.success))
        self.trust = float(np.fmin(self.trust, reading.trust))
        if not np.isfinite(reading.proprioception).all():
            self.end = "the world model gave a state that is not finite"
        elif reading.success >= GOAL:
            self.end = "the goal was reached"


def continuations(
    simulator: WorldSimulator[Any], state: WorldState, wanted: Wanted, ask: Ask,
    check: Callable[[], None],
) -> list[Continuation]:
    """Return the continuations of a state, in the order of their seeds.

    Args:
        simulator: of the state.
        state: where all of them begin.
        wanted: how many, how long.
        ask: the policy.
        check: called before each step; raises where they are no longer wanted.

    Raises:
        HiwmError: what `ask` or `check` raises.
    """
    first = simulator.observe(state)
    runs = [
        Continuation(
            seed=(wanted.seed + i) % 2**64, state=state, success=first.success,
            progress=first.progress, trust=first.trust, seen=deque([first], maxlen=1),
        )
        for i in range(wanted.count)
    ]
    looks = 1  # observations the policy looks at, as far as it has said
    planned = due = 0  # steps of the plans in force and of the next
    plans = np.empty(0)  # [N, K, A]
    for step in range(1, wanted.steps + 1):
        going = [i for i, run in enumerate(runs) if not run.end]
        if not going:
            break
        check()
        if step > due:
            answer = ask(
                [_plan_seed(runs[i].seed, due) for i in going], [runs[i].seen for i in going]
            )
            if answer.observation_steps != looks:
                looks = answer.observation_steps
                for run in runs:
                    run.seen = deque(run.seen, maxlen=looks)
            planned, due = due, due + answer.execute_horizon
            plans = np.full((wanted.count, *answer.actions.shape[1:]), np.nan)
            plans[going] = answer.actions
            for i in going:
                if not np.isfinite(plans[i, : answer.execute_horizon]).all():
                    runs[i].end = "the policy gave a plan that is not finite"
                    _picture(simulator, [runs[i]], wanted, step - 1)
            going = [i for i in going if not runs[i].end]
            if not going:
                break
        states, _ = simulator.step_many(
            [runs[i].state for i in going], [plans[i, step - 1 - planned] for i in going]
        )
        for i, after, reading in zip(going, states, simulator.read_many(states), strict=True):
            runs[i].take(after, reading)
        seen = [
            runs[i] for i in going
            if runs[i].end or wanted.shown(step) or (due < wanted.steps and step > due - looks)
        ]
        _picture(simulator, seen, wanted, step)
    return runs


def _picture(
    simulator: WorldSimulator[Any], runs: Sequence[Continuation], wanted: Wanted, step: int
) -> None:
    """Look at continuations that stand at a step: for the policy, and for people."""
    if not runs:
        return
    for run, observation in zip(
        runs, simulator.observe_many([run.state for run in runs]), strict=True
    ):
        run.seen.append(observation)
        if wanted.frames and (run.end or wanted.shown(step)):
            run.frames = [*(pair for pair in run.frames if pair[0] != step),
                          (step, observation.image)]


def _plan_seed(seed: int, step: int) -> int:
    """Return the seed of the plan a continuation makes at a step."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
