"""scripts/serve_lerobot.py: a file of its own, whose protocol and layout are those of ours.

LeRobot is not installed here, so its policy is played; docs/policies.md says what was run with it.
"""

import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hiwm_core import wire_codec
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ServerError
from hiwm_learning.policies.planning import PlannerOptions, PlannerWorld
from hiwm_learning.policies.remote.planner import RemotePlanner

ROOT = Path(__file__).resolve().parents[3]
PLANE = load_embodiment("planar_bimanual")
TOP = "observation.images.cam_high"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location(
        "serve_lerobot", ROOT / "scripts" / "serve_lerobot.py"
    )
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class PlayedPolicy:
    """Answers with what it saw: the mean of the newest image, the newest state, and noise."""

    device = "cpu"
    state_size = 4

    def __init__(self, steps: int) -> None:
        self.config = SimpleNamespace(type="played", n_obs_steps=steps, n_action_steps=5)
        self.images = {TOP: (3, 48, 64)}
        self.batch: dict[str, Any] = {}

    def chunk(self, batch: dict[str, Any]) -> np.ndarray:
        self.batch = batch
        newest = batch["observation.state"].reshape(-1, 4)[-1]
        return (newest + 0.001 * torch.rand(8, 4)).numpy()


@pytest.fixture(params=[1, 2])
def served(script: ModuleType, request: pytest.FixtureRequest) -> Iterator[Any]:
    policy = PlayedPolicy(request.param)
    service = script.Service(policy, "me/played", {TOP: "top"})
    server = script.make_server(service, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield SimpleNamespace(policy=policy, port=server.socket.getsockname()[1])
    server.shutdown()
    thread.join()


def test_our_client_plans_with_it_without_a_layout_file(served: Any) -> None:
    planner = RemotePlanner(PlannerOptions(port=served.port))
    planner.fit(PlannerWorld(
        embodiment=PLANE, embodiment_hash=PLANE.hash, period_s=0.1, instruction="push it",
    ))
    steps = served.policy.config.n_obs_steps
    assert (planner.horizon, planner.execute_horizon) == (8, 5)
    assert planner.observation_steps == steps
    images = {"top": np.full((steps, 96, 96, 3), 255, np.uint8)}
    proprio = np.tile(np.array([0.1, 0.2, -0.1, -0.2], np.float32), (steps, 1))
    first = planner.plan(images, proprio, (1, 1, 0))
    np.testing.assert_allclose(first, np.tile(proprio[-1], (8, 1)), atol=0.0011)
    np.testing.assert_array_equal(first, planner.plan(images, proprio, (1, 1, 0)))
    assert not np.array_equal(first, planner.plan(images, proprio, (2, 1, 0)))
    batch = served.policy.batch
    image = batch[TOP]
    # LeRobot's shapes: a batch of one, then the steps if there are several; floats in 0 to 1.
    assert tuple(image.shape) == ((1, 3, 48, 64) if steps == 1 else (1, 2, 3, 48, 64))
    assert float(image.max()) == 1.0 and float(image.min()) == 0.0  # padded at the sides
    assert batch["task"] == ["push it"]
    assert planner.status()["server_metadata"] == "policy: me/played, type: played, action_dim: 4"
    with pytest.raises(ServerError, match=r"ValueError: observation.images.cam_high is \(1, 2\)"):
        planner._link.ask({TOP: np.zeros((1, 2))}, 5.0)
    planner.close()


def test_its_messages_are_ours(script: ModuleType) -> None:
    value = {"a": np.arange(6.0).reshape(2, 3), "b": np.float32(1.5), "c": ["text", None, 2]}
    assert script.pack(value) == wire_codec.pack(value)
    np.testing.assert_array_equal(script.unpack(wire_codec.pack(value))["a"], value["a"])
    with pytest.raises(TypeError):
        script.pack(np.array([None], object))
    with pytest.raises(ValueError, match="refused"):
        script.unpack(wire_codec.pack({b"__ndarray__": True, b"dtype": "O", b"data": b""}))


def test_a_key_of_any_text_is_checked_and_a_server_for_all_without_one_is_warned_of(
    script: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    service = script.Service(PlayedPolicy(1), "x", {TOP: "top"})
    server = script.make_server(service, "0.0.0.0", 0, "ключ")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    port = server.socket.getsockname()[1]
    RemotePlanner(PlannerOptions(port=port, api_key="ключ")).close()
    with pytest.raises(ServerError, match="wants an API key"):
        RemotePlanner(PlannerOptions(port=port, api_key="geheim-ü"))
    server.shutdown()
    thread.join()
    assert "HIWM_POLICY_API_KEY" not in caplog.text
    script.make_server(service, "0.0.0.0", 0).socket.close()
    assert "HIWM_POLICY_API_KEY" in caplog.text


def test_a_camera_that_the_policy_lacks_is_refused(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no image front; there are observation"):
        script.Service(PlayedPolicy(1), "x", {"front": "top"})
