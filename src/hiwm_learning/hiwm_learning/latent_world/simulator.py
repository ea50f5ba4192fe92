"""A latent world run step by step: one state or many at once.

A state holds all there is: the window of latents and actions, proprioception, the limiter's memory,
doubt, step and seed. Noise is drawn from a generator seeded by the episode's seed and the step
alone, on the CPU, so nothing random need be carried along. Latents are rounded to float16 before
anything sees them, hence a state replays exactly although it stores half of the bits.

A step of one state and of a batch take other kernels, so they agree to rounding, not to the byte;
each replays its own bytes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError
from hiwm_core.limits import LimiterState, LimitResult
from hiwm_core.workspace_check import WorkspaceCheck
from hiwm_core.world_heads import HEADS
from hiwm_learning.action_gate import ActionGate, limiter_memory
from hiwm_learning.latent_world.dynamics import Condition
from hiwm_learning.latent_world.model import LatentWorldModel
from hiwm_learning.latent_world.views import apart, side_by_side
from hiwm_learning.simulators import Images, ImaginedObservation, Reading, reading

# Doubt at which trust has fallen to 1/e: the error expected of a frame is this share of the
# distance between two unrelated frames.
TRUST_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class LatentState:
    """Everything a latent world is at one step.

    At 96 px with one camera and a window of ten: 46 KB of latents, of which a step adds 4.6 KB to
    a content-addressed store, since each latent is a part of its own.
    """

    latents: tuple[NDArray[np.float16], ...]  # T of [K, h, w], oldest first, the present one last
    actions: NDArray[np.float32]  # [T - 1, A] row i led from latent i on; NaN = before the episode
    proprioception: NDArray[np.float64]  # [P] in the embodiment's units
    sent: NDArray[np.float64]  # [A] the limiter's memory: last target, NaN before the first
    previous_step: NDArray[np.float64]  # [A] and the step that led to it
    doubt: float  # error expected by now, a share of the distance between unrelated frames
    step: int  # control steps since the episode began
    seed: int  # of this episode's draws

    def to_parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and JSON values for a blob store."""
        parts: dict[str, NDArray[Any]] = {
            "actions": self.actions, "proprioception": self.proprioception,
            "sent": self.sent, "previous_step": self.previous_step,
        }
        parts.update({f"latent_{i:02d}": latent for i, latent in enumerate(self.latents)})
        # Floats as hex: exact through JSON.
        return parts, {"doubt": float(self.doubt).hex(), "step": self.step, "seed": self.seed}

    @staticmethod
    def from_parts(parts: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> "LatentState":
        """Return the state `to_parts` gave; raises CheckpointError where something is missing."""
        try:
            return LatentState(
                latents=tuple(
                    parts[f"latent_{i:02d}"] for i in range(len(parts["actions"]) + 1)
                ),
                actions=parts["actions"], proprioception=parts["proprioception"],
                **limiter_memory(parts), doubt=float.fromhex(meta["doubt"]),
                step=int(meta["step"]), seed=int(meta["seed"]),
            )
        except KeyError as error:
            raise CheckpointError(
                f"the saved state has no {error}", where="branch store",
                remedy="it was saved by another kind of world; restore one of this session",
            ) from None


class LatentSimulator:
    """Runs a latent world model; `hiwm_learning.simulators.WorldSimulator`, and many at once.

    Args:
        model: `ready` on the device.
        embodiment: of the world; its limits are those of the robot.
        heads: those that were trained; the others give NaN.
        device: of the model.
        workspace: a robot's check of targets; None checks nothing.
    """

    def __init__(
        self, model: LatentWorldModel, embodiment: Embodiment, heads: Collection[str] = HEADS,
        device: torch.device | str = "cpu", workspace: WorkspaceCheck | None = None,
    ) -> None:
        self._model = model
        self.heads = frozenset(heads)
        self._gate = ActionGate(embodiment, workspace)
        self._device = torch.device(device)
        self.cameras = model.config.cameras

    @torch.no_grad()
    def begin(
        self, image: Images, proprioception: NDArray[Any], seed: int
    ) -> LatentState:
        """Return the state in which recorded frames are the present, and always were.

        Args:
            image: [H, W, 3] rgb, or one for each of several cameras.
            proprioception: [P] in the embodiment's units.
            seed: of the episode's draws.

        Raises:
            CheckpointError: frames of another number or size than the model's.
        """
        config = self._model.config
        views = [image] if isinstance(image, np.ndarray) and image.ndim == 3 else list(image)
        found = [view.shape for view in views]
        wanted = [(*size, 3) for size in config.camera_sizes]
        if found != wanted:
            raise CheckpointError(
                f"start frames of shapes {found}, the model's are {wanted}",
                where="start frames", remedy="use those written beside the checkpoint",
            )
        frames = side_by_side(
            [torch.from_numpy(np.ascontiguousarray(view))[None] for view in views],
            (config.height, config.width),
        )
        latent = _halves(self._model.encode(frames.to(self._device)))[0]
        window = config.dynamics.context
        return LatentState(
            latents=(latent,) * window,
            actions=np.full((window - 1, len(config.action_lower)), np.nan, np.float32),
            proprioception=np.array(proprioception, np.float64),
            **vars(self._gate.initial_state()),
            doubt=0.0, step=0, seed=seed,
        )

    def step(
        self, state: LatentState, action: NDArray[np.float64]
    ) -> tuple[LatentState, LimitResult]:
        """Return the next state, and the action as it was let through.

        Args:
            state: the present one; not changed.
            action: [A] absolute targets; wrong length or not finite means hold.
        """
        states, limited = self.step_many([state], [action])
        return states[0], limited[0]

    @torch.no_grad()
    def step_many(
        self, states: Sequence[LatentState], actions: Sequence[NDArray[np.float64]]
    ) -> tuple[list[LatentState], list[LimitResult]]:
        """Return the next state of each of several worlds, and its action as it was let through."""
        limited = self._gate.limit_many(
            actions, [state.proprioception for state in states],
            [LimiterState(sent=state.sent, previous_step=state.previous_step) for state in states],
        )
        taken = np.stack([
            np.concatenate([state.actions, result.action[None].astype(np.float32)])
            for state, result in zip(states, limited, strict=True)
        ])
        latents = self._latents([state.latents for state in states])
        scaled = self._model.actions.scaled(torch.from_numpy(taken).to(self._device))
        condition = Condition(
            latents=latents, actions=scaled,
            noise=torch.zeros(len(states), device=self._device),
        )
        now, act = latents[:, -1], scaled[:, -1]
        generators = [_generator(state) for state in states]

        def draw() -> Tensor:
            noise = [torch.randn(now.shape[1:], generator=g) for g in generators]
            return torch.stack(noise).to(self._device)

        following = _halves(self._model.following(condition, draw))
        after = self._latents([(latent,) for latent in following])[:, 0]
        spread = self._model.doubt.spread(latents[:, -2], now, act) * self._model.doubt_scale
        read = self._model.proprioception(self._model.outcome(now, after, act)[0])
        joints = read.double().cpu().numpy()
        return [
            LatentState(
                latents=(*state.latents[1:], following[i]), actions=taken[i, 1:],
                proprioception=self._gate.settled(joints[i], state.proprioception),
                **vars(limited[i].state),
                doubt=state.doubt + float(spread[i]), step=state.step + 1, seed=state.seed,
            )
            for i, state in enumerate(states)
        ], limited

    def observe(self, state: LatentState) -> ImaginedObservation:
        """Return what cameras, joints and heads say of a state."""
        return self.observe_many([state])[0]

    @torch.no_grad()
    def observe_many(self, states: Sequence[LatentState]) -> list[ImaginedObservation]:
        """Return the observation of each of several states."""
        frames = self._model.decode(self._latents([state.latents[-1:] for state in states])[:, 0])
        views = [
            view.cpu().numpy() for view in apart(frames, self._model.config.camera_sizes)
        ]
        return [
            ImaginedObservation(
                image=views[0][i],
                others={
                    name: view[i] for name, view in zip(self.cameras[1:], views[1:], strict=True)
                },
                **vars(read),
            )
            for i, read in enumerate(self.read_many(states))
        ]

    @torch.no_grad()
    def read_many(self, states: Sequence[LatentState]) -> list[Reading]:
        """Return what joints and heads say of each of several states."""
        latents = self._latents([state.latents[-2:] for state in states])
        actions = torch.from_numpy(np.stack([state.actions[-1] for state in states]))
        scaled = self._model.actions.scaled(actions.to(self._device))
        _, progress, logit = self._model.outcome(latents[:, 0], latents[:, 1], scaled)
        success = torch.sigmoid(logit)
        return [
            reading(
                self.heads, proprioception=state.proprioception,
                trust=float(np.exp(-state.doubt / TRUST_SHARE)), progress=float(progress[i]),
                success=float(success[i]),
            )
            for i, state in enumerate(states)
        ]

    def redraw(
        self, recordings: Sequence[tuple[NDArray[np.uint8], NDArray[Any]]]
    ) -> list[list[ImaginedObservation]]:
        """Return recorded frames as they are encoded and decoded; see `WorldSimulator`."""
        return [
            self.observe_many([
                self.begin(frame, held, seed=0) for frame, held in zip(frames, joints, strict=True)
            ])
            for frames, joints in recordings
        ]

    def restored(self, parts: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> LatentState:
        """Return the state whose `to_parts` gave this; raises CheckpointError as `from_parts`."""
        return LatentState.from_parts(parts, meta)

    def _latents(self, windows: Sequence[Sequence[NDArray[np.float16]]]) -> Tensor:
        """Return [B, T, K, h, w] float32 on the device."""
        stacked = np.stack([np.stack(window) for window in windows])
        return torch.from_numpy(stacked).to(self._device).float()


def _halves(latents: Tensor) -> list[NDArray[np.float16]]:
    """Return latents [B, K, h, w] as float16 arrays of their own."""
    return [latent.copy() for latent in latents.half().cpu().numpy()]


def _generator(state: LatentState) -> torch.Generator:
    """Return the source of all that is random in the step from a state."""
    mixed = np.random.SeedSequence((state.seed, state.step)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]))
