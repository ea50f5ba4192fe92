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
    obs_keys = ("camera_0_color", "camera_1_color")

    def __init__(self) -> None:
        units = SimpleNamespace(normalize=lambda values: values)
        self.normalizer = dict.fromkeys((*self.obs_keys, "action"), units)
        self.windows: list[int] = []

    def encoder_forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, ::2, ::2]

    def dynamics_forward(self, latents: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        assert actions.shape[1] == latents.shape[1] + 1  # one action more than latents
        self.windows.append(actions.shape[1])
        noise = torch.randn(latents[:, -1:].shape)
        newest = actions[:, -1].mean()
        actions[:, :-1] = 0.0  # as with mask_prev_action: in the caller's tensor
        return 0.9 * latents.mean(1, keepdim=True) + 0.1 * noise + newest


def render(
    model: Any, latent: torch.Tensor, size: int, *, normalizer: Any, num_views: int
) -> torch.Tensor:
    bigger = torch.nn.functional.interpolate(latent, (size, size))
    assert bigger.shape[1] == 3 * num_views
    return (bigger + 0.01 * torch.randn(bigger.shape)).clamp(0, 1)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_server", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_context_window_is_the_whole_state(example: ModuleType) -> None:
    cameras = ("top", "side")
    metadata = WorldMetadata(
        name="iws", model="1", actions=ACTIONS, proprioception=0, period_s=0.1,
        cameras=tuple(CameraView(name=name, height=SIZE, width=SIZE) for name in cameras),
    )
    model = Model()
    world = example.ContextWorld(model, render, metadata)
    random = np.random.default_rng(0)
    images = tuple(random.integers(0, 255, (SIZE, SIZE, 3), np.uint8) for _ in cameras)
    state = world.begin(images, np.full(ACTIONS, 1.5), seed=3)
    assert state.actions.tolist() == [[1.5] * ACTIONS]  # where it was, whatever the limits
    plan = np.random.default_rng(1).normal(0, 0.1, (15, 1, ACTIONS))
    for action in plan[:12]:
        (state,) = world.step_many([state], action)
    assert state.latents.shape[0] == example.CONTEXT and state.step == 12
    assert model.windows[0] == 2 and model.windows[-1] == example.WINDOW
    assert np.allclose(state.actions, plan[12 - example.CONTEXT:12, 0].clip(-1, 1))
    again = world.unpacked(world.packed(state))
    for action in plan[12:]:
        torch.rand(1)  # what else draws noise does not matter
        (state,), (again,) = world.step_many([state], action), world.step_many([again], action)
    assert world.packed(again) == world.packed(state)
    frames, same = (world.observations([one])[0].images for one in (state, again))
    assert [frame.tobytes() for frame in frames] == [frame.tobytes() for frame in same]
    assert [frame.shape for frame in frames] == [(SIZE, SIZE, 3)] * 2
    assert frames[0].tobytes() != frames[1].tobytes()
