"""The imagination node's logic without ROS: episodes, epochs, steps, saving and restoring.

The node relies on one guarantee: after `reset`, `restore` or an accepted `step`, the present tick
is complete, saved in the store and named by its state id.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.array_files import read_arrays
from hiwm_core.blob_store import BlobStore
from hiwm_core.errors import CheckpointError, ConfigError, StoreError
from hiwm_core.formats import MIGRATE
from hiwm_core.recorded_starts import ObservedStart, SavedStart
from hiwm_core.session_lineage import EpisodeCounter
from hiwm_core.task_plugin import Values
from hiwm_core.tasks import Task
from hiwm_learning.start_frames_upgrade import EARLIER
from hiwm_learning.world_models.recordings import start_images
from hiwm_learning.world_models.simulators import (
    Images,
    ImaginedObservation,
    WorldSimulator,
    WorldState,
)


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Held-out recorded frames that episodes start from."""

    names: tuple[str, ...]
    images: Sequence[Images]  # N; of each, an image [H, W, 3] rgb, or one of each camera
    proprioception: NDArray[np.float32]  # [N, P] in the embodiment's units
    # [N, S] labels in the order of the task's start_names, only for pairing trials between worlds.
    values: NDArray[np.float64]
    task: Task

    def choose(self, name: str, wanted: Values | None, counter: int) -> int:
        """Return the index of a start by name, nearest values, or turn.

        Raises:
            ConfigError: no start of that name.
        """
        if name:
            if name not in self.names:
                raise ConfigError(
                    f"no start named {name!r}", where="world/reset",
                    remedy=f"use one of {self.names[0]} ... {self.names[-1]}",
                )
            return self.names.index(name)
        if wanted:
            return self.nearest(tuple(wanted[name] for name in self.task.start_names))
        return counter % len(self.names)

    def nearest(self, wanted: Sequence[float]) -> int:
        """Return the index of the start nearest to values in the task's order."""
        names = self.task.start_names
        goal = dict(zip(names, wanted, strict=True))
        return int(np.argmin([
            self.task.start_distance(dict(zip(names, row, strict=True)), goal)
            for row in self.values.tolist()
        ]))


def load_starts(path: Path, task: Task) -> Starts:
    """Return the starts in a file written by world-model training.

    Raises:
        CheckpointError: missing or malformed.
    """
    try:
        data = read_arrays(path)
        if EARLIER in data:
            raise CheckpointError(
                "start frames of an earlier version", where=str(path), remedy=MIGRATE
            )
        views: list[Any] = [data["images"]]
        while (name := start_images(len(views))) in data:
            views.append(data[name])
        names, proprioception, values = (
            data[key] for key in ("names", "proprioception", "start_values")
        )
        rows = {array.shape[:1] for array in (names, proprioception, values, *views)}
        if len(rows) != 1 or rows <= {(), (0,)}:
            raise ValueError(f"arrays of {sorted(rows)} rows")
        return Starts(
            names=tuple(map(str, names)),
            images=views[0] if len(views) == 1 else tuple(zip(*views, strict=True)),
            proprioception=proprioception, values=values, task=task,
        )
    except (OSError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"cannot read the start frames: {error}", where=str(path),
            remedy="training writes them beside the world-model checkpoint",
        ) from None


@dataclass(frozen=True, kw_only=True)
class PresentTick:
    """The present tick, as the node publishes it."""

    epoch: int
    step: int
    episode_id: str
    branch_id: str
    started_from: str  # where the episode began; empty at a start of the world's own
    state_id: str
    observation: ImaginedObservation
    applied_action: NDArray[np.float64] | None  # None on the first tick of an epoch
    applied_source: int
    applied_device: str
    applied_note: str = ""  # why the action was changed or held by limits


