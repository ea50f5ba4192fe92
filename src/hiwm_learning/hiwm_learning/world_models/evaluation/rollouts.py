"""Held-out starts, the actions from there, and rollouts of a world model, many at a time.

Only `WorldSimulator` is used, so that layered and latent models are treated alike. Actions pass the
same limits as in a session.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas
from hiwm_learning.world_models.recordings import Recording
from hiwm_learning.world_models.simulators import WorldSimulator

Array = NDArray[np.float64]

# Starts lie this far apart in a recording, and have this many steps to go; where all recordings are
# shorter, half of the longest, if that is worth a rollout.
EVERY_STEPS, LEAST_STEPS, WORTH_STEPS = 12, 50, 10
TOGETHER = 32  # rollouts imagined at once: their frames are held until they are compared


@dataclass(frozen=True, kw_only=True)
class Start:
    """A step of a recording from which a rollout starts."""

    recording: Recording
    step: int

    @property
    def ahead(self) -> int:
        """Recorded steps that follow."""
        return len(self.recording.frames) - 1 - self.step

    @property
    def views(self) -> list[NDArray[np.uint8]]:
        """The image of each camera at the start, [H, W, 3]."""
        return self.recording.views(self.step)

    @property
    def proprioception(self) -> Array:
        """The proprioception at the start, [P] in the embodiment's units."""
        return self.recording.proprioception[self.step].double().numpy()

    @property
    def measured(self) -> Array:
        """The measured counterpart of the action at the start, [A]."""
        return self.recording.measured[self.step].double().numpy()


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One imagined rollout, at the steps that were looked at."""

    frames: NDArray[np.uint8]  # [K, H, W, 3] of the first camera
    others: dict[str, NDArray[np.uint8]]  # likewise, of the other cameras
    proprioception: Array  # [K, P]
    trust: Array  # [K] 0..1
    progress: Array  # [K] 0..1, by the head
    success: Array  # [K] 0..1, by the head


def held_out_starts(recordings: Sequence[Recording], most: int, seed: int) -> list[Start]:
    """Return starts drawn evenly over held-out recordings, with `LEAST_STEPS` or more to go.

    Where all recordings are shorter, the starts have half of the longest one to go; there are none
    if that is less than `WORTH_STEPS`.
    """
    held_out = [recording for recording in recordings if recording.held_out]
    longest = max((len(recording.frames) - 1 for recording in held_out), default=0)
    least = LEAST_STEPS if longest > LEAST_STEPS + 1 else longest // 2
    if least < WORTH_STEPS:
        return []
    rng = np.random.default_rng(seed)
    pool = [
        Start(recording=recording, step=step)
        for recording in held_out
        for step in range(1, len(recording.frames) - least - 1, EVERY_STEPS)
    ]
    return [pool[i] for i in rng.permutation(len(pool))[:most]]


def recorded_actions(starts: Sequence[Start], steps: int) -> Array:
    """Return the recorded actions from each start, [N, T, A]; the last is held on."""
    rows = []
    for start in starts:
        count = min(steps, start.ahead)
        actions = start.recording.actions[start.step : start.step + count].double().numpy()
        rows.append(np.concatenate([actions, np.repeat(actions[-1:], steps - count, axis=0)]))
    return np.stack(rows)


def still_actions(starts: Sequence[Start], steps: int) -> Array:
    """Return actions [N, T, A] that leave every arm where it is."""
    return np.stack([np.repeat(start.measured[None], steps, axis=0) for start in starts])


def exchanged_actions(actions: Array, starts: Sequence[Start], seed: int) -> Array:
    """Return actions [N, T, A] in which every rollout makes another recording's motions.

    The other's path is begun where the own arms are, so that no step is longer than recorded.

    Args:
        actions: [N, T, A] recorded, absolute targets.
        starts: whose recordings tell which rollouts are others.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    names = np.array([start.recording.name for start in starts])
    other = np.array([
        int(rng.choice(np.flatnonzero(names != name))) if (names != name).any() else i
        for i, name in enumerate(names)
    ])
    deltas = ActionDeltas(starts[0].recording.embodiment)
    return np.stack([
        [
            deltas.moved(starts[i].measured, deltas.between(starts[k].measured, action))
            for action in actions[k]
        ]
        for i, k in enumerate(other)
    ])


def imagine(
    simulator: WorldSimulator[Any], starts: Sequence[Start], actions: Array, at: Collection[int]
) -> Iterator[Rollout]:
    """Yield what follows from each start, in order.

    Args:
        simulator: of the world model; rollout n draws with seed n.
        starts: N.
        actions: [N, T, A].
        at: the steps looked at, 0 to T, ascending.
    """
    for first in range(0, len(starts), TOGETHER):
        some = starts[first : first + TOGETHER]
        states = [
            simulator.begin(start.views, start.proprioception, first + i)
            for i, start in enumerate(some)
        ]
        seen = []
        for step in range(max(at) + 1):
            if step in at:
                seen.append(simulator.observe_many(states))
            if step < max(at):
                told = list(actions[first : first + len(some), step])
                states, _ = simulator.step_many(states, told)
        for line in zip(*seen, strict=True):
            yield Rollout(
                frames=np.stack([one.image for one in line]),
                others={
                    name: np.stack([one.others[name] for one in line])
                    for name in simulator.cameras[1:]
                },
                proprioception=np.stack([one.proprioception for one in line]),
                trust=np.array([one.trust for one in line]),
                progress=np.array([one.progress for one in line]),
                success=np.array([one.success for one in line]),
            )
