"""Many continuations of one state: each equals the one of its seed, and nothing else changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.limits import LimitResult
from hiwm_core.tasks import load_task
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.simulators import ImaginedObservation, Reading
from hiwm_test_support.latent_worlds import write_untrained_checkpoint
from hiwm_test_support.layered_worlds import write_drawn_checkpoint
from hiwm_test_support.shipped import TASK
from hiwm_world import continuations as module
from hiwm_world.continuations import (
    CancelledError,
    Continuation,
    ContinuationSpec,
    Plans,
    continuations,
)
from hiwm_world.imagined_world import load_starts

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)
HOME = np.array(EMBODIMENT.home)


@dataclass(frozen=True)
class Place:
    """A world that is one number, exact in any batch."""

    value: float
    step: int

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {"value": self.value}


class Line:
    """Moves by the action; its picture encodes the step, its success the distance travelled."""

    cameras = ("top",)

    def __init__(self, goal: float = np.inf, rendered: list[int] | None = None) -> None:
        self.goal = goal
        self.rendered = [] if rendered is None else rendered

    def step(self, state: Place, action: Any) -> tuple[Place, LimitResult]:
        states, _ = self.step_many([state], [action])
        return states[0], None  # type: ignore[return-value]

    def step_many(
        self, states: Sequence[Place], actions: Sequence[Any]
    ) -> tuple[list[Place], list[LimitResult]]:
        moved = [
            Place(state.value + float(action[0]), state.step + 1)
            for state, action in zip(states, actions, strict=True)
        ]
        return moved, []

    def read_many(self, states: Sequence[Place]) -> list[Reading]:
        return [
            Reading(
                proprioception=np.array([state.value]), trust=1.0 / (1.0 + abs(state.value)),
                progress=state.value, success=float(state.value >= self.goal),
            )
            for state in states
        ]

    def observe(self, state: Place) -> ImaginedObservation:
        return self.observe_many([state])[0]

    def observe_many(self, states: Sequence[Place]) -> list[ImaginedObservation]:
        self.rendered += [state.step for state in states]
        return [
            ImaginedObservation(image=np.full((1, 1, 3), state.step, np.uint8), **vars(reading))
            for state, reading in zip(states, self.read_many(states), strict=True)
        ]

    def begin(self, *_: Any) -> Place:
        raise NotImplementedError

    def restored(self, parts: Mapping[str, Any], meta: Mapping[str, Any]) -> Place:
        raise NotImplementedError


@dataclass
class Walker:
    """A policy whose plan follows from its seed and the newest place."""

    window: int = 2
    execute: int = 3
    horizon: int = 4
    dim: int = 1
    scale: float = 1.0
    invalid: Callable[[int], bool] = lambda seed: False

    def __post_init__(self) -> None:
        self.steps: list[list[int]] = []  # of the pictures it received, one list per request
        self.requested: list[int] = []

    def __call__(
        self, seeds: Sequence[int], observations: Sequence[Sequence[ImaginedObservation]]
    ) -> Plans:
        self.requested += seeds
        self.steps += [[int(seen.image.flat[0]) for seen in run] for run in observations]
        plans = []
        for seed, run in zip(seeds, observations, strict=True):
            rng = np.random.default_rng(seed)
            offsets = rng.normal(0, self.scale, (self.horizon, self.dim)).cumsum(0)
            plans.append(run[-1].proprioception[: self.dim] * 0.5 + offsets)
            if self.invalid(seed):
                plans[-1][0] = np.nan
        return Plans(
            observation_steps=self.window, execute_horizon=self.execute, actions=np.array(plans)
        )


def go(
    simulator: Any, state: Any, ask: Walker, check: Callable[[], None] = lambda: None,
    **wanted: int,
) -> list[Continuation]:
    requested = ContinuationSpec(**{"count": 3, "steps": 7, "seed": 5, "frames": 1, **wanted})
    return continuations(simulator, state, requested, ask, check)


def content(found: Continuation) -> tuple[Any, ...]:
    return (
        found.seed, found.end, found.success, found.progress, found.trust, found.progress_by_step,
        [(step, image.tobytes()) for step, image in found.frames],
    )


@settings(max_examples=80, deadline=None)
@given(
    count=st.integers(1, 6), steps=st.integers(1, 20), seed=st.integers(0, 2**64 - 1),
    frames=st.integers(0, 24), window=st.integers(1, 5), execute=st.integers(1, 4),
    goal=st.floats(0.5, 20.0),
)
def test_a_batch_equals_its_continuations_one_by_one(
    count: int, steps: int, seed: int, frames: int, window: int, execute: int, goal: float
) -> None:
    policy = Walker(window=window, execute=execute)
    together = go(
        Line(goal), Place(0.0, 0), policy, count=count, steps=steps, seed=seed, frames=frames
    )
    alone = [
        go(Line(goal), Place(0.0, 0), Walker(window=window, execute=execute), count=1, steps=steps,
           seed=(seed + i) % 2**64, frames=frames)[0]
        for i in range(count)
    ]
    assert [content(one) for one in together] == [content(one) for one in alone]
    # The policy saw the same as in a session: the newest steps without a gap.
    for shown in policy.steps:
        assert shown == list(range(max(0, shown[-1] - window + 1), shown[-1] + 1)) or shown == [0]
        assert shown[-1] % execute == 0
    for one in together:
        made = len(one.progress_by_step)
        assert made == steps or one.end
        shown = [step for step, _ in one.frames]
        assert [int(image.flat[0]) for _, image in one.frames] == shown
        if frames:
            assert shown[-1] == made and shown == sorted(set(shown))
            if not one.end:
                assert len(shown) == min(frames, steps)
        assert one.progress == one.progress_by_step[-1]


def test_each_differs_and_seeds_count_up_from_the_first() -> None:
    found = go(Line(), Place(0.0, 0), Walker(), count=4, seed=2**64 - 2)
    assert [one.seed for one in found] == [2**64 - 2, 2**64 - 1, 0, 1]
    assert len({one.progress for one in found}) == 4
    again = go(Line(), Place(0.0, 0), Walker(), count=2, seed=2**64 - 1)
    assert [one.progress for one in again] == [one.progress for one in found[1:3]]


def test_one_that_reaches_the_goal_ends_there_and_is_not_planned_again() -> None:
    policy = Walker(scale=2.0)
    found = go(Line(goal=6.0), Place(0.0, 0), policy, count=12, steps=30, frames=3)
    there = [one for one in found if one.end]
    assert 0 < len(there) < 12
    for one in there:
        assert (one.end, one.success) == ("the goal was reached", 1.0)
        assert one.progress >= 6.0 > max(one.progress_by_step[:-1], default=0.0)
        assert one.frames[-1][0] == len(one.progress_by_step) < 30
    plans = sum(-(-len(one.progress_by_step) // policy.execute) for one in found)
    assert len(policy.requested) == plans


def test_a_plan_that_is_not_finite_ends_only_its_own_continuation() -> None:
    seeds = Walker()
    go(Line(), Place(0.0, 0), seeds, count=3, steps=7)
    bad = seeds.requested[4]  # the second continuation's second plan
    found = go(Line(), Place(0.0, 0), Walker(invalid=lambda seed: seed == bad), count=3, steps=7)
    assert [len(one.progress_by_step) for one in found] == [7, 3, 7]
    assert "not finite" in found[1].end and found[1].frames[-1][0] == 3
    whole = go(Line(), Place(0.0, 0), Walker(), count=3, steps=7)
    assert content(found[0]) == content(whole[0]) and content(found[2]) == content(whole[2])
    nowhere = go(Line(), Place(0.5, 0), Walker(invalid=lambda seed: True), count=2)
    assert [(one.progress, one.progress_by_step) for one in nowhere] == [(0.5, []), (0.5, [])]
    assert [step for step, _ in nowhere[0].frames] == [0]


def test_a_state_that_is_not_finite_ends_only_its_own_continuation() -> None:
    class Diverging(Line):
        def step_many(self, states: Any, actions: Any) -> Any:
            moved, limited = super().step_many(states, actions)
            moved[0] = replace(moved[0], value=np.nan) if moved[0].step == 2 else moved[0]
            return moved, limited

    found = go(Diverging(), Place(0.0, 0), Walker())
    assert [len(one.progress_by_step) for one in found] == [2, 7, 7]
    assert "world model" in found[0].end and not found[1].end


def test_pictures_are_rendered_only_where_needed() -> None:
    line = Line()
    go(line, Place(0.0, 0), Walker(window=2, execute=5, horizon=5), count=1, steps=12, frames=1)
    assert line.rendered == [0, 4, 5, 9, 10, 12]


def test_a_cancelled_request_ends_at_the_next_step() -> None:
    line, calls = Line(), []

    def check() -> None:
        calls.append(1)
        if len(calls) == 4:
            raise CancelledError("cancelled")

    with pytest.raises(CancelledError):
        go(line, Place(0.0, 0), Walker(), check, count=2, steps=100, frames=64)
    assert max(line.rendered) == 3


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"count": 0}, "count 0"), ({"count": 65}, "1 to 64"), ({"steps": 0}, "steps 0"),
        ({"steps": 1001}, "1 to 1000"), ({"frames": 65}, "0 to 64"),
        ({"count": 64, "frames": 60}, "36 frames or fewer"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_limit(wanted: dict[str, int], words: str) -> None:
    requested = ContinuationSpec(**{"count": 1, "steps": 1, "seed": 0, "frames": 1, **wanted})
    with pytest.raises(ConfigError, match=words):
        requested.check(96 * 96 * 3)
    ContinuationSpec(count=64, steps=1000, seed=0, frames=36).check(96 * 96 * 3)


@pytest.fixture(scope="module", params=["layered", "latent"])
def world(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A simulator of each kind, and a state a few steps into an episode."""
    folder = tmp_path_factory.mktemp(request.param)
    write = write_drawn_checkpoint if request.param == "layered" else write_untrained_checkpoint
    path: Path = write(folder)
    simulator, _ = load_simulator(path, EMBODIMENT)
    starts = load_starts(path.with_name(path.stem + "_starts.npz"), TASK)
    state = simulator.begin(starts.images[0], starts.proprioception[0], 3)
    for k in range(3):
        state, _ = simulator.step(state, HOME + 0.004 * k)
    return simulator, state