class ImaginedWorld:
    """One imagined world and its present tick.

    Args:
        simulator: runs the model.
        starts: where episodes start.
        store: saves every state; None saves nothing.
        counter: the last epoch and episode of the session.
        model_hash: sha256 of the checkpoint, stored with every state.
        earlier_hashes: of the same checkpoint, in states from before it was migrated.
        seed: shuffles the order of starts.
    """

    def __init__(
        self, simulator: WorldSimulator[Any], starts: Starts, store: BlobStore | None,
        counter: EpisodeCounter, model_hash: str, seed: int, earlier_hashes: Sequence[str] = (),
    ) -> None:
        self._simulator = simulator
        self._starts = starts
        self._store = store
        self._counter = counter
        self.cameras: tuple[str, ...] = simulator.cameras
        # Hashes of the model in the sessions whose states it can restore, its own first.
        self.models = (model_hash, *earlier_hashes)
        self._epoch, self._episode = counter.read()
        self._order = np.random.default_rng(seed).permutation(len(starts.names))
        self._resets = self._episode
        self._state: WorldState | None = None
        self._started_from = ""
        self.now: PresentTick | None = None
        self.holds = 0  # actions refused and answered with a hold
        self.fault = ""  # why the last action was refused; empty if it was not

    def reset(
        self, name: str = "", wanted: Values | None = None, seed: int = -1
    ) -> PresentTick:
        """Start an episode.

        Args:
            name: of a start; empty = by values or in turn.
            wanted: values by name; selects the nearest start.
            seed: selects the start if neither is given; -1 = the next in turn.

        Raises:
            ConfigError: no such start.
            StoreError: the state cannot be saved.
        """
        turn = int(self._order[(self._resets if seed < 0 else seed) % len(self._order)])
        index = self._starts.choose(name, wanted, turn)
        state = self._simulator.begin(
            self._starts.images[index], self._starts.proprioception[index], max(seed, 0)
        )
        self._resets += 1
        return self._begin(state, "")

    def reset_to(self, start: ObservedStart | SavedStart, seed: int = -1) -> PresentTick:
        """Start an episode at a recorded or live moment, or at a saved state.

        Args:
            start: images in the order of the simulator's cameras.
            seed: of the episode's randomness; a saved state has its own.

        Raises:
            CheckpointError: the model cannot begin from these frames, or not from this state.
            StoreError: the state cannot be saved.
        """
        if isinstance(start, SavedStart):
            # Steps count from the start of this episode.
            state = self._simulator.restored(start.parts, {**start.meta, "step": 0})
        else:
            state = self._simulator.begin(start.images, start.proprioception, max(seed, 0))
        return self._begin(state, start.started_from)

    def _begin(self, state: WorldState, started_from: str) -> PresentTick:
        self._episode += 1
        self._epoch += 1
        self._counter.write(self._epoch, self._episode)
        episode = f"ep_{self._episode:04d}"
        self._started_from = started_from
        return self._enter(state, episode, f"{episode}-b000", None, 0, "")

    def restore(self, state_id: str, branch_id: str, episode_id: str) -> PresentTick:
        """Make a saved state the present one.

        Raises:
            StoreError: the state is unknown, damaged or of another model, or the model's server
                cannot restore.
        """
        self._require_restorable("world/restore_state")
        state, meta = self._saved(state_id, "world/restore_state")
        assert self.now is not None
        self._epoch += 1
        self._started_from = str(meta.get("started_from", ""))
        self._counter.write(self._epoch, self._episode)
        return self._enter(
            state, episode_id or str(meta["episode"]), branch_id or self.now.branch_id, None, 0, ""
        )

    def state(self, state_id: str) -> WorldState:
        """Return a saved state, or the present one if the id is empty; nothing changes.

        Raises:
            StoreError: as `restore`, or there is no present state yet.
        """
        self._require_restorable("world/continue_state")
        if state_id:
            return self._saved(state_id, "world/continue_state")[0]
        if self._state is None:
            raise StoreError(
                "there is no state yet", where="world/continue_state",
                remedy="wait for the first tick",
            )
        return self._state

    def expects(self, epoch: int, step: int) -> bool:
        """Return whether a command answers the present tick."""
        return self.now is not None and (epoch, step) == (self.now.epoch, self.now.step)

    def step(self, action: NDArray[np.float64], source: int, device: str) -> PresentTick:
        """Take one step; an action that the robot would refuse holds.

        Raises:
            StoreError: the state cannot be saved.
            ServerError, WireError: the model's server is lost, fails, or answers wrongly; the
                present tick stays.
        """
        if self._state is None or self.now is None:
            raise RuntimeError("reset before step")
        state, limited = self._simulator.step(self._state, action)
        self.holds += limited.held
        self.fault = f"action of {device} {limited.reason}" if limited.held else ""
        return self._enter(
            state, self.now.episode_id, self.now.branch_id, limited.action, source, device,
            limited.note,
        )

    def pin(self, note: str) -> PresentTick:
        """Pin the present state, so that it is never deleted.

        Raises:
            StoreError: this world saves nothing.
        """
        if self._store is None or self.now is None:
            raise StoreError(
                "this world saves no states", where="world/save_state",
                remedy="start it with a session_dir",
            )
        self._store.pin(self.now.state_id, note)
        return self.now

    def _require_restorable(self, where: str) -> None:
        if not self._simulator.can_restore:
            raise StoreError(
                "the server of this world model cannot restore a state", where=where,
                remedy="begin a new episode (world/reset), or use a model that hands out its "
                "states",
            )

    def _saved(self, state_id: str, where: str) -> tuple[WorldState, dict[str, Any]]:
        """Return a saved state, and what was saved with it."""
        if self._store is None or self.now is None:
            raise StoreError(
                "this world saves no states", where=where, remedy="start it with a session_dir",
            )
        parts, meta = self._store.get_state(state_id)
        if meta.get("model") not in self.models:
            raise StoreError(
                f"state {state_id} was imagined by model {str(meta.get('model'))[:12]}, this world "
                f"runs {self.models[0][:12]}", where=where,
                remedy="start the world with the checkpoint of that session",
            )
        return self._simulator.restored(parts, meta), meta

    def _enter(
        self, state: WorldState, episode: str, branch: str,
        action: NDArray[np.float64] | None, source: int, device: str, note: str = "",
    ) -> PresentTick:
        observation = self._simulator.observe(state)
        state_id = ""
        if self._store is not None:
            parts, meta = state.to_parts()
            everything: dict[str, Any] = {
                **meta, "model": self.models[0], "episode": episode,
            }
            if not math.isnan(observation.trust):
                everything["trust"] = observation.trust
            if self._started_from:
                everything["started_from"] = self._started_from
            state_id = self._store.put_state({**parts, "frame": observation.image}, everything)
        self._state = state
        self.now = PresentTick(
            epoch=self._epoch, step=state.step, episode_id=episode, branch_id=branch,
            started_from=self._started_from, state_id=state_id, observation=observation,
            applied_action=action, applied_source=source, applied_device=device, applied_note=note,
        )
        return self.now
