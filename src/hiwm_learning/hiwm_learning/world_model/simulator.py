"""A world made of a world model: reset, step, observe, save, restore.

All that an imagined world is at one moment is one `ImaginedState`; nothing is kept beside it. A
restored state given the same actions yields the same bytes on the same machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hiwm_core.errors import CheckpointError
from hiwm_core.limits import Limiter, LimiterState, LimitResult
from hiwm_learning.simulators import ImaginedObservation
from hiwm_learning.world_model import imagination
from hiwm_learning.world_model.appearance import arm_poses
from hiwm_learning.world_model.imagination import Imagined
from hiwm_learning.world_model.layers import frames_to_bytes, frames_to_float
from hiwm_learning.world_model.model import WorldModel
from hiwm_learning.world_model.registration import register

_ARRAYS = ("poses", "previous", "own", "own_previous", "previous_step")


@dataclass(frozen=True, kw_only=True)
class ImaginedState:
    """Everything an imagined world is at one step."""

    poses: NDArray[np.float32]  # [L, 4] latents: x, y (m), cos, sin of each layer
    previous: NDArray[np.float32]  # [L, 4] one step earlier: the action window's trace
    own: NDArray[np.float32]  # [M, L, 4] likewise, where each member alone would have them
    own_previous: NDArray[np.float32]  # [M, L, 4] one step earlier
    previous_step: NDArray[np.float64]  # [A] the limiter's memory, m
    step: int  # control steps since the episode began
    seed: int  # of this episode's random draws

    @property
    def worlds(self) -> Imagined:
        """The same as a batch of one."""
        return Imagined(
            poses=torch.from_numpy(self.poses)[None],
            previous=torch.from_numpy(self.previous)[None],
            own=torch.from_numpy(self.own)[:, None],
            own_previous=torch.from_numpy(self.own_previous)[:, None],
        )

    def to_parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and JSON values for a blob store."""
        parts: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _ARRAYS}
        return parts, {"step": self.step, "seed": self.seed}

    @staticmethod
    def from_parts(
        parts: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]
    ) -> "ImaginedState":
        """Return the state `to_parts` gave; raises CheckpointError where something is missing."""
        try:
            return ImaginedState(
                **{name: parts[name] for name in _ARRAYS},
                step=int(meta["step"]), seed=int(meta["seed"]),
            )
        except KeyError as error:
            raise CheckpointError(
                f"the saved state has no {error}", where="branch store",
                remedy="it was saved by another kind of world; restore one of this session",
            ) from None


class Simulator:
    """Runs a world model step by step, one state at a time.

    Args:
        model: trained, in evaluation mode.
        limiter: the gate every action passes, the same as on the robot.
    """

    def __init__(self, model: WorldModel, limiter: Limiter) -> None:
        self._model = model
        self._limiter = limiter
        self.cameras: tuple[str, ...] = (model.config.camera,)

    @torch.no_grad()
    def begin(
        self, image: NDArray[np.uint8], proprioception: NDArray[Any], seed: int
    ) -> ImaginedState:
        """Return the state in which a recorded frame is the present one.

        Args:
            image: [H, W, 3] rgb.
            proprioception: [P] m.
            seed: of the episode's draws.
        """
        decoder = self._model.decoder
        hands = torch.from_numpy(np.asarray(proprioception, np.float32))[None]
        frame = frames_to_float(torch.from_numpy(np.ascontiguousarray(image))[None])
        poses, _ = register(decoder, frame, arm_poses(decoder, hands), 0, keep=3)
        return ImaginedState(
            **_arrays(imagination.begin(self._model, poses)),
            previous_step=self._limiter.initial_state().previous_step, step=0, seed=seed,
        )

    @torch.no_grad()
    def step(
        self, state: ImaginedState, action: NDArray[np.float64]
    ) -> tuple[ImaginedState, LimitResult]:
        """Return the next state, and the action as it was let through.

        Args:
            state: the present one; not changed.
            action: [A] absolute targets, m; wrong length or not finite means hold.
        """
        measured = self._proprioception(state)
        limited = self._limiter.limit(
            action, measured, LimiterState(previous_step=state.previous_step)
        )
        targets = self._model.targets(torch.from_numpy(limited.action.astype(np.float32))[None])
        following = imagination.advance(self._model, state.worlds, targets)
        return (
            replace(
                state, **_arrays(following), previous_step=limited.state.previous_step,
                step=state.step + 1,
            ),
            limited,
        )

    @torch.no_grad()
    def observe(self, state: ImaginedState) -> ImaginedObservation:
        """Return what a camera, the joints and the heads say of a state."""
        worlds = state.worlds
        poses = worlds.poses
        image = frames_to_bytes(self._model.decoder(poses))[0].numpy()
        progress, logit = self._model.head(poses[:, 0])
        return ImaginedObservation(
            image=image, proprioception=self._proprioception(state),
            trust=float(imagination.trust(imagination.doubt(self._model, worlds))[0]),
            progress=float(progress[0]), success=float(torch.sigmoid(logit[0])),
        )

    def restored(self, parts: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> ImaginedState:
        """Return the state whose `to_parts` gave this; raises CheckpointError as `from_parts`."""
        return ImaginedState.from_parts(parts, meta)

    def _proprioception(self, state: ImaginedState) -> NDArray[np.float64]:
        poses = torch.from_numpy(state.poses)[None]
        return self._model.proprioception(poses)[0].numpy().astype(np.float64)


def _arrays(worlds: Imagined) -> dict[str, Any]:
    """Return a batch of one as the arrays of a state."""
    return {
        "poses": worlds.poses[0].numpy().copy(), "previous": worlds.previous[0].numpy().copy(),
        "own": worlds.own[:, 0].numpy().copy(),
        "own_previous": worlds.own_previous[:, 0].numpy().copy(),
    }
