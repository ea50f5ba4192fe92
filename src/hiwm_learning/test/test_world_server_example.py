"""The example server of docs/examples, with a small stand-in for the model that it serves."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hiwm_learning.world_models.remote.protocol import CameraView, WorldMetadata

EXAMPLE = Path(os.environ["HIWM_ROOT"], "docs/examples/serve_interactive_world_sim.py")
SIZE, ACTIONS = 8, 4


class Model:
    """The three functions of the Interactive World Simulator's model that the example calls."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        units = SimpleNamespace(normalize=lambda values: values)
        self.normalizer = {"camera_1_color": units, "action": units}

    def encoder_forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, ::2, ::2]

    def dynamics_forward(self, latents: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        assert actions.shape[1] == latents.shape[1] + 1  # one action more than latents
        noise = torch.randn(latents[:, -1:].shape)
        return 0.9 * latents.mean(1, keepdim=True) + 0.1 * noise + actions[:, -1].mean()


def render(model: Any, latent: torch.Tensor, size: int, **_: Any) -> torch.Tensor:
    bigger = torch.nn.functional.interpolate(latent, (size, size))
    return (bigger + 0.01 * torch.randn(bigger.shape)).clamp(0, 1)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_server", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_context_window_is_the_whole_state(example: ModuleType) -> None:
    metadata = WorldMetadata(
        name="iws", model="1", cameras=(CameraView(name="top", height=SIZE, width=SIZE),),
        actions=ACTIONS, proprioception=0, period_s=0.1,
    )
    world = example.ContextWorld(Model(), render, metadata, "camera_1_color")
    image = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    state = world.begin((image,), np.zeros(ACTIONS), seed=3)
    plan = np.random.default_rng(1).normal(0, 0.1, (15, 1, ACTIONS))
    for action in plan[:12]:
        (state,) = world.step_many([state], action)
    assert state.latents.shape[0] == example.CONTEXT and state.step == 12
    again = world.unpacked(world.packed(state))
    for action in plan[12:]:
        torch.rand(1)  # what else draws noise does not matter
        (state,), (again,) = world.step_many([state], action), world.step_many([again], action)
    assert world.packed(again) == world.packed(state)
    frames = [world.observations([one])[0].images[0] for one in (state, again)]
    assert frames[0].tobytes() == frames[1].tobytes() and frames[0].shape == (SIZE, SIZE, 3)
