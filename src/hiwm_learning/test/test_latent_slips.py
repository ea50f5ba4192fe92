"""What hands hold may slip: how likely that is, and when it does."""

import dataclasses

import pytest
import torch
from torch import Tensor

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.world_models.latent.grip_rows import held_rows
from hiwm_learning.world_models.latent.grip_scores import slip_scores
from hiwm_learning.world_models.latent.grip_training import grip_stage, moves_while_held
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.scene_data import SceneData, scene_data
from hiwm_learning.world_models.latent.simulator import LatentSimulator
from hiwm_test_support.latent_worlds import (
    embodiment_with,
    moving_square,
    resting_worlds,
    world_with_gripper,
)

CPU = torch.device("cpu")
ROBOT, SIZE, LENGTH = embodiment_with(96), 96, 40


def likely(model: LatentWorldModel, logit: float) -> LatentWorldModel:
    """Return the model with the same chance of a slip at any time."""
    last = model.dynamics.slips.judge[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.constant_(last.bias, logit)
    return model


def evidence_after(model: LatentWorldModel, evidence: float, luck: Tensor | None) -> list[float]:
    now = resting_worlds(model, torch.full((1, 1, 3, SIZE, SIZE), 0.5))
    held = torch.full((1, 2), evidence)
    found, _ = model.follow(dataclasses.replace(now, evidence=held, luck=luck))
    after: list[float] = found.evidence[0].tolist()
    return after


@pytest.mark.parametrize(
    ("luck", "slips"), [(0.49, True), (0.51, False), (None, False)]
)
def test_what_is_held_slips_with_bad_luck(luck: float | None, slips: bool) -> None:
    model = likely(world_with_gripper(ROBOT), 0.0)  # every second time
    chance = None if luck is None else torch.full((1, 2), luck)
    first, second = evidence_after(model, 9.0, chance)
    assert (first < 0.0) == slips
    assert (first == 9.0) != slips
    assert second == evidence_after(model, 9.0, None)[1], "without a gripper it only pushes"


def test_what_has_slipped_is_not_taken_again_before_the_gripper_opens() -> None:
    model = likely(world_with_gripper(ROBOT), 0.0)
    lost = evidence_after(model, 9.0, torch.zeros(1, 2))[0]
    assert evidence_after(model, lost, torch.ones(1, 2))[0] == lost


def test_an_untrained_model_lets_nothing_slip() -> None:
    model = world_with_gripper(ROBOT)
    assert evidence_after(model, 9.0, torch.full((1, 2), 1e-5))[0] == 9.0


def test_the_luck_of_a_step_is_that_of_its_episode() -> None:
    model = likely(world_with_gripper(ROBOT), 0.0)
    simulator, frame = LatentSimulator(model, ROBOT), torch.zeros(SIZE, SIZE, 3).byte().numpy()
    home = torch.zeros(model.config.proprioception).numpy()

    def slips(seed: int) -> list[bool]:
        state, found = simulator.begin(frame, home, seed), []
        for _ in range(12):
            held = dataclasses.replace(state, evidence=state.evidence * 0.0 + 9.0)
            state, _ = simulator.step(held, 0.0 * held.action + 0.0)
            found.append(bool(state.evidence[0] < 0.0))
        return found

    one = slips(3)
    assert any(one) and not all(one) and slips(3) == one
    assert slips(4) != one and slips(-3) != one


def gripping(shut_until: int, held_until: int) -> SceneData:
    """Return runs whose gripper is shut from tick 10, and holds something for some time."""
    model = world_with_gripper(ROBOT)
    clips = moving_square(ROBOT, runs=4, length=LENGTH, seed=0)
    data, _ = scene_data(model, clips, clips, seed=0, device=CPU)
    tick = torch.arange(len(clips)) - clips.first
    shut, grips = data.shut.clone(), torch.zeros_like(data.grips)
    shut[:, 0] = (tick >= 10) & (tick < shut_until)
    grips[:, 0] = ((tick >= 10) & (tick < held_until)).float()
    return dataclasses.replace(data, shut=shut, grips=grips)


def test_what_a_gripper_that_stays_shut_holds_no_more_has_slipped() -> None:
    ticks, hands, slips = held_rows(gripping(30, 20))
    assert ticks.tolist() == [start + tick for start in (0, 40, 80, 120) for tick in range(10, 20)]
    assert not hands.any() and ticks[slips == 1.0].tolist() == [19, 59, 99, 139]


def test_what_is_let_go_and_what_is_not_known_has_not_slipped() -> None:
    assert not held_rows(gripping(20, 20))[2].any()
    data = gripping(30, 20)
    grips = data.grips.clone()
    grips[20::LENGTH, 0] = torch.nan
    ticks, _, slips = held_rows(dataclasses.replace(data, grips=grips))
    assert not slips.any() and 19 not in ticks.tolist()
    assert held_rows(gripping(LENGTH, LENGTH))[0].max() == 4 * LENGTH - 2, "nothing follows a run"


def test_chances_are_learned_from_how_the_arm_stands() -> None:
    """Things slip where the arm is far to one side; the expected number becomes the true one."""
    torch.manual_seed(0)
    data = gripping(30, 30)
    x = data.clips.proprioception[:, 0]
    tick = torch.arange(len(x)) - data.clips.first
    held = (tick >= 10) & (tick < 30)
    lost = held & (x > x[held].quantile(0.7)) & (tick % 2 == 1)
    grips = data.grips.clone()
    grips[:, 0] = (held & ~lost).float()
    data = dataclasses.replace(data, grips=grips)
    _, _, slips = held_rows(data)
    assert slips.sum() > 5
    model = world_with_gripper(ROBOT).train().requires_grad_(True)
    model.views.requires_grad_(False)
    measure = MeasuredFromProprioception(ROBOT)
    stage = grip_stage(model, data, data, measure, seed=0, device=CPU)
    before = slip_scores(model, *moves_while_held(model, data, 0, CPU))
    assert before["slips_expected"] < 0.1 * before["slips"]
    for step in range(300):
        stage.train_step(step, 0.3)
    after = slip_scores(model, *moves_while_held(model, data, 0, CPU))
    assert after["slips_expected"] == pytest.approx(after["slips"], rel=0.3)


def test_without_slips_in_the_data_nothing_slips() -> None:
    model = world_with_gripper(ROBOT).train().requires_grad_(True)
    model.views.requires_grad_(False)
    data = gripping(20, 20)
    stage = grip_stage(model, data, data, MeasuredFromProprioception(ROBOT), seed=0, device=CPU)
    assert all(stage.train_step(step, 0.3)["slipped"] == 0.0 for step in range(5))
    assert slip_scores(model, *moves_while_held(model, data, 0, CPU))["slips_expected"] < 0.01


def test_scores_without_grasps_are_left_out() -> None:
    model = world_with_gripper(ROBOT)
    none = gripping(10, 10)
    assert slip_scores(model, *moves_while_held(model, none, 0, CPU)) == {}
