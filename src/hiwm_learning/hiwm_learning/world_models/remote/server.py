"""A websocket server for any world model.

A model implements `ServedWorld`; `WorldServer` does the rest. Needed: numpy, msgpack, websockets
and `hiwm_core`. Requests are answered one at a time, whatever the number of clients.
"""

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from websockets.sync.server import Server

from hiwm_core.errors import WireError
from hiwm_learning.websocket_server import websocket_server
from hiwm_learning.world_models.remote.connection import API_KEY
from hiwm_learning.world_models.remote.protocol import (
    ServedState,
    WorldMetadata,
    WorldObservation,
    read_actions,
    read_images,
    state_message,
)

StateT = TypeVar("StateT")
# States that a server keeps at hand; a client sends older ones again. Large batches raise the
# number, so that several clients with such batches find their states again.
STATES_KEPT = 256
_BATCHES_KEPT = 4


class ServedWorld(Protocol[StateT]):
    """A world model, as a server runs it. States are values: a step never changes one.

    Attributes:
        metadata: of the model.
    """

    metadata: WorldMetadata

    def begin(
        self, images: tuple[NDArray[np.uint8], ...], proprioception: NDArray[np.float64], seed: int
    ) -> StateT:
        """Return the state for a recorded frame [H, W, 3] of each camera, and joints [P]."""

    def step_many(
        self, states: Sequence[StateT], actions: NDArray[np.float64]
    ) -> Sequence[StateT]:
        """Return the next state of each of N worlds, for absolute targets [N, A] after limits."""

    def observations(self, states: Sequence[StateT]) -> Sequence[WorldObservation]:
        """Return what each of several states shows."""

    def packed(self, state: StateT) -> Mapping[str, bytes]:
        """Return all that `unpacked` needs to continue exactly; equal parts are stored once."""

    def unpacked(self, parts: Mapping[str, bytes]) -> StateT:
        """Return a state from its parts."""


class WorldServer(Generic[StateT]):
    """Serves a world until it is closed.

    Args:
        world: the model.
        host: address to bind.
        port: 0 takes a free one.
        starts: arrays of a start file, for clients that ask; None has none.
        api_key: that clients must send; empty lets everyone in.
        log: takes a line for each client and each error.

    Raises:
        ConfigError: the address cannot be bound.
    """

    def __init__(
        self, world: ServedWorld[StateT], *, host: str = "127.0.0.1", port: int = 0,
        starts: Mapping[str, NDArray[Any]] | None = None, api_key: str = "",
        log: Callable[[str], None] = print,
    ) -> None:
        self._world, self._starts = world, starts
        self._lock = threading.Lock()
        self._states: OrderedDict[str, StateT] = OrderedDict()
        self._room = STATES_KEPT
        self._server: Server = websocket_server(
            world.metadata.message(), self._answer, host=host, port=port, api_key=api_key,
            key_variable=API_KEY, log=log,
        )
        self.port: int = self._server.socket.getsockname()[1]
        self.url = f"ws://{host}:{self.port}"

    def serve_forever(self) -> None:
        """Answer clients until `close`."""
        self._server.serve_forever()

    def close(self) -> None:
        """Stop listening, drop all clients, and wait until their last requests end."""
        self._server.shutdown()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve in a thread while the body runs; yield the address."""
        thread = threading.Thread(target=self.serve_forever, daemon=True)
        thread.start()
        try:
            yield self.url
        finally:
            self.close()
            thread.join(timeout=5.0)

    def _answer(self, request: Any) -> dict[str, Any]:
        name = request.get("request") if isinstance(request, dict) else None
        answers: dict[Any, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "begin": self._begin, "step": self._step, "restore": self._restore,
            "starts": lambda _: {"starts": dict(self._starts or {})},
        }
        answer = answers.get(name) if isinstance(name, str) else None
        if answer is None:
            raise WireError(
                f"request {name!r}", where="world server",
                remedy="send begin, step, restore or starts",
            )
        with self._lock:
            return answer(request)

    def _begin(self, request: Mapping[str, Any]) -> dict[str, Any]:
        images = read_images(request.get("images") or (), self._world.metadata.cameras)
        joints = np.array(request.get("proprioception"), np.float64)
        if joints.ndim != 1 or not np.isfinite(joints).all():
            raise WireError(
                f"proprioception {joints.tolist()}", where="world server",
                remedy="send finite numbers, one for each entry",
            )
        state = self._world.begin(images, joints, int(request.get("seed") or 0))
        return {"states": [[message] for message in self._kept([state])]}

    def _step(self, request: Mapping[str, Any]) -> dict[str, Any]:
        ids = [str(name) for name in request.get("states") or ()]
        chunk = read_actions(request, self._world.metadata.actions, len(ids))
        self._room = max(self._room, _BATCHES_KEPT * len(ids))
        unknown = [i for i, name in enumerate(ids) if name not in self._states]
        if unknown:
            return {"unknown": unknown}
        states: Sequence[StateT] = [self._states[name] for name in ids]
        rows: list[list[dict[str, Any]]] = [[] for _ in ids]
        for step in range(chunk.shape[1]):
            states = self._world.step_many(states, chunk[:, step])
            for row, message in zip(rows, self._kept(states), strict=True):
                row.append(message)
        return {"states": rows}

    def _restore(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if not self._world.metadata.can_restore:
            raise WireError(
                "this model cannot restore a state", where="world server",
                remedy="begin a new episode",
            )
        given = request.get("states")
        for entry in given if isinstance(given, list) else ():
            parts = {str(name): bytes(part) for name, part in entry["parts"].items()}
            self._keep(str(entry["id"]), self._world.unpacked(parts))
        return {"restored": len(given or ())}

    def _kept(self, states: Sequence[StateT]) -> list[dict[str, Any]]:
        """Keep states, and return the messages about them."""
        can_restore = self._world.metadata.can_restore
        messages = []
        for state, observation in zip(states, self._world.observations(states), strict=True):
            parts = dict(self._world.packed(state)) if can_restore else {}
            name = _name(parts) if can_restore else uuid.uuid4().hex
            self._keep(name, state)
            messages.append(state_message(ServedState(**vars(observation), id=name, parts=parts)))
        return messages

    def _keep(self, name: str, state: StateT) -> None:
        self._states[name] = state
        self._states.move_to_end(name)
        while len(self._states) > self._room:
            self._states.popitem(last=False)


def _name(parts: Mapping[str, bytes]) -> str:
    """Return a name that equal states share, also those of a server's next run."""
    digest = sha256()
    for name in sorted(parts):
        digest.update(f"{name} {len(parts[name])} ".encode())
        digest.update(parts[name])
    return digest.hexdigest()
