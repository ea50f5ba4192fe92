"""Held-out starts, what the arms are told from there, and what the model makes of it, all at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiwm_learning.world_model import imagination
from hiwm_learning.world_model.appearance import arm_poses
from hiwm_learning.world_model.layers import frames_to_bytes, frames_to_float
from hiwm_learning.world_model.model import WorldModel
from hiwm_learning.world_model.recordings import Recording
from hiwm_learning.world_model.registration import register

# Starts lie this far apart in a recording, and have this many steps to go.
EVERY_STEPS, LEAST_STEPS = 12, 50
_CHUNK = 64  # frames drawn at once: what stays in cache


@dataclass(frozen=True, kw_only=True)
class Start:
    """One step of a recording to imagine on from."""

    recording: Recording
    step: int

    @property
    def ahead(self) -> int:
        """Recorded steps that follow."""
        return len(self.recording.frames) - 1 - self.step


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """N imagined rollouts of T steps; what lies beyond a recording's end means nothing."""

    poses: Tensor  # [N, T + 1, L, 4]
    trust: NDArray[np.float64]  # [N, T + 1]


def held_out_starts(recordings: Sequence[Recording], most: int, seed: int) -> list[Start]:
    """Return starts drawn evenly over held-out recordings with `LEAST_STEPS` or more to go."""
    rng = np.random.default_rng(seed)
    pool = [
        Start(recording=recording, step=step)
        for recording in recordings if recording.held_out
        for step in range(1, len(recording.frames) - LEAST_STEPS - 1, EVERY_STEPS)
    ]
    return [pool[i] for i in rng.permutation(len(pool))[:most]]


@torch.no_grad()
def start_poses(model: WorldModel, starts: Sequence[Start]) -> Tensor:
    """Return the poses [N, L, 4] found in the starts' frames alone, as the simulator finds them."""
    frames = torch.stack([s.recording.frames[s.step] for s in starts])
    hands = torch.stack([s.recording.proprioception[s.step] for s in starts])
    arms = arm_poses(model.decoder, hands)
    found = [
        register(model.decoder, frames_to_float(frames[i : i + 1]), arms[i : i + 1], 0, keep=3)[0]
        for i in range(len(starts))
    ]
    return torch.cat(found)


def recorded_targets(model: WorldModel, starts: Sequence[Start], steps: int) -> Tensor:
    """Return the recorded targets from each start [N, T, arms, 2], m; the last is held on."""
    rows = []
    for start in starts:
        count = min(steps, start.ahead)
        targets = model.targets(start.recording.actions[start.step : start.step + count])
        rows.append(torch.cat([targets, targets[-1:].expand(steps - count, -1, -1)]))
    return torch.stack(rows)


def still_targets(poses: Tensor, steps: int) -> Tensor:
    """Return targets [N, T, arms, 2] that leave the arms of poses [N, L, 4] where they are."""
    return poses[:, None, 1:, :2].expand(-1, steps, -1, -1)


def exchanged_targets(
    targets: Tensor, poses: Tensor, starts: Sequence[Start], reach_m: float, seed: int
) -> Tensor:
    """Return targets [N, T, arms, 2] in which every rollout makes another recording's motions.

    The other's path is begun where the own arms are, so that no step is longer than recorded.

    Args:
        targets: [N, T, arms, 2] recorded, m.
        poses: [N, L, 4] at the starts.
        starts: whose recordings tell which rollouts are others.
        reach_m: targets stay within this of the table's middle, along x and y.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    names = np.array([start.recording.name for start in starts])
    other = torch.tensor([
        int(rng.choice(np.flatnonzero(names != name))) if (names != name).any() else i
        for i, name in enumerate(names)
    ])
    arms = poses[:, None, 1:, :2]
    return (targets[other] - arms[other] + arms).clamp(-reach_m, reach_m)


def imagine(model: WorldModel, poses: Tensor, targets: Tensor) -> Rollouts:
    """Return what follows from poses [N, L, 4] under targets [N, T, arms, 2]."""
    worlds = imagination.begin(model, poses)
    line, trusts = [poses], [torch.ones(len(poses))]
    for step in range(targets.shape[1]):
        worlds = imagination.advance(model, worlds, targets[:, step])
        line.append(worlds.poses)
        trusts.append(imagination.trust(imagination.doubt(model, worlds)))
    return Rollouts(
        poses=torch.stack(line, dim=1), trust=torch.stack(trusts, dim=1).double().numpy()
    )


@torch.no_grad()
def draw(model: WorldModel, poses: Tensor) -> NDArray[np.uint8]:
    """Return the frames [B, H, W, 3] of poses [B, L, 4]."""
    chunks = [frames_to_bytes(model.decoder(part)) for part in poses.split(_CHUNK)]
    frames: NDArray[np.uint8] = torch.cat(chunks).numpy()
    return frames
