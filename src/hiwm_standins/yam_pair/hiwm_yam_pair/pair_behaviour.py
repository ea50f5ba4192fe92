"""What the pair of arms does while the parts of a world model's data are recorded.

Demonstrations, failures, off-task exploration and workspace-edge motion, as in Hi-WM (arXiv
2604.21741), and motion of the robot with no object in sight. Each is seeded and reads the
stand-in's ground truth: these are labels for making data, not something a policy or an operator
sees. A demonstration is a function of what it sees.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import DEMONSTRATION, FAILURE_DATA, ROBOT_DATA, Values
from hiwm_core.tasks import Task
from hiwm_yam_pair.hands import Array
from hiwm_yam_pair.roaming import Roamer
from hiwm_yam_pair.scene_names import DATA_KINDS

STOP_TICKS = 5  # kept after a demonstration has reached its goal
_SLIP_TICKS = 4  # a hand that slips opens for this long
_OPEN = 0.5
_HEIGHTS = [2, 7]  # of both hands, in an action
# Where a hand takes nothing [m], x and y: low, high.
NOTHING_M = ((0.22, -0.2), (0.46, 0.2))

# Share of a weak demonstrator's episodes in which hands that missed carry on as if they had not.
# They show what a grasp takes: from nearly the same motion, the object comes along or stays.
_CARRIES_ON = 0.5
# How far off and how much too high such a hand closes, at most.
_MISSED_M, _TOO_HIGH_M = (0.004, 0.03), 0.014

Seen = TypeVar("Seen")
_Seen = TypeVar("_Seen", contravariant=True)


class Controller(Protocol[_Seen]):
    """The task's expert: a function of what is seen."""

    def targets(self, seen: _Seen, measured: Array) -> Array:
        """Return the next targets [10]."""

    def done(self, seen: _Seen, measured: Array) -> bool:
        """Return whether the goal is reached and the hands rest."""


@dataclass(frozen=True)
class Slips:
    """Hands of a weak demonstrator that drop what they hold, again and again."""

    hands: tuple[bool, bool]
    after: int  # ticks of holding


@dataclass(frozen=True)
class EmptyHands:
    """Hands of a weak demonstrator that close beside the object, and carry on empty-handed."""

    off_m: Array  # [2, 2], m, from what each hand takes to where it closes, x and y
    high_m: Array  # [2], m, how much higher than meant


def drawn_empty_hands(rng: np.random.Generator) -> EmptyHands:
    """Draw one or two hands that miss by a little."""
    wrong = np.array(drawn_slips(rng))
    angle, length = rng.uniform(0, 2 * np.pi, 2), rng.uniform(*_MISSED_M, 2) * wrong
    return EmptyHands(
        off_m=np.stack([np.cos(angle), np.sin(angle)], axis=1) * length[:, None],
        high_m=rng.uniform(0.0, _TOO_HIGH_M, 2) * wrong,
    )


def drawn_slips(rng: np.random.Generator) -> tuple[bool, bool]:
    """Draw which hands slip: one, or both."""
    return [(True, False), (False, True), (True, True)][rng.integers(3)]


class PairBehaviour(ABC, Generic[Seen]):
    """Targets for one episode; see `hiwm_core.task_plugin.Behaviour`.

    Args:
        kind: one of `DATA_KINDS`.
        task: gives the starts.
        embodiment: the pair's, Cartesian.
        seed: of everything drawn.
        controller: the expert.
        grasp_z_m: height at which a roaming hand takes something.

    Attributes:
        empty: in some episodes of a weak demonstrator, hands that carry on although they missed.
    """

    def __init__(
        self, kind: str, task: Task, embodiment: Embodiment, seed: int,
        controller: Controller[Seen], *, grasp_z_m: float,
    ) -> None:
        if kind not in DATA_KINDS:
            raise ValueError(f"kind {kind!r}: use one of {', '.join(DATA_KINDS)}")
        self.kind = kind
        self._task = task
        self._rng = np.random.default_rng([seed, DATA_KINDS.index(kind)])
        self._controller = controller
        self._slips = self.draw_faults(self._rng)
        # From a stream of its own: starts and other faults of a seed stay what they were.
        apart = np.random.default_rng([seed, DATA_KINDS.index(kind), 1])
        self.empty: EmptyHands | None = None
        if kind == FAILURE_DATA and apart.random() < _CARRIES_ON:
            self.empty, self._slips = drawn_empty_hands(apart), Slips((False, False), 0)
        self._roamer = Roamer(embodiment, self._rng, edge=kind == "edge", grasp_z_m=grasp_z_m)
        self._held, self._done = 0, 0

    @abstractmethod
    def draw_faults(self, rng: np.random.Generator) -> Slips:
        """Draw what a weak demonstrator does wrong in this episode; return how its hands slip."""

    @abstractmethod
    def sighting(self, truth: Values) -> Seen:
        """Return what there is to see."""

    @abstractmethod
    def believed(self, seen: Seen) -> Seen:
        """Return what the weak demonstrator believes it sees."""

    @abstractmethod
    def trusted(self, seen: Seen, measured: Array, empty: EmptyHands) -> Seen:
        """Return the same for hands that, once shut, believe that they hold something."""

    @abstractmethod
    def holding(self, seen: Seen, measured: Array) -> bool:
        """Return whether both hands hold something."""

    @abstractmethod
    def out_of_sight(self) -> dict[str, float]:
        """Return the values of a start in which no object is in sight."""

    @abstractmethod
    def things(self, truth: Values) -> Array:
        """Return the places on the table [N, 2] at which there is something to take, m."""

    def start(self) -> dict[str, float]:
        """Return where the episode starts."""
        start = self._task.sample_start(self._rng)
        return {**start, **self.out_of_sight()} if self.kind == ROBOT_DATA else start

    def finished(self, truth: Values) -> bool:
        """Return whether a demonstration has rested at its goal."""
        return self.kind == DEMONSTRATION and self._done > STOP_TICKS

    def targets(self, truth: Values, measured: Array) -> Array:
        """Return the next targets [10]."""
        if self.kind == ROBOT_DATA:
            return self._roamer.targets(self._rng.uniform(*NOTHING_M, (1, 2)), measured)
        if self.kind not in (DEMONSTRATION, FAILURE_DATA):
            return self._roamer.targets(self.things(truth), measured)
        seen = self.sighting(truth)
        if self.kind == FAILURE_DATA:
            return self._weak(seen, measured)
        self._done += self._controller.done(seen, measured)
        return self._controller.targets(seen, measured)

    def _weak(self, seen: Seen, measured: Array) -> Array:
        if self.empty is not None:
            return self._carry_on(seen, measured, self.empty)
        action = self._controller.targets(self.believed(seen), measured)
        self._held += self.holding(seen, measured)
        if self._held > self._slips.after:
            self._held = self._held + 1 if self._held < self._slips.after + _SLIP_TICKS else 0
            for side, slips in enumerate(self._slips.hands):
                if slips:
                    action[5 * side + 4] = _OPEN
        return action

    def _carry_on(self, seen: Seen, measured: Array, empty: EmptyHands) -> Array:
        felt = measured.copy()
        felt[_HEIGHTS] -= empty.high_m
        action = self._controller.targets(self.trusted(seen, felt, empty), felt)
        action[_HEIGHTS] += empty.high_m
        return action
