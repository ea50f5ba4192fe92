"""A world made of a world model: reset, step, observe, save, restore.

All that an imagined world is at one moment is one `ImaginedState`; nothing is kept beside it. A
restored state given the same actions yields the same bytes on the same machine.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError
from hiwm_core.limits import LimitResult
from hiwm_core.workspace_check import WorkspaceCheck
from hiwm_core.world_heads import HEADS
from hiwm_learning.action_gate import ActionGate
from hiwm_learning.world_models.layered import imagination
from hiwm_learning.world_models.layered.appearance import arm_poses
from hiwm_learning.world_models.layered.imagination import Imagined
from hiwm_learning.world_models.layered.layers import frames_to_bytes, frames_to_float
from hiwm_learning.world_models.layered.model import WorldModel
from hiwm_learning.world_models.layered.registration import register
from hiwm_learning.world_models.layered.tracking import track
from hiwm_learning.world_models.saved_states import SavedState
from hiwm_learning.world_models.simulators import Images, ImaginedObservation, Reading, reading

# Pictures drawn together; of more, what is worked on falls out of the processor's cache.
_PICTURES = 4
_FRAMES_KNOWN = 512


@dataclass(frozen=True, kw_only=True)
class ImaginedState(SavedState):
    """Everything an imagined world is at one step."""

    ARRAYS: ClassVar[tuple[str, ...]] = ("poses", "previous", "own", "own_previous")
    NUMBERS: ClassVar[tuple[str, ...]] = ("step", "seed")

    poses: NDArray[np.float32]  # [L, 4] latents: x, y (m), cos, sin of each layer
    previous: NDArray[np.float32]  # [L, 4] one step earlier: the action window's trace
    own: NDArray[np.float32]  # [M, L, 4] likewise, as predicted by each member on its own
    own_previous: NDArray[np.float32]  # [M, L, 4] one step earlier
    seed: int  # of the episode


class Simulator:
    """Runs a world model step by step: one state or many at once.

    Args:
        model: trained, in evaluation mode.
        embodiment: of the world; its limits are those of the robot.
        heads: those that were trained; the others give NaN.
        workspace: a robot's check of targets; None checks nothing.
    """

    def __init__(
        self, model: WorldModel, embodiment: Embodiment, heads: Collection[str] = HEADS,
        workspace: WorkspaceCheck | None = None,
    ) -> None:
        self._model = model
        self._gate = ActionGate(embodiment, workspace)
        self.heads = frozenset(heads)
        self.cameras: tuple[str, ...] = (model.config.camera,)
        self.can_restore = True
        # Episodes begin from the same few frames again and again, and finding the object in one
        # costs as much as forty steps.
        self._registered = lru_cache(maxsize=_FRAMES_KNOWN)(self._register)

    def begin(
        self, image: Images, proprioception: NDArray[Any], seed: int
    ) -> ImaginedState:
        """Return the state in which a recorded frame is the present one.

        Args:
            image: [H, W, 3] rgb.
            proprioception: [P] m.
            seed: of the episode's draws.

        Raises:
            CheckpointError: images of several cameras.
        """
        frame, values = _only_view(image), np.asarray(proprioception, np.float32)
        return replace(self._registered(frame.tobytes(), frame.shape, values.tobytes()), seed=seed)

    @torch.no_grad()
    def _register(
        self, image: bytes, shape: tuple[int, ...], proprioception: bytes
    ) -> ImaginedState:
        decoder = self._model.decoder
        arms = torch.frombuffer(bytearray(proprioception), dtype=torch.float32)[None]
        pixels = torch.frombuffer(bytearray(image), dtype=torch.uint8).reshape(1, *shape)
        poses, _ = register(
            decoder, frames_to_float(pixels), arm_poses(decoder, arms), 0, keep=3
        )
        return self._resting(poses)[0]

    def step(
        self, state: ImaginedState, action: NDArray[np.float64]
    ) -> tuple[ImaginedState, LimitResult]:
        """Return the next state, and the action as it was let through.

        Args:
            state: the present one; not changed.
            action: [A] absolute targets, m; wrong length or not finite means hold.
        """
        states, limited = self.step_many([state], [action])
        return states[0], limited[0]

    @torch.no_grad()
    def step_many(
        self, states: Sequence[ImaginedState], actions: Sequence[NDArray[np.float64]]
    ) -> tuple[list[ImaginedState], list[LimitResult]]:
        """Return the next state of each of several worlds, and its action as it was let through."""
        worlds = _worlds(states)
        limited = self._gate.limit_many(
            actions, list(self._proprioception(worlds)),
            [state.limiter for state in states],
        )
        taken = np.stack([result.action.astype(np.float32) for result in limited])
        targets = self._model.targets(torch.from_numpy(taken))
        following = imagination.advance(self._model, worlds, targets)
        return [
            replace(
                state, **_arrays(following, i), **vars(limited[i].state), step=state.step + 1,
            )
            for i, state in enumerate(states)
        ], limited

    def observe(self, state: ImaginedState) -> ImaginedObservation:
        """Return what a camera, the joints and the heads say of a state."""
        return self.observe_many([state])[0]

    @torch.no_grad()
    def observe_many(self, states: Sequence[ImaginedState]) -> list[ImaginedObservation]:
        """Return the observation of each of several states."""
        images = [
            image for poses in _worlds(states).poses.split(_PICTURES)
            for image in frames_to_bytes(self._model.decoder.draw(poses)).numpy()
        ]
        return [
            ImaginedObservation(image=image, **vars(read))
            for image, read in zip(images, self.read_many(states), strict=True)
        ]

    @torch.no_grad()
    def read_many(self, states: Sequence[ImaginedState]) -> list[Reading]:
        """Return what joints and heads say of each of several states."""
        worlds = _worlds(states)
        progress, logit = self._model.head(worlds.poses[:, 0])
        success = torch.sigmoid(logit)
        trust = imagination.trust(imagination.doubt(self._model, worlds))
        return [
            reading(
                self.heads, proprioception=each, trust=float(trust[i]),
                progress=float(progress[i]), success=float(success[i]),
            )
            for i, each in enumerate(self._proprioception(worlds))
        ]

    def redraw(
        self, recordings: Sequence[tuple[Sequence[Images], NDArray[Any]]]
    ) -> list[list[ImaginedObservation]]:
        """Return recorded frames as they are registered and drawn again; see `WorldSimulator`."""
        found = track(
            self._model.decoder,
            [
                (
                    torch.from_numpy(np.stack([_only_view(view) for view in views])),
                    torch.from_numpy(np.asarray(proprioception, np.float32)),
                )
                for views, proprioception in recordings
            ],
            lambda _: None,
        )
        return [
            [
                one for part in poses.split(_PICTURES)
                for one in self.observe_many(self._resting(part))
            ]
            for poses, _ in found
        ]

    def _resting(self, poses: Tensor) -> list[ImaginedState]:
        """Return states that have always been at poses [B, L, 4]."""
        worlds = imagination.begin(self._model, poses)
        limits = vars(self._gate.initial_state())
        return [
            ImaginedState(**_arrays(worlds, i), **limits, step=0, seed=0)
            for i in range(len(poses))
        ]

    def restored(self, parts: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> ImaginedState:
        """Return the state whose `to_parts` gave this; raises CheckpointError as `from_parts`."""
        return ImaginedState.from_parts(parts, meta)

    def _proprioception(self, worlds: Imagined) -> NDArray[np.float64]:
        """Return proprioception [B, P] of worlds, in the embodiment's units."""
        read = self._model.proprioception(worlds.poses, worlds.previous)
        return read.numpy().astype(np.float64)


def _worlds(states: Sequence[ImaginedState]) -> Imagined:
    """Return states as a batch."""
    def stacked(name: str, axis: int) -> Tensor:
        return torch.from_numpy(np.stack([getattr(state, name) for state in states], axis))

    return Imagined(
        poses=stacked("poses", 0), previous=stacked("previous", 0),
        own=stacked("own", 1), own_previous=stacked("own_previous", 1),
    )


def _only_view(image: Images) -> NDArray[np.uint8]:
    """Return the frame [H, W, 3] of the only camera; raises CheckpointError for several."""
    if isinstance(image, np.ndarray) and image.ndim == 3:
        return image
    if len(image) != 1:
        raise CheckpointError(
            f"start frames of {len(image)} cameras, the layered model draws one",
            where="start frames", remedy="use those written beside the checkpoint",
        )
    return image[0]


def _arrays(worlds: Imagined, index: int) -> dict[str, Any]:
    """Return one world of a batch as the arrays of a state."""
    return {
        "poses": worlds.poses[index].numpy().copy(),
        "previous": worlds.previous[index].numpy().copy(),
        "own": worlds.own[:, index].numpy().copy(),
        "own_previous": worlds.own_previous[:, index].numpy().copy(),
    }
