"""Policy servers and layouts for tests."""

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import yaml

from hiwm_core.embodiment import Embodiment, load_embodiment, parse_embodiment
from hiwm_learning.policies.remote.serve import make_server

# Ready layouts, and the embodiments that they are for.
READY_LAYOUTS = {
    "aloha": "aloha", "droid": "franka_fr3", "roboarena": "franka_fr3",
    "libero": "kinova_gen3_tool", "starvla": "kinova_gen3_tool",
}
# As parsed from YAML; its replies are the embodiment's own actions.
SIMPLE_LAYOUT: dict[str, Any] = {
    "name": "x", "horizon": 8, "execute_horizon": 4,
    "observation": {"image": {"send": "camera", "camera": "top"}},
}


def embodiment_of_layout(name: str) -> Embodiment:
    """Return the embodiment that a ready layout is for; LIBERO's gets a second camera."""
    embodiment = load_embodiment(READY_LAYOUTS[name])
    if any(camera.name in ("front", "high") for camera in embodiment.cameras):
        return embodiment
    text = yaml.safe_load(embodiment.text)
    text["cameras"].append(text["cameras"][0] | {"name": "front"})
    return parse_embodiment(yaml.safe_dump(text), "test")


class PolicyServer:
    """A server of the openpi protocol in this process, as a context.

    Its policy aims at `value` in every entry. `answer` may be replaced, and may raise.

    Args:
        metadata: sent on connecting.
        latency_s: of each answer.
        shape: of the actions.
        port: TCP port; 0 = any free one.
        api_key: required of clients.
    """

    def __init__(
        self, metadata: Mapping[str, Any] | None = None, *, latency_s: float = 0.0,
        shape: tuple[int, int] = (8, 4), port: int = 0, api_key: str = "",
    ) -> None:
        self.asked: list[Any] = []
        self.latency_s = latency_s
        self.value = 0.01
        self._shape = shape
        self._server = make_server(
            metadata or {}, self._infer, port=port, api_key=api_key
        )
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, observation: Any) -> Any:
        """Return a reply."""
        return {"actions": np.full(self._shape, self.value), "server_timing": {"infer_ms": 1.5}}

    def _infer(self, observation: Any) -> Any:
        self.asked.append(observation)
        time.sleep(self.latency_s)
        return self.answer(observation)

    def stop(self) -> None:
        """Close all connections and the port."""
        self._server.shutdown()
        self._thread.join()

    def __enter__(self) -> Self:
        """Return itself; the server runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()
