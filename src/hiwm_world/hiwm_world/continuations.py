"""What a policy would do from one saved state, once per seed, in one batch; no ROS.

States are values, so nothing here changes the world they came from. A continuation's seed and step
determine its plans, and its state determines the next one: equal state, seeds and checkpoints give
equal continuations. A batch and a single continuation agree up to rounding; contact can amplify
that into a different course. Tested by `test_continuations.py`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hiwm_core.errors import ConfigError, HiwmError
from hiwm_core.limits import LimitResult
from hiwm_learning.world_models.simulators import ImaginedObservation, Reading, WorldState

# As many as a person can look at, and a machine without a GPU computes within minutes.
MOST_COUNT = 64
MOST_STEPS = 1000
MOST_FRAMES = 64
# A response is one message, sent twice.
MOST_PIXEL_BYTES = 64_000_000
# Success probability that counts as success, as in evaluation by the success head.
GOAL = 0.5


class CancelledError(HiwmError):
    """The continuations were cancelled."""


@dataclass(frozen=True, kw_only=True)
class ContinuationSpec:
    """Which continuations to compute."""

    count: int
    steps: int  # maximum length, control steps
    seed: int  # of the first; the others count up from it
    frames: int  # per continuation, evenly spaced over `steps`

    def check(self, frame_bytes: int) -> None:
        """Raise ConfigError if a value is out of range; a frame has `frame_bytes` bytes."""
        for name, value, least, most in (
            ("count", self.count, 1, MOST_COUNT), ("steps", self.steps, 1, MOST_STEPS),
            ("frames", self.frames, 0, MOST_FRAMES),
        ):
            if not least <= value <= most:
                raise ConfigError(
                    f"{name} {value}", where="world/continue_state",
                    remedy=f"request {least} to {most}",
                )
        whole = self.count * self.frames * frame_bytes
        if whole > MOST_PIXEL_BYTES:
            raise ConfigError(
                f"{self.count} continuations with {self.frames} frames each are "
                f"{whole / 1e6:.0f} MB", where="world/continue_state",
                remedy=f"request {MOST_PIXEL_BYTES // (self.count * frame_bytes)} frames or fewer",
            )

    def shown(self, step: int) -> bool:
        """Return whether to keep a frame of a step, counted from 1."""
        return step * self.frames // self.steps > (step - 1) * self.frames // self.steps


class BatchSimulator(Protocol):
    """The part of a `WorldSimulator` that continuations need."""

    def step_many(
        self, states: Sequence[Any], actions: Sequence[NDArray[np.float64]]
    ) -> tuple[list[Any], list[LimitResult]]:
        """Return the next state of each, and its limited action."""

    def read_many(self, states: Sequence[Any]) -> list[Reading]:
        """Return proprioception and head outputs of each."""

    def observe_many(self, states: Sequence[Any]) -> list[ImaginedObservation]:
        """Return the observation of each."""


@dataclass(frozen=True, kw_only=True)
class Plans:
    """A policy's response."""

    observation_steps: int  # observations per plan
    execute_horizon: int  # actions of a plan that run before the next plan
    actions: NDArray[np.float64]  # [N, K, A]


# (seeds [N], observations [N][up to observation_steps], newest last) -> plans.
Ask = Callable[[Sequence[int], Sequence[Sequence[ImaginedObservation]]], Plans]


@dataclass(kw_only=True)
class Continuation:
    """One continuation up to its last step."""

    seed: int
    state: WorldState
    success: float  # highest so far
    progress: float  # at its last step
    trust: float  # lowest so far
    seen: deque[ImaginedObservation]  # input of the policy, newest last
    end: str = ""  # why it ended early
    progress_by_step: list[float] = field(default_factory=list)
    frames: list[tuple[int, NDArray[np.uint8]]] = field(default_factory=list)  # step, [H, W, 3]

    def take(self, state: WorldState, reading: Reading) -> None:
        """Advance one step."""
        self.state = state
        self.progress = reading.progress
        self.progress_by_step.append(reading.progress)
        self.success = float(np.fmax(self.success, reading.success))
        self.trust = float(np.fmin(self.trust, reading.trust))
        if not np.isfinite(reading.proprioception).all():
            self.end = "the world model produced a state that is not finite"
        elif reading.success >= GOAL:
            self.end = "the goal was reached"


def continuations(
    simulator: BatchSimulator, state: WorldState, spec: ContinuationSpec, ask: Ask,
    check: Callable[[], None],
) -> list[Continuation]:
    """Return the continuations of a state, in the order of their seeds.

    Args:
        simulator: the state's simulator.
        state: where all of them start.
        spec: how many, how long.
        ask: the policy.
        check: called before each step; raises if the request was cancelled.

    Raises:
        HiwmError: what `ask` or `check` raises.
    """
    (first,) = simulator.observe_many([state])
    runs = [
        Continuation(
            seed=(spec.seed + i) % 2**64, state=state, success=first.success,
            progress=first.progress, trust=first.trust, seen=deque([first], maxlen=1),
        )
        for i in range(spec.count)
    ]
    window = 1  # observations per plan; corrected by the policy's first response
    planned = due = 0  # first steps of the current plans and of the next ones
    plans = np.empty(0)  # [N, K, A]
    for step in range(1, spec.steps + 1):
        going = [i for i, run in enumerate(runs) if not run.end]
        if not going:
            break
        check()
        if step > due:
            answer = ask(
                [_plan_seed(runs[i].seed, due) for i in going], [runs[i].seen for i in going]
            )
            if answer.observation_steps != window:
                window = answer.observation_steps
                for run in runs:
                    run.seen = deque(run.seen, maxlen=window)
            planned, due = due, due + answer.execute_horizon
            plans = np.full((spec.count, *answer.actions.shape[1:]), np.nan)
            plans[going] = answer.actions
            for i in going:
                if not np.isfinite(plans[i, : answer.execute_horizon]).all():
                    runs[i].end = "the policy produced a plan that is not finite"
                    _render(simulator, [runs[i]], spec, step - 1)
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
            if runs[i].end or spec.shown(step) or (due < spec.steps and step > due - window)
        ]
        _render(simulator, seen, spec, step)
    return runs


def _render(
    simulator: BatchSimulator, runs: Sequence[Continuation], spec: ContinuationSpec, step: int
) -> None:
    """Render the continuations at a step, for the policy and for people."""
    if not runs:
        return
    for run, observation in zip(
        runs, simulator.observe_many([run.state for run in runs]), strict=True
    ):
        run.seen.append(observation)
        if spec.frames and (run.end or spec.shown(step)):
            run.frames = [*(pair for pair in run.frames if pair[0] != step),
                          (step, observation.image)]


def _plan_seed(seed: int, step: int) -> int:
    """Return the seed of the plan a continuation makes at a step."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
