"""A world is driven for long without a reset, and what became of it is told."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError
from hiwm_evaluation import world_endurance
from hiwm_evaluation.world_endurance import Endurance
from hiwm_learning.world_models.latent.simulator import LatentSimulator
from hiwm_learning.world_models.layered.simulator import Simulator
from hiwm_learning.world_models.simulators import WorldSimulator
from hiwm_test_support.latent_worlds import untrained_world
from hiwm_test_support.layered_worlds import drawn_recording, drawn_world_model
from hiwm_test_support.shipped import TASK

EMBODIMENT = load_embodiment(TASK.embodiment)


def made(simulator: WorldSimulator, *, held_out: bool = True) -> Endurance:
    model = drawn_world_model(EMBODIMENT)
    plugin = TASK.stand_in()
    measure = plugin.frame_measure(EMBODIMENT, EMBODIMENT.cameras[0].name)
    assert measure is not None
    return Endurance(
        simulator=simulator, embodiment=EMBODIMENT, operator=plugin.operator(EMBODIMENT),
        measure=measure, recordings=[drawn_recording(model, "a", 30, seed=1, held_out=held_out)],
    )


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "WINDOW": 12, "WORK": 8, "LAST": 6, "IDLE_STEPS": 2, "IDLE_STARTS": 1, "STRIP": 3,
    }.items():
        monkeypatch.setattr(world_endurance, name, value)


def test_a_world_without_a_gate_has_no_share_of_known_frames() -> None:
    world = made(Simulator(drawn_world_model(EMBODIMENT), EMBODIMENT))
    found, frames = world.run(24, lambda _: None)
    assert (found["ticks"], found["windows"], len(frames)) == (24, 2, 3)
    assert found["last_frames_known_share"] is None
    assert math.isfinite(found["idle_drift_late"]) and 0.0 <= found["windows_moved_share"] <= 1.0
    json.dumps(found, allow_nan=False)
    assert Image.fromarray(np.concatenate(frames, axis=1)).size == (288, 96)


def test_frames_that_leave_the_data_are_counted() -> None:
    model = untrained_world(EMBODIMENT)
    model.known.limit.fill_(1e-6)  # whatever it draws is unknown
    found, _ = made(LatentSimulator(model, EMBODIMENT)).run(12, lambda _: None)
    assert (found["last_frames_known_share"], found["known_share"]) == (0.0, 0.0)


def test_without_a_held_out_recording_there_is_no_start() -> None:
    world = made(Simulator(drawn_world_model(EMBODIMENT), EMBODIMENT), held_out=False)
    with pytest.raises(BagError, match="all folders"):
        world.run(12, lambda _: None)
