"""A world behind a server, run step by step.

The server predicts; limits apply here, as in every world. A state holds the server's own state as
opaque bytes beside what it shows, so that a session can save it, and another server of the same
model can continue it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError, ConfigError, ServerError, WireError
from hiwm_core.limits import LimiterState, LimitResult
from hiwm_core.measured import measured_columns
from hiwm_core.workspace_check import WorkspaceCheck
from hiwm_core.world_heads import HEADS
from hiwm_learning.action_gate import ActionGate
from hiwm_learning.world_models.remote.connection import WorldConnection
from hiwm_learning.world_models.remote.protocol import ServedState, WorldMetadata, read_states
from hiwm_learning.world_models.saved_states import Parts, SavedState
from hiwm_learning.world_models.simulators import Images, ImaginedObservation, Reading, reading

_RATINGS = (*HEADS, "strangeness")
# Other clients may push out restored states before the step that needs them.
_RESTORE_TRIES = 5
_PART, _VIEW = "server_", "view_"  # names of the server's bytes and of frames in a saved state


@dataclass(frozen=True, kw_only=True)
class RemoteState(SavedState):
    """A state of the server, what it shows, and the limiter's memory."""

    ARRAYS: ClassVar[tuple[str, ...]] = ("proprioception",)

    id: str  # under which the server knows it
    parts: Mapping[str, bytes]  # of the server; empty if it cannot restore
    images: tuple[NDArray[np.uint8], ...]  # of each camera, [H, W, 3]
    ratings: Mapping[str, float]  # of the heads, and strangeness; NaN: not known
    proprioception: NDArray[np.float64]  # [P] in the embodiment's units

    def to_parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and JSON values for a blob store, which keeps equal parts once."""
        arrays, meta = super().to_parts()
        arrays.update({f"{_VIEW}{i}": image for i, image in enumerate(self.images)})
        arrays.update({
            _PART + name: np.frombuffer(part, np.uint8) for name, part in self.parts.items()
        })
        # Floats as hex: exact through JSON.
        ratings = {name: float(value).hex() for name, value in self.ratings.items()}
        return arrays, {"server_state": self.id, "ratings": ratings, **meta}

    @classmethod
    def _fields(cls, parts: Parts, meta: Mapping[str, Any]) -> dict[str, Any]:
        views = sorted(
            (name for name in parts if name.startswith(_VIEW)), key=lambda name: int(name[5:])
        )
        return {
            "id": meta["server_state"],
            "ratings": {name: float.fromhex(meta["ratings"][name]) for name in _RATINGS},
            "parts": {
                name.removeprefix(_PART): part.tobytes()
                for name, part in parts.items() if name.startswith(_PART)
            },
            "images": tuple(parts[name] for name in views), **super()._fields(parts, meta),
        }


class RemoteSimulator:
    """Runs a world model behind a server; see `world_models.simulators.WorldSimulator`.

    Args:
        connection: to the server.
        metadata: what the server said when it was chosen.
        embodiment: of the world; its limits are those of the robot.
        heads: those that were trained; the others give NaN.
        workspace: a robot's check of targets; None checks nothing.

    Raises:
        ConfigError: the server predicts no joints, and the embodiment has some that no target says.
    """

    def __init__(
        self, connection: WorldConnection, metadata: WorldMetadata, embodiment: Embodiment,
        heads: Collection[str], workspace: WorkspaceCheck | None = None,
    ) -> None:
        self._server, self._metadata = connection, metadata
        self._gate = ActionGate(embodiment, workspace)
        self._columns = measured_columns(embodiment)
        size = len(embodiment.proprioception)
        if not metadata.proprioception and sorted(self._columns) != list(range(size)):
            raise ConfigError(
                f"{metadata.name} predicts no joints, and targets alone do not say all of "
                f"proprioception", where=f"embodiment {embodiment.name}: proprioception",
                remedy="let the server predict them, or list only the positions that are commanded",
            )
        self.heads = frozenset(heads)
        self.cameras = tuple(view.name for view in metadata.cameras)
        self.can_restore = metadata.can_restore

    def begin(self, image: Images, proprioception: NDArray[Any], seed: int) -> RemoteState:
        """Return the state for recorded frames; see `WorldSimulator`.

        Raises:
            CheckpointError: frames of another number or size than the model's.
            ServerError, WireError: the server is lost, fails, or answers wrongly.
        """
        views = [image] if isinstance(image, np.ndarray) and image.ndim == 3 else list(image)
        wanted = [(view.height, view.width, 3) for view in self._metadata.cameras]
        found = [view.shape for view in views]
        if found != wanted:
            raise CheckpointError(
                f"start frames of shapes {found}, the model's are {wanted}",
                where="start frames", remedy="use those written beside the checkpoint",
            )
        joints = np.array(proprioception, np.float64)
        reply = self._server.ask({
            "request": "begin", "seed": seed, "proprioception": joints,
            "images": [np.ascontiguousarray(view) for view in views],
        })
        ((served,),) = read_states(reply, self._metadata, 1, 1)
        return self._state(served, joints, self._gate.initial_state(), step=0)

    def step(
        self, state: RemoteState, action: NDArray[np.float64]
    ) -> tuple[RemoteState, LimitResult]:
        """Return the next state, and the action [A] after limits."""
        states, limited = self.step_many([state], [action])
        return states[0], limited[0]

    def step_many(
        self, states: Sequence[RemoteState], actions: Sequence[NDArray[np.float64]]
    ) -> tuple[list[RemoteState], list[LimitResult]]:
        """Return the next state of each of several worlds, and its action after limits.

        Raises:
            ServerError, WireError: as `begin`; or the server has lost a state that it cannot
                restore, or loses restored states at once.
        """
        limited = self._gate.limit_many(
            actions, [state.proprioception for state in states],
            [state.limiter for state in states],
        )
        request = {
            "request": "step", "states": [state.id for state in states],
            "actions": np.stack([result.action for result in limited])[:, None],
        }
        rows = read_states(self._stepped(states, request), self._metadata, len(states), 1)
        return [
            self._state(row[0], self._followed(before, result), result.state, step=before.step + 1)
            for row, before, result in zip(rows, states, limited, strict=True)
        ], limited

    def observe(self, state: RemoteState) -> ImaginedObservation:
        """Return images, joints and head outputs of a state."""
        return ImaginedObservation(
            image=state.images[0],
            others=dict(zip(self.cameras[1:], state.images[1:], strict=True)),
            **vars(self._read(state)),
        )

    def observe_many(self, states: Sequence[RemoteState]) -> list[ImaginedObservation]:
        """Return the observation of each of several states."""
        return [self.observe(state) for state in states]

    def read_many(self, states: Sequence[RemoteState]) -> list[Reading]:
        """Return joints and head outputs of each of several states."""
        return [self._read(state) for state in states]

    def redraw(
        self, recordings: Sequence[tuple[Sequence[Images], NDArray[Any]]]
    ) -> list[list[ImaginedObservation]]:
        """Return recorded frames as the server shows them at the start of an episode."""
        return [
            [self.observe(self.begin(frame, held, seed=0))
             for frame, held in zip(frames, joints, strict=True)]
            for frames, joints in recordings
        ]

    def restored(self, parts: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> RemoteState:
        """Return the state from the output of `to_parts`; the server gets it with the next step.

        Raises:
            CheckpointError: a part is missing, or the server cannot restore.
        """
        if not self.can_restore:
            raise CheckpointError(
                f"the server of {self._metadata.name} cannot restore a state",
                where=self._server.url,
                remedy="begin at a recorded frame, or serve a model that hands out its states",
            )
        return RemoteState.from_parts(parts, meta)

    def _stepped(self, states: Sequence[RemoteState], request: dict[str, Any]) -> Any:
        """Return the reply to a step; the server gets the states that it no longer has."""
        for _ in range(1 + _RESTORE_TRIES):
            reply = self._server.ask(request)
            if not isinstance(reply, dict) or "unknown" not in reply:
                return reply
            self._send_again(states, reply["unknown"])
        raise ServerError(
            f"the server loses restored states at once, in a batch of {len(states)}",
            where=self._server.url,
            remedy="use smaller batches or fewer clients, or let the server keep more states",
        )

    def _send_again(self, states: Sequence[RemoteState], places: Any) -> None:
        """Give the server the states that it no longer has."""
        known = range(len(states))
        if not isinstance(places, list) or not places or any(i not in known for i in places):
            raise WireError(
                f"unknown states {places!r}", where=self._server.url,
                remedy="name the places of the states in the request",
            )
        if not self.can_restore:
            raise ServerError(
                "the server has lost this episode and cannot restore it", where=self._server.url,
                remedy="begin a new episode (world/reset)",
            )
        lost = {states[i].id: states[i] for i in places}
        self._server.ask({
            "request": "restore",
            "states": [{"id": name, "parts": dict(one.parts)} for name, one in lost.items()],
        })

    def _followed(self, before: RemoteState, result: LimitResult) -> NDArray[np.float64]:
        """Return joints [P] at their targets, for a server that predicts none."""
        joints = before.proprioception.copy()
        if not self._metadata.proprioception:
            joints[self._columns] = result.action
        return joints

    def _state(
        self, served: ServedState, joints: NDArray[np.float64], memory: LimiterState, *, step: int
    ) -> RemoteState:
        if served.proprioception is not None:
            joints = (
                self._gate.settled(served.proprioception, joints) if step
                else served.proprioception.copy()
            )
        return RemoteState(
            id=served.id, parts=dict(served.parts), step=step, proprioception=joints,
            **vars(memory), images=tuple(image.copy() for image in served.images),
            ratings={name: getattr(served, name) for name in _RATINGS},
        )

    def _read(self, state: RemoteState) -> Reading:
        return reading(
            self.heads, proprioception=state.proprioception.copy(), **state.ratings
        )
