"""A policy behind a server as a `Planner`. Tested by ``test_remote_planner.py``.

The protocol has no seed and no batch: many plans are one request each, and equal observations get
what the server makes of them. Our own server also takes a seed.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from hiwm_core.control_period import require_period
from hiwm_core.errors import CheckpointError, ConfigError, HiwmError, ServerError
from hiwm_learning.policies.planning import Array, Images, PlannerOptions, PlannerWorld
from hiwm_learning.policies.remote.connection import ServerConnection, ServerTracebackError
from hiwm_learning.policies.remote.layout import PolicyLayout, find_layout, parse_layout
from hiwm_learning.policies.remote.replies import ReplyReader
from hiwm_learning.policies.remote.requests import PolicyObservation, RequestWriter

T = TypeVar("T")

SERVERS_OWN = "server"  # name of the layout that a server's metadata describes
_REMEMBERED = 100  # round trips
_LONGEST_TEXT = 400  # characters of metadata that are shown
_IDLE_OPEN_S = 0.1  # an idle thread waits no longer for a lost server, s


class RemotePlanner:
    """A client of one server.

    Args:
        options: host, port, API key and layout.

    Raises:
        ConfigError: no such layout, or an error in it.
        ServerError: the layout is the server's own, and no server of this protocol answers.
    """

    rows_at_once = 1

    def __init__(self, options: PlannerOptions) -> None:
        self._link = ServerConnection(options.host, options.port, options.api_key)
        self._news: deque[str] = deque(maxlen=20)
        self._where = f"policies/{options.layout}.yaml"
        if options.layout == SERVERS_OWN:
            self._where = f"metadata of {self._link.url}"
            self._link.open(options.start_timeout_s)
            self._layout = self._described()
            self._announce()
        else:
            self._layout = find_layout(options.layout)
        self.label = f"{self._layout.name}@{self._link.url.partition('://')[2]}"
        self.observation_steps = self._layout.observation_steps
        self.horizon = self._layout.horizon
        self.execute_horizon = self._layout.execute_horizon
        self.image_shapes: Mapping[str, tuple[int, int, int]] = {}
        self.proprio_dim = 0
        self._writer: RequestWriter | None = None
        self._reader: ReplyReader | None = None
        self._world: PlannerWorld | None = None
        self._run = uuid4().hex[:8]
        self._session = ""  # that the server was reset for
        self._round_trips: deque[float] = deque(maxlen=_REMEMBERED)
        self._server_ms = float("nan")
        self._answered = False  # ever
        self._trouble = "" if self._link.connected else "not connected yet"

    def fit(self, world: PlannerWorld) -> None:
        """Fit the layout to a world; see `Planner`."""
        self._check_metadata(world)
        self._writer = RequestWriter(
            self._layout, world.embodiment, world.instruction, self._where
        )
        self._reader = ReplyReader(
            self._layout, world.embodiment, world.period_s, self._where, self._link.url
        )
        self._world = world
        self.horizon = self._reader.horizon
        self.execute_horizon = self._reader.execute_horizon
        self.proprio_dim = world.embodiment.proprio_dim
        self.image_shapes = {
            name: (camera.height, camera.width, 3)
            for name in self._writer.cameras for camera in [world.embodiment.camera(name)]
        }

    def warm_up(self) -> float:
        """Return 0: the first request of a session may take longer (`first_timeout_s`)."""
        return 0.0

    def plan(self, images: Images, proprio: Array, seed: tuple[int, ...]) -> NDArray[np.float64]:
        """Return a chunk; see `Planner`.

        Raises:
            ServerError: the server is missing, lost, late, or answers with an error.
            WireError: another encoding.
        """
        epoch = seed[-2] if len(seed) > 2 else f"seed-{seed[-1]}"
        return self._tried(lambda: self._planned(images, proprio, seed, f"{self._run}-{epoch}"))

    def plan_many(
        self, images: Images, proprio: Array, seeds: Sequence[tuple[int, ...]]
    ) -> NDArray[np.float64]:
        """Return chunks, with one request each; see `Planner` and `plan`."""
        return np.stack([
            self.plan({name: frames[i] for name, frames in images.items()}, proprio[i], seed)
            for i, seed in enumerate(seeds)
        ])

    def idle(self) -> None:
        """Connect again, if the server is back."""
        if self._link.connected:
            return
        try:
            self._tried(lambda: self._connect(_IDLE_OPEN_S))
        except HiwmError:
            return  # shown by `status`

    def status(self) -> dict[str, object]:
        """Return address, connection, latencies and metadata; see `Planner`."""
        trouble = self._link.trouble or self._trouble or "the server closed it"
        values: dict[str, object] = {
            "server": self._link.url,
            "connection": "open" if self._link.connected else f"lost: {trouble}",
        }
        if self._round_trips:
            times = 1000.0 * np.array(self._round_trips)
            values["round_trip_ms"] = f"{times[-1]:.1f}"
            values["round_trip_p95_ms"] = f"{np.quantile(times, 0.95):.1f}"
        if np.isfinite(self._server_ms):
            values["server_infer_ms"] = f"{self._server_ms:.1f}"
        values["server_metadata"] = self._metadata_text()
        return values

    def news(self) -> list[str]:
        """Return what happened since the last call: connections, losses and tracebacks."""
        found = []
        while self._news:
            found.append(self._news.popleft())
        return found

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _planned(
        self, images: Images, proprio: Array, seed: Sequence[int], session: str
    ) -> NDArray[np.float64]:
        if self._writer is None or self._reader is None:
            raise ConfigError(
                "no world to plan for", where=self._link.url, remedy="wait for world_info"
            )
        self._connect(self._layout.timeout_s)
        seen = PolicyObservation(images=images, proprio=proprio, seed=seed, session=session)
        limit = self._layout.timeout_s if self._answered else self._layout.first_timeout_s
        if self._layout.reset is not None and session != self._session:
            self._link.tell(self._writer.reset(seen), limit)
            self._session = session
        request = self._writer.request(seen)
        started = time.monotonic()
        reply = self._link.ask(request, limit)
        self._round_trips.append(time.monotonic() - started)
        self._answered = True
        timing = reply.get("server_timing") if isinstance(reply, dict) else None
        if isinstance(timing, dict) and isinstance(timing.get("infer_ms"), int | float):
            self._server_ms = float(timing["infer_ms"])
        return self._reader.chunk(reply, proprio[-1])

    def _connect(self, timeout_s: float) -> None:
        if self._link.connected:
            return
        self._session = ""
        self._link.open(timeout_s)
        try:
            self._check_server()
        except Exception:
            self._link.close()  # an open connection counts as checked
            raise
        self._announce()

    def _check_server(self) -> None:
        if self._where.startswith("metadata") and self._described() != self._layout:
            raise ServerError(
                "another policy is served now, with another layout", where=self._link.url,
                remedy="restart the session, or serve the policy that it began with",
            )
        if self._world is not None:
            self._check_metadata(self._world)

    def _tried(self, work: Callable[[], T]) -> T:
        """Return what `work` does, and keep why it fails."""
        try:
            result = work()
        except HiwmError as error:
            if str(error) != self._trouble:
                self._news.append(
                    f"{error}\n{error.text}" if isinstance(error, ServerTracebackError)
                    else str(error)
                )
            self._trouble = str(error)
            raise
        self._trouble = ""
        return result

    def _described(self) -> PolicyLayout:
        """Return the layout in the server's metadata."""
        layout = self._link.metadata.get("layout")
        if not isinstance(layout, dict):
            raise ConfigError(
                "the server does not describe its observations and actions",
                where=self._link.url,
                remedy="name a layout, as in policy_layout:=droid (config/policies)",
            )
        return parse_layout(layout, self._where)

    def _check_metadata(self, world: PlannerWorld) -> None:
        """Compare what the server says of its policy with the world."""
        metadata = self._link.metadata
        trained_for = metadata.get("embodiment_hash")
        if trained_for and trained_for != world.embodiment_hash:
            self._link.close()
            raise CheckpointError(
                f"the policy was trained for an embodiment with hash {trained_for}, the world's "
                f"{world.embodiment.name} has hash {world.embodiment_hash}",
                where=self._link.url, remedy="serve a policy for this embodiment",
            )
        if trained_for and isinstance(metadata.get("control_period_s"), float):
            require_period(
                metadata["control_period_s"], world.period_s, "policy", self._link.url
            )

    def _announce(self) -> None:
        told = self._metadata_text() or "no metadata"
        self._news.append(f"connected to {self._link.url}: {told}")

    def _metadata_text(self) -> str:
        """Return the metadata for people, without what only programs read."""
        shown = ", ".join(
            f"{key}: {value}" for key, value in self._link.metadata.items() if key != "layout"
        )
        return shown if len(shown) <= _LONGEST_TEXT else shown[:_LONGEST_TEXT] + "..."
