"""A latent world run step by step: one state or many at once.

A state holds all there is: the scene, its light, joints, what hands seem to hold, the limiter's
memory, doubt and step. Nothing is random. Scenes are rounded to whole levels before anything sees
them, so a state replays exactly although it stores a byte of each number.

A step of one state and of a batch use other kernels: they agree to rounding, not to the byte, and
each replays its own bytes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
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
from hiwm_learning.world_models.latent.known_cells import cells_of
from hiwm_learning.world_models.latent.model import LatentWorldModel, Worlds, quantised
from hiwm_learning.world_models.latent.views import apart, side_by_side
from hiwm_learning.world_models.saved_states import Parts, SavedState
from hiwm_learning.world_models.simulators import Images, ImaginedObservation, Reading, reading

# Doubt at which trust has fallen to 1/e: the expected distance of the scene from the true one,
# as a share of the distance between unrelated frames.
TRUST_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How a simulator computes. Replays are exact in each way, but not from one to another."""

    bfloat16: bool = False  # of networks; a CPU becomes slower
    compiled: bool = False  # by torch.compile, which takes a minute at the first step

    @property
    def name(self) -> str:
        """A short name."""
        return ("bfloat16" if self.bfloat16 else "float32") + (
            "_compiled" if self.compiled else ""
        )


PLAIN = Precision()


@dataclass(frozen=True, kw_only=True)
class LatentState(SavedState):
    """Everything a latent world is at one step.

    At 128 px with one camera it has 50 KB.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = (
        "scene", "light", "proprioception", "before", "action", "evidence"
    )
    NUMBERS: ClassVar[tuple[str, ...]] = ("step", "seed")

    scene: NDArray[np.uint8]  # [C, 3, H, W] what is there, but for the robot
    light: NDArray[np.float32]  # [C, 3] factors on the usual pictures, of the first frame
    proprioception: NDArray[np.float64]  # [P] in the embodiment's units
    before: NDArray[np.float64]  # [P] one step earlier
    action: NDArray[np.float64]  # [A] that led here, after limits; NaN before the first
    evidence: NDArray[np.float32]  # [hands] logit of holding something, by all seen since it shut
    doubt: float  # expected error by now, a share of the distance between unrelated frames
    seed: int  # of the episode

    def to_parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and JSON values for a blob store."""
        parts, meta = super().to_parts()
        # Floats as hex: exact through JSON.
        return parts, {"doubt": float(self.doubt).hex(), **meta}

    @classmethod
    def _fields(cls, parts: Parts, meta: Mapping[str, Any]) -> dict[str, Any]:
        return {"doubt": float.fromhex(meta["doubt"]), **super()._fields(parts, meta)}


