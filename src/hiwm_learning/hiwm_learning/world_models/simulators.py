"""The interface of all imagined worlds, whatever family their model is of."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hiwm_core.limits import LimitResult

# An image [H, W, 3] rgb, or one of each camera in the order of the simulator's.
Images = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Joints and head outputs of a state; without images, which cost far more.

    Untrained heads give NaN, as in ticks.
    """

    proprioception: NDArray[np.float64]  # [P] in the embodiment's units
    trust: float  # 0..1, or NaN
    progress: float  # 0..1, or NaN
    success: float  # 0..1, or NaN
    # How far the state is from the training data: above 1 it has left them, and trust is 0. NaN in
    # families whose pictures cannot leave them.
    strangeness: float = math.nan


@dataclass(frozen=True, kw_only=True)
class ImaginedObservation(Reading):
    """What a world publishes for a state."""

    image: NDArray[np.uint8]  # [H, W, 3] rgb, from the world model's first camera
    others: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)  # from its other cameras


def reading(
    heads: Collection[str], *, proprioception: NDArray[np.float64], trust: float, progress: float,
    success: float, strangeness: float = math.nan,
) -> Reading:
    """Return a reading with NaN for heads that are not in `heads`, and no trust in a stranger."""
    trust = 0.0 if strangeness > 1.0 else trust
    values = {"trust": trust, "progress": progress, "success": success}
    return Reading(
        proprioception=proprioception, strangeness=strangeness,
        **{name: value if name in heads else math.nan for name, value in values.items()},
    )


class WorldState(Protocol):
    """The complete state of an imagined world at one step."""

    @property
    def step(self) -> int:
        """Control steps since the start of the episode."""

    def to_parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and JSON values for a blob store."""


StateT = TypeVar("StateT", bound=WorldState)


class WorldSimulator(Protocol[StateT]):
    """Runs a world model step by step. A restored state replays exactly under the same actions.

    Attributes:
        cameras: names; the first is the camera of `ImaginedObservation.image`.
        heads: the trained heads, of `hiwm_core.world_heads.HEADS`; others give NaN.
        can_restore: whether `restored` works; False only behind a server that keeps its states.
    """

    cameras: tuple[str, ...]
    heads: frozenset[str]
    can_restore: bool

    def begin(
        self, image: Images, proprioception: NDArray[Any], seed: int
    ) -> StateT:
        """Return the state for recorded frames.

        Args:
            image: [H, W, 3] rgb, or one for each of several cameras.
            proprioception: [P] in the embodiment's units.
            seed: of the episode's randomness.
        """

    def step(self, state: StateT, action: NDArray[np.float64]) -> tuple[StateT, LimitResult]:
        """Return the next state, and the action [A] after limits."""

    def step_many(
        self, states: Sequence[StateT], actions: Sequence[NDArray[np.float64]]
    ) -> tuple[list[StateT], list[LimitResult]]:
        """Return the next state of each of several worlds, and its action after limits.

        States must have finite proprioception. Results agree with `step` to rounding, not to the
        byte: other batch sizes use other kernels.
        """

    def observe(self, state: StateT) -> ImaginedObservation:
        """Return images, joints and head outputs of a state."""

    def observe_many(self, states: Sequence[StateT]) -> list[ImaginedObservation]:
        """Return the observations of several states."""

    def read_many(self, states: Sequence[StateT]) -> list[Reading]:
        """Return joints and head outputs of several states."""

    def redraw(
        self, recordings: Sequence[tuple[Sequence[Images], NDArray[Any]]]
    ) -> list[list[ImaginedObservation]]:
        """Return the model's reconstruction of recorded frames, without prediction.

        Args:
            recordings: consecutive images [T] with proprioception [T, P], each.
        """

    def restored(self, parts: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> StateT:
        """Return the state from the output of `to_parts`.

        Raises:
            CheckpointError: a part is missing.
        """
