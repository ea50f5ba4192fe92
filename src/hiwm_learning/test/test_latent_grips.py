"""What hands hold: shown by recorded scenes, and learned from them."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from hiwm_core.measured import MeasuredFromProprioception
from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.config import latent_config
from hiwm_learning.world_models.latent.dynamics import Prediction
from hiwm_learning.world_models.latent.grip_rows import grip_rows
from hiwm_learning.world_models.latent.grip_scores import grip_scores
from hiwm_learning.world_models.latent.grip_training import grip_stage
from hiwm_learning.world_models.latent.model import LatentWorldModel, Worlds
from hiwm_learning.world_models.latent.recorded_scenes import RecordedScenes
from hiwm_learning.world_models.latent.scene_data import SceneData, learn_when_shut, scene_data
from hiwm_learning.world_models.latent.shown_grips import (
    closings_of,
    grip_error,
    shown_grips,
    while_shut,
)
from hiwm_test_support.arms import two_arms
from hiwm_test_support.latent_stages import differing
from hiwm_test_support.latent_worlds import (
    embodiment_with,
    moving_square,
    resting_worlds,
    untrained_world,
    world_with_gripper,
)

SIZE, LENGTH = 64, 30
START, SPEED = 12, 1  # column of hand and thing, and px per tick


@pytest.fixture(scope="module")
def clips() -> Clips:
    return moving_square(embodiment_with(32), runs=1, length=LENGTH, seed=0)


def scenes_with(columns: list[int]) -> RecordedScenes:
    """Return scenes with a square thing in row 30, at a column at each tick; -9: nowhere."""
    pictures = torch.full((len(columns), 1, 3, SIZE, SIZE), 40, dtype=torch.uint8)
    for picture, column in zip(pictures, columns, strict=True):
        if column >= 0:
            picture[..., 27:33, column - 3 : column + 3] = 220
    return RecordedScenes(
        pictures=pictures, hidden=torch.zeros(len(columns), 1, SIZE, SIZE, dtype=torch.uint8),
        light=torch.ones(len(columns), 1, 3), moving=torch.ones(len(columns), dtype=torch.bool),
    )


def hand_at(columns: list[int]) -> Tensor:
    """Return points [N, 1, 1, 2] of one hand in row 30."""
    x = (torch.tensor(columns) + 0.5) * 2.0 / SIZE - 1.0
    return torch.stack([x, torch.full_like(x, 30.5 * 2.0 / SIZE - 1.0)], dim=1)[:, None, None]


EVER = torch.ones(LENGTH, 1, dtype=torch.bool)  # a hand without a gripper may always hold
MOVES = [START + SPEED * tick for tick in range(LENGTH)]


@pytest.mark.parametrize(("things", "wanted"), [(MOVES, 1.0), ([START] * LENGTH, 0.0)])
def test_what_moves_with_a_hand_is_held(clips: Clips, things: list[int], wanted: float) -> None:
    found = shown_grips(clips, scenes_with(things), hand_at(MOVES), EVER)[:, 0]
    assert found[0] == wanted
    assert found[-1].isnan(), "nothing follows the last tick"


def test_a_hand_that_stays_or_has_nothing_near_shows_nothing(clips: Clips) -> None:
    still = [START] * LENGTH
    assert shown_grips(clips, scenes_with(still), hand_at(still), EVER).isnan().all()
    assert shown_grips(clips, scenes_with([-9] * LENGTH), hand_at(MOVES), EVER).isnan().all()


def test_each_hand_is_told_apart(clips: Clips) -> None:
    hands = torch.cat([hand_at([START] * LENGTH), hand_at(MOVES)], dim=2)
    found = shown_grips(clips, scenes_with(MOVES), hands, EVER.repeat(1, 2))
    assert found[:, 0].isnan().all() and found[0, 1] == 1.0


def test_only_a_gripper_that_is_shut_shows_what_it_holds(clips: Clips) -> None:
    shut = EVER.clone()
    shut[:4] = False
    found = shown_grips(clips, scenes_with(MOVES), hand_at(MOVES), shut)[:, 0]
    assert found[:4].isnan().all() and found[4] == 1.0


def test_what_is_not_known_is_no_error_and_the_hard_ones_count_most() -> None:
    logits = torch.tensor([[4.0], [-1.0], [5.0]], requires_grad=True)
    unknown = torch.full_like(logits, torch.nan)
    assert float(grip_error(logits, unknown)) == 0.0
    wanted = torch.tensor([[1.0], [1.0], [torch.nan]])
    grip_error(logits, wanted).backward()
    assert logits.grad is not None
    sure, wrong, unseen = (-logits.grad[:, 0]).tolist()
    assert unseen == 0.0 and 0.0 < sure < 0.001 * wrong


def test_a_gripper_is_shut_in_the_lower_half_of_what_it_is_told(clips: Clips) -> None:
    command = [0.9] * 5 + [0.6, 0.3, 0.0, 0.0] + [0.9] * 3 + [0.8] + [0.9] * 16 + [math.nan]
    actions = torch.ones_like(clips.actions)
    actions[:, 0] = torch.tensor(command)
    told = dataclasses.replace(clips, actions=actions)
    model = world_with_gripper(embodiment_with(96))
    model.shut_below.fill_(torch.nan)
    learn_when_shut(model, told)
    shut = model.shut(told.actions)
    assert torch.nonzero(shut[:, 0])[:, 0].tolist() == [6, 7, 8]
    assert shut[:, 1].all(), "without a gripper it may always hold"
    assert closings_of(told, shut).tolist() == [6]
    known = model.shut_below.clone()
    learn_when_shut(model, dataclasses.replace(told, actions=actions * 10.0))
    assert torch.equal(model.shut_below[:1], known[:1]), "what is known is kept"


def test_what_a_gripper_holds_it_holds_until_it_opens(clips: Clips) -> None:
    shut = torch.tensor(([False] * 3 + [True] * 6) * 3 + [False] * 3)[:, None]
    shown = torch.full((LENGTH, 1), torch.nan)
    shown[1] = 1.0  # still open: it only comes along
    shown[4:7, 0] = torch.tensor([1.0, 0.0, 1.0])
    shown[13] = 0.0
    found = while_shut(shown, clips, shut, [0])[:, 0].tolist()
    assert found[3:9] == [1.0] * 6 and found[12:18] == [0.0] * 6
    assert all(math.isnan(one) for one in found[21:27]), "nothing showed it"
    assert found[:3] == found[9:12] == found[18:21] == found[27:] == [0.0] * 3
    assert torch.equal(while_shut(shown, clips, shut, []).isnan(), shown.isnan())


def said(model: LatentWorldModel, now: Worlds) -> Tensor:
    """Return the logits of what grips say of some worlds, [B, hands]."""
    found: Tensor = model.dynamics.grips(*model.around_hands(now))
    return found


def test_a_grasp_is_decided_unless_it_is_known() -> None:
    model = untrained_world(embodiment_with(96))
    now = resting_worlds(model, torch.rand(3, 1, 3, 96, 96))
    alone, joints = model.follow(now)
    decided = (alone.evidence > 0.0).float()
    assert alone.evidence.shape == (3, len(model.config.arms))
    assert torch.equal(alone.evidence, said(model, now)), "nothing was seen before"
    assert torch.equal(model.follow(now, known_grips=decided)[1], joints)
    for known in (1.0 - float(decided[1, 0]), torch.nan):
        other = decided.clone()
        other[1, 0] = known
        changed = (model.follow(now, known_grips=other)[1] - joints).abs().amax(1)
        assert (changed > 0.0).tolist() == [False, True, False]


def test_nothing_moves_with_a_gripper_that_holds_nothing() -> None:
    gripping = world_with_gripper(embodiment_with(96))
    config = gripping.config
    drawing = gripping.dynamics.drawing
    for layer in (drawing.free, drawing.gate, drawing.painted):
        torch.nn.init.zeros_(layer.weight)
    now = resting_worlds(gripping, torch.rand(1, 1, 3, 96, 96))
    points = torch.zeros(1, 3, 1, len(config.arms) * (config.view.points + 1), 2)
    of_arm = config.view.points

    def moves(arm: int, held: float) -> bool:
        goes = points.clone()
        goes[:, 2, :, arm * of_arm : (arm + 1) * of_arm] = 0.2
        goes[:, 2, :, arm - 2] = 0.2
        known = torch.zeros(1, 2)
        known[:, arm] = held
        change = gripping.follow(now, goes, known)[0].scene - now.scene
        return float(change.abs().max()) > 1e-3

    assert moves(0, 1.0) and not moves(0, 0.0)
    assert moves(0, math.nan), "unknown: it may"
    assert moves(1, 0.0), "it has no gripper: it pushes"


def test_a_grip_lasts_until_its_gripper_opens() -> None:
    model = world_with_gripper(embodiment_with(96))
    seen = torch.tensor([[2.0, 3.0]])
    now = resting_worlds(model, torch.rand(1, 1, 3, 96, 96))

    def follows(command: float, evidence: Tensor) -> Prediction:
        told = torch.full_like(now.command, command)
        found, _ = model.follow(dataclasses.replace(now, command=told, evidence=evidence))
        return found

    held = said(model, now)
    first = follows(0.0, torch.zeros(1, 2))
    assert torch.equal(first.evidence, held)
    later = follows(0.0, seen)
    torch.testing.assert_close(later.evidence[:, 0], held[:, 0] + 2.0)
    assert torch.equal(later.evidence[:, 1], held[:, 1]), "it may push another thing by now"
    assert float(follows(0.0, 3.0 * seen).evidence[0, 0]) == 6.0, "it has been decided"
    opened = follows(1.0, seen)
    assert float(opened.evidence[0, 0]) == 0.0
    unlike = -torch.sign(held) * (held.abs() + 1.0)
    assert not torch.equal(follows(0.0, held).scene, follows(0.0, unlike).scene)


def test_an_open_gripper_holds_nothing_whatever_it_looks_like() -> None:
    model = world_with_gripper(embodiment_with(96))
    now = resting_worlds(model, torch.rand(1, 1, 3, 96, 96))
    sure = dataclasses.replace(now, evidence=torch.full((1, 2), 50.0))
    shut, _ = model.follow(sure)
    told = dataclasses.replace(sure, command=torch.ones_like(now.command))
    opened, _ = model.follow(told)
    other = float(opened.evidence[0, 1] > 0.0)
    empty, _ = model.follow(told, known_grips=torch.tensor([[0.0, other]]))
    assert torch.equal(opened.scene, empty.scene)
    assert not torch.equal(opened.scene, shut.scene)


def test_each_arm_has_its_own_gripper_or_none() -> None:
    assert latent_config(embodiment_with(32), network="tiny").grippers == (None, None)
    two = two_arms()
    grippers = [group for group in two.groups if group.kind == "gripper"]
    assert latent_config(two, network="tiny").grippers == tuple(
        next((g.start for g in grippers if g.arm == arm), None) for arm in two.arms
    )


def test_imagined_grasps_are_compared_with_recorded_ones() -> None:
    robot = embodiment_with(96)
    model = world_with_gripper(robot)
    clips = moving_square(robot, runs=2, length=40, seed=0)
    actions = clips.actions.clone()
    actions[:, 0] = torch.where(torch.arange(len(clips)) - clips.first < 20, 1.0, 0.0)
    clips = dataclasses.replace(clips, actions=actions)
    data, _ = scene_data(model, clips, clips, seed=0, device=torch.device("cpu"))
    assert data.grippers == {0: 0} and data.closed.sum() == 2 * 20
    grips = data.grips.clone()
    grips[:40, 0], grips[40:, 0] = 1.0, 0.0
    data = dataclasses.replace(data, grips=grips)
    measure = MeasuredFromProprioception(robot)
    judge = model.dynamics.grips.judge[-1]
    for bias, wanted in ((50.0, (1.0, 0.0)), (-50.0, (0.0, 1.0))):
        judge.bias.fill_(bias)
        found = grip_scores(model, data, measure, torch.device("cpu"))
        assert (found["taken_imagined"], found["missed_imagined"]) == wanted
    assert grip_scores(model, until(data, 21), measure, torch.device("cpu")) == {}, "opens too soon"
    unknown = dataclasses.replace(data, grips=torch.full_like(grips, torch.nan))
    assert grip_scores(model, unknown, measure, torch.device("cpu")) == {}


def until(data: SceneData, opens: int) -> SceneData:
    """Return the data with a gripper that opens again at a tick of each run."""
    shut = data.shut.clone()
    shut[torch.arange(len(shut)) - data.clips.first >= opens, 0] = False
    return dataclasses.replace(data, shut=shut)


def gripped_data(runs: int) -> SceneData:
    """Return data in which the first of two hands has a gripper, shut from tick 10 to 19 of 40."""
    robot = embodiment_with(96)
    model = world_with_gripper(robot)
    clips = moving_square(robot, runs=runs, length=40, seed=0)
    data, _ = scene_data(model, clips, clips, seed=0, device=torch.device("cpu"))
    tick = torch.arange(len(clips)) - clips.first
    shut = data.shut.clone()
    shut[:, 0] = (tick >= 10) & (tick < 20)
    return dataclasses.replace(data, shut=shut, grips=torch.ones_like(data.grips))


def test_grips_are_learned_from_scenes_before_a_gripper_closed() -> None:
    rows = grip_rows(gripped_data(2))
    gripper = rows.hands == 0
    assert sorted(rows.ticks[gripper].tolist()) == [*range(10, 19), *range(50, 59)]
    assert rows.earliest[gripper].unique().tolist() == [0, 40], "not from another run"
    assert rows.latest[gripper].unique().tolist() == [10, 50]
    pushes = rows.hands == 1
    assert pushes.sum() > 60 and torch.equal(rows.earliest[pushes], rows.ticks[pushes])
    chosen, generator = torch.arange(len(rows)), torch.Generator().manual_seed(0)
    seen = torch.stack([rows.seen(chosen, generator) for _ in range(200)])
    assert torch.equal(seen.amin(0), rows.earliest) and torch.equal(seen.amax(0), rows.latest)


def test_a_scene_is_not_from_before_a_gripper_last_opened() -> None:
    data = gripped_data(1)
    shut = data.shut.clone()
    shut[25:, 0] = True
    rows = grip_rows(dataclasses.replace(data, shut=shut))
    second = (rows.hands == 0) & (rows.ticks >= 25)
    assert rows.earliest[second].unique().tolist() == [20]
    assert rows.ticks[second].tolist() == list(range(25, 34))


def test_grips_are_learned_in_the_middle_of_a_grasp_too() -> None:
    data = gripped_data(2)
    shut = data.shut.clone()
    shut[:, 0] = torch.arange(len(shut)) - data.clips.first >= 10
    rows = grip_rows(dataclasses.replace(data, shut=shut))
    later = (rows.hands == 0) & (rows.ticks - data.clips.first[rows.ticks] > 18)
    assert sorted(rows.ticks[later].tolist()) == [26, 34, 66, 74]
    assert torch.equal(rows.earliest[later], rows.ticks[later]), "each with its own scene"
    assert torch.equal(rows.latest[later], rows.ticks[later])


def test_only_the_hand_that_closes_is_learned_from() -> None:
    data = gripped_data(1)
    rows = grip_rows(data)
    chosen = torch.nonzero(rows.hands == 0)[:3, 0]
    labels = rows.labels(data.grips, chosen)
    assert (labels[:, 0] == 1.0).all() and labels[:, 1].isnan().all()


def test_a_gripper_that_never_shuts_shows_nothing(clips: Clips) -> None:
    found = shown_grips(clips, scenes_with(MOVES), hand_at(MOVES), ~EVER)
    assert found.isnan().all()


def test_grips_learn_what_each_hand_holds() -> None:
    torch.manual_seed(0)
    data = gripped_data(4)
    model = world_with_gripper(embodiment_with(96)).train().requires_grad_(True)
    # A square lies where the hand is in every other run, and only there it is taken.
    pictures = torch.full_like(data.recordings.pictures, 40)
    run = data.clips.first // 40
    model.views.requires_grad_(False)
    hands = model.points(data.clips.proprioception)[:, 0, -2:]
    for tick in torch.nonzero(run % 2 == 0)[:, 0].tolist():
        x, y = ((hands[tick, 0] + 1.0) * 48.0).long().clamp(4, 91).tolist()
        pictures[tick, :, :, y - 4 : y + 4, x - 4 : x + 4] = 230
    grips = torch.stack([(run % 2 == 0).float(), torch.full_like(data.grips[:, 1], torch.nan)], 1)
    data = dataclasses.replace(
        data, grips=grips, recordings=dataclasses.replace(data.recordings, pictures=pictures)
    )
    measure = MeasuredFromProprioception(embodiment_with(96))
    stage = grip_stage(model, data, data, measure, seed=0, device=torch.device("cpu"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = stage.train_step(0, 0.1)["loss"]
    for step in range(1, 150):
        last = stage.train_step(step, 0.5)["loss"]
    assert last < 0.1 * first
    moved = differing(model.state_dict(), before)
    assert {name[:15] for name in moved} == {"dynamics.grips."}


def test_without_grips_that_are_known_nothing_is_learned() -> None:
    data = gripped_data(1)
    unknown = dataclasses.replace(data, grips=torch.full_like(data.grips, torch.nan))
    model = world_with_gripper(embodiment_with(96)).train().requires_grad_(True)
    measure = MeasuredFromProprioception(embodiment_with(96))
    stage = grip_stage(model, unknown, unknown, measure, seed=0, device=torch.device("cpu"))
    assert stage.train_step(0, 0.1)["loss"] == 0.0 and stage.held_out() == {}