class LatentSimulator:
    """Runs a latent world model; see `world_models.simulators.WorldSimulator`.

    Args:
        model: `ready` on the device.
        embodiment: of the world; its limits are those of the robot.
        heads: those that were trained; the others give NaN.
        device: of the model.
        workspace: a robot's check of targets; None checks nothing.
        precision: of the computation.
    """

    def __init__(
        self, model: LatentWorldModel, embodiment: Embodiment, heads: Collection[str] = HEADS,
        device: torch.device | str = "cpu", workspace: WorkspaceCheck | None = None,
        precision: Precision = PLAIN,
    ) -> None:
        self._model = model
        self._halved = precision.bfloat16
        self._follow, self._decode = model.follow, model.decode
        if precision.compiled:
            # For each batch size a kernel of its own, whatever sizes came before.
            self._follow = torch.compile(model.follow, dynamic=False)
            self._decode = torch.compile(model.decode, dynamic=False)
        self.heads = frozenset(heads)
        self._gate = ActionGate(embodiment, workspace)
        self._device = torch.device(device)
        self.cameras = model.config.cameras
        self.can_restore = True

    @torch.no_grad()
    def begin(self, image: Images, proprioception: NDArray[Any], seed: int) -> LatentState:
        """Return the state in which a recorded frame is the present one.

        Args:
            image: [H, W, 3] rgb, or one for each of several cameras.
            proprioception: [P] in the embodiment's units.
            seed: of the episode.

        Raises:
            CheckpointError: frames of another number or size than the model's.
        """
        config = self._model.config
        views = [image] if isinstance(image, np.ndarray) and image.ndim == 3 else list(image)
        shapes = [view.shape for view in views]
        wanted = [(*size, 3) for size in config.sizes]
        if shapes != wanted:
            raise CheckpointError(
                f"start frames of shapes {shapes}, the model's are {wanted}",
                where="start frames", remedy="use those written beside the checkpoint",
            )
        frames = side_by_side(
            [torch.from_numpy(np.ascontiguousarray(view))[None] for view in views],
            (config.height, config.width),
        ).to(self._device)
        joints = np.array(proprioception, np.float64)
        found = self._model.scenes(frames, self._floats([joints]))
        return LatentState(
            scene=_levels(found.pictures)[0], light=found.light[0].cpu().numpy().copy(),
            proprioception=joints, before=joints, action=np.full(config.actions, np.nan),
            evidence=np.zeros(len(config.arms), np.float32),
            **vars(self._gate.initial_state()), doubt=0.0, step=0, seed=seed,
        )

    def step(
        self, state: LatentState, action: NDArray[np.float64]
    ) -> tuple[LatentState, LimitResult]:
        """Return the next state, and the action after limits.

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
        """Return the next state of each of several worlds, and its action after limits."""
        joints = [state.proprioception for state in states]
        limited = self._gate.limit_many(
            actions, joints,
            [state.limiter for state in states],
        )
        measured = [self._gate.measured(seen) for seen in joints]
        gaps = [result.action - held for result, held in zip(limited, measured, strict=True)]
        last_gaps = [
            np.nan_to_num(state.action - held)
            for state, held in zip(states, measured, strict=True)
        ]
        worlds = Worlds(
            scene=self._scenes(states), light=self._lights(states), joints=self._floats(joints),
            joints_before=self._floats([state.before for state in states]),
            gap=self._floats(gaps), last_gap=self._floats(last_gaps),
            command=self._floats([result.action for result in limited]),
            evidence=self._floats([state.evidence for state in states]),
            luck=self._floats([_luck(state) for state in states]),
        )
        before = torch.tensor([state.doubt for state in states], device=self._device)
        with self._autocast():
            predicted, after = self._follow(worlds)
            doubt = self._model.doubts(predicted.summary, before)
        following = _levels(predicted.scene)
        evidence = predicted.evidence.float().cpu().numpy()
        reached, doubts = after.double().cpu().numpy(), doubt.double().cpu().tolist()
        return [
            LatentState(
                scene=following[i], light=state.light,
                proprioception=self._gate.settled(reached[i], state.proprioception),
                before=state.proprioception, action=limited[i].action, **vars(limited[i].state),
                evidence=evidence[i].copy(), doubt=doubts[i], step=state.step + 1, seed=state.seed,
            )
            for i, state in enumerate(states)
        ], limited

    def observe(self, state: LatentState) -> ImaginedObservation:
        """Return images, joints and head outputs of a state."""
        return self.observe_many([state])[0]

    @torch.no_grad()
    def observe_many(self, states: Sequence[LatentState]) -> list[ImaginedObservation]:
        """Return the observation of each of several states."""
        scene, light, joints = self._present(states)
        with self._autocast():
            frames = self._decode(scene, light, joints)
        views = [view.cpu().numpy() for view in apart(frames, self._model.config.sizes)]
        return [
            ImaginedObservation(
                image=views[0][i],
                others={
                    name: view[i] for name, view in zip(self.cameras[1:], views[1:], strict=True)
                },
                **vars(read),
            )
            for i, read in enumerate(self._read(states, scene, light, joints))
        ]

    @torch.no_grad()
    def read_many(self, states: Sequence[LatentState]) -> list[Reading]:
        """Return joints and head outputs of each of several states."""
        return self._read(states, *self._present(states))

    def _read(
        self, states: Sequence[LatentState], scene: Tensor, light: Tensor, joints: Tensor
    ) -> list[Reading]:
        difference = self._model.difference(scene, light)
        progress, logit = self._model.outcome(difference, self._model.posture(joints))
        success = torch.sigmoid(logit)
        strangeness = self._model.known.strangeness(cells_of(difference))
        return [
            reading(
                self.heads, proprioception=state.proprioception,
                trust=float(np.exp(-state.doubt / TRUST_SHARE)), progress=float(progress[i]),
                success=float(success[i]), strangeness=float(strangeness[i]),
            )
            for i, state in enumerate(states)
        ]

    def redraw(
        self, recordings: Sequence[tuple[Sequence[Images], NDArray[Any]]]
    ) -> list[list[ImaginedObservation]]:
        """Return recorded frames as they are taken apart and drawn; see `WorldSimulator`."""
        return [
            self.observe_many([
                self.begin(frame, held, seed=0) for frame, held in zip(frames, joints, strict=True)
            ])
            for frames, joints in recordings
        ]

    def restored(self, parts: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> LatentState:
        """Return the state from the output of `to_parts`; raises as `LatentState.from_parts`."""
        return LatentState.from_parts(parts, meta)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._halved)

    def _present(self, states: Sequence[LatentState]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the present scenes, their lights and joints [B, P]."""
        joints = self._floats([state.proprioception for state in states])
        return self._scenes(states), self._lights(states), joints

    def _scenes(self, states: Sequence[LatentState]) -> Tensor:
        """Return [B, C, 3, H, W] in 0..1 on the device."""
        stacked = np.stack([state.scene for state in states])
        return torch.from_numpy(stacked).to(self._device).float() / 255.0

    def _lights(self, states: Sequence[LatentState]) -> Tensor:
        """Return [B, C, 3] on the device."""
        return torch.from_numpy(np.stack([state.light for state in states])).to(self._device)

    def _floats(self, rows: Sequence[NDArray[Any]]) -> Tensor:
        return torch.from_numpy(np.stack(rows).astype(np.float32)).to(self._device)


def _levels(scenes: Tensor) -> list[NDArray[np.uint8]]:
    """Return scenes [B, ...] in 0..1 as arrays of whole levels that share no memory."""
    return [scene.copy() for scene in quantised(scenes).cpu().numpy()]


def _luck(state: LatentState) -> NDArray[np.float64]:
    """Return a number in 0..1 for each hand: always the same at a step of an episode."""
    key = np.array([state.seed % 2**64, state.step], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random(len(state.evidence))