def test_a_world_model_continues_the_same_way_each_time_and_is_unchanged(
    world: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GOAL", 2.0)  # an untrained head gives about one half
    simulator, state = world

    def saved() -> list[tuple[str, bytes]]:
        return [(name, part.tobytes()) for name, part in state.to_parts()[0].items()]

    before = saved()
    policy = Walker(dim=4, scale=0.004)
    first, second = (
        [content(one) for one in go(simulator, state, policy, count=3, steps=4, frames=2)]
        for _ in range(2)
    )
    assert first == second
    assert len({frames[-1] for *_, frames in first}) == 3
    assert saved() == before


def test_a_world_models_batch_equals_its_continuations_one_by_one_up_to_rounding(
    world: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GOAL", 2.0)
    simulator, state = world

    def walk(**wanted: int) -> list[Continuation]:
        # Plans follow only from the seeds: rounding must not lead to another plan.
        policy = Walker(dim=4, scale=0.004)
        fixed = replace(simulator.observe(state), proprioception=2.0 * HOME)
        return go(simulator, state, lambda seeds, runs: policy(seeds, [[fixed]] * len(runs)),
                  steps=4, frames=1, **wanted)

    together = walk(count=3, seed=0)
    for i, one in enumerate(together):
        (alone,) = walk(count=1, seed=i)
        # Kernels depend on the batch size: the last bits of float32 differ, and in a latent world
        # those of the latent's float16.
        assert np.allclose(one.progress_by_step, alone.progress_by_step, atol=2e-3)
        assert np.isclose(one.trust, alone.trust, atol=2e-3)
        apart = np.abs(one.frames[-1][1].astype(int) - alone.frames[-1][1])
        assert apart.mean() < 0.1 and apart.max() <= 12
