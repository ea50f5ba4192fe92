"""The pieces of a latent world: shapes, several cameras, the robot's layer, how parts move."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hiwm_core.config_files import default_task, find_config
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_core.tasks import load_task
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.world_models.latent.config import LatentWorldConfig, arms_of, latent_config
from hiwm_learning.world_models.latent.joint_response import JointResponse
from hiwm_learning.world_models.latent.lights import light_on
from hiwm_learning.world_models.latent.model import (
    LatentWorldModel,
    quantised,
    restored_model,
    stored_weights,
)
from hiwm_learning.world_models.latent.robot_drawing import point_features
from hiwm_learning.world_models.latent.robot_layer import RobotLayer
from hiwm_learning.world_models.latent.views import apart, side_by_side
from hiwm_test_support.arms import two_arms
from hiwm_test_support.latent_stages import differing
from hiwm_test_support.latent_worlds import (
    embodiment_with,
    resting_worlds,
    untrained_world,
    write_untrained_checkpoint,
)

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)


def without_robot(model: LatentWorldModel) -> LatentWorldModel:
    """Return the model with cameras that move: they draw no robot."""
    for view in model.camera_views():
        view.still.fill_(0.0)
    return model


@pytest.mark.parametrize("size", [96, 128, 256])
@pytest.mark.parametrize("cameras", [("top",), ("top", "wrist")])
def test_frames_become_scenes_move_on_and_become_frames(
    size: int, cameras: tuple[str, ...]
) -> None:
    model = untrained_world(embodiment_with(size, cameras))
    views = len(cameras)
    frames = torch.randint(256, (2, views, size, size, 3), dtype=torch.uint8)
    joints = torch.zeros(2, model.config.proprioception)
    found = model.scenes(frames, joints)
    assert found.pictures.shape == (2, views, 3, size, size)
    assert (found.hidden.shape, found.light.shape) == ((2, views, size, size), (2, views, 3))
    predicted, after = model.follow(resting_worlds(model, found.pictures))
    assert predicted.scene.shape == found.pictures.shape
    assert after.shape == joints.shape
    assert model.doubts(predicted.summary, torch.zeros(2)).shape == (2,)
    redrawn = model.decode(predicted.scene, found.light, after)
    assert (redrawn.shape, redrawn.dtype) == (frames.shape, torch.uint8)
    difference = model.difference(found.pictures, found.light)
    progress, success = model.outcome(difference, model.posture(joints))
    assert (progress.shape, success.shape) == ((2,), (2,))


def test_each_camera_has_a_scene_of_its_own() -> None:
    model = untrained_world(embodiment_with(96, ("top", "wrist")))
    frames = torch.randint(256, (1, 2, 96, 96, 3), dtype=torch.uint8)
    other = frames.clone()
    other[:, 1] = 255 - other[:, 1]
    joints = torch.zeros(1, model.config.proprioception)
    a, b = (model.scenes(one, joints).pictures for one in (frames, other))
    assert torch.equal(a[:, 0], b[:, 0])
    assert not torch.allclose(a[:, 1], b[:, 1], atol=0.1)


def test_a_moving_camera_s_scene_is_all_that_it_sees() -> None:
    model = without_robot(untrained_world(EMBODIMENT))
    frames = torch.randint(256, (1, 1, 96, 96, 3), dtype=torch.uint8)
    joints = torch.zeros(1, model.config.proprioception)
    found = model.scenes(frames, joints)
    assert not found.hidden.any() and (found.light == 1.0).all()
    assert torch.equal(model.decode(found.pictures, found.light, joints + 1.0), frames)


def test_the_picture_follows_the_joints_with_the_same_scene() -> None:
    model = untrained_world(EMBODIMENT)
    scene, light = torch.rand(1, 1, 3, 96, 96), torch.ones(1, 1, 3)
    joints = torch.zeros(1, model.config.proprioception)
    drawn = [model.decode(scene, light, joints + moved) for moved in (0.0, 1.0)]
    assert not torch.equal(drawn[0], drawn[1])


def test_a_robot_is_taken_away_and_what_it_hides_is_known() -> None:
    scene, colours = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    cover = torch.zeros(2, 1, 16, 16)
    cover[:, :, 2:5, 2:5] = 0.08  # a shadow
    cover[:, :, 10:12, 10:12] = 0.9
    robot = RobotLayer(colours=colours, cover=cover)
    hidden = robot.hidden()
    shown = hidden[:, 0] == 0.0
    assert shown[:, :7].all() and (hidden[:, 0, 9:13, 9:13] == 1.0).all()
    taken = robot.taken_from(robot.over(scene)).movedim(1, -1)
    assert torch.allclose(taken[shown], scene.movedim(1, -1)[shown], atol=1e-5)


def test_what_is_hidden_is_filled_and_all_else_is_as_it_was() -> None:
    model = untrained_world(EMBODIMENT)
    (view,) = model.camera_views()
    leave = view.filler.leave[0]
    assert isinstance(leave, torch.nn.Conv2d) and leave.bias is not None
    leave.bias.fill_(4.0)  # a guess far from the usual picture
    cover = torch.zeros(1, 1, 96, 96)
    cover[..., 40:50, 40:50] = 1.0
    robot = RobotLayer(colours=torch.zeros(1, 3, 96, 96), cover=cover)
    seen = torch.rand(1, 3, 96, 96) * 0.5
    scene, hidden = view.scene(robot.over(seen), robot, torch.ones(1, 3, 1, 1))
    assert torch.allclose(scene.where(hidden == 0.0, seen), seen, atol=1e-6)
    assert (scene[..., 42:48, 42:48] == 1.0).all()


def test_points_and_links_are_drawn_where_they_are() -> None:
    points = torch.tensor([[[-0.5, 0.0], [0.5, 0.0]]])  # a horizontal link through the middle
    drawn = point_features(points, (16, 16))[0]
    assert drawn.shape == (6 * 2 - 2, 16, 16)
    for index, column in ((0, (3, 4)), (1, (11, 12))):
        row, found = divmod(int(drawn[index].argmax()), 16)
        assert row in (7, 8) and found in column
    link = drawn[8]
    assert link[7, 4:12].min() > 0.8 and link[1].max() < 0.01


def test_each_arm_is_drawn_from_its_own_joints() -> None:
    embodiment = load_embodiment(find_config("embodiments", "yam_pair_cartesian"))
    names = [entry.name for entry in embodiment.proprioception]
    left, right = arms_of(embodiment)
    assert {names[i] for i in left} == {name for name in names if name.startswith("left")}
    assert {names[i] for i in right} == {name for name in names if name.startswith("right")}


def test_cells_come_into_play_where_things_are_unusual_or_the_robot_comes_near() -> None:
    model = untrained_world(EMBODIMENT)
    difference = torch.zeros(1, 1, 3, 96, 96)
    difference[..., 26:30, 34:38] = 0.5
    points = torch.full((1, 1, len(model.config.arms) * 4, 2), 0.9)
    ranked = model.dynamics.in_play(difference, points)[0].tolist()
    assert ranked[0] == 3 * 12 + 4
    near = (11 * 12 + 11) in ranked  # x, y of 0.9 lie in the last row and column
    assert near and len(ranked) == len(set(ranked)) == 48


def test_the_edges_of_a_large_thing_come_into_play_before_its_inside() -> None:
    model = untrained_world(EMBODIMENT)
    difference = torch.zeros(1, 1, 3, 96, 96)
    difference[..., 8:88, 8:88] = 0.5  # 100 of 144 cells, for 48 tokens
    points = torch.full((1, 1, len(model.config.arms) * 4, 2), 0.95)
    chosen = set(model.dynamics.in_play(difference, points)[0].tolist())
    border = {
        row * 12 + column for row in range(1, 11) for column in range(1, 11)
        if row in (1, 10) or column in (1, 10)
    }
    inside = {row * 12 + column for row in range(3, 9) for column in range(3, 9)}
    assert border <= chosen and not inside & chosen


def test_what_has_faded_stays_in_play() -> None:
    """A thin thing that is unsure must not be left behind."""
    model = untrained_world(EMBODIMENT)
    difference = torch.zeros(1, 1, 3, 96, 96)
    difference[..., 44:47, 8:88] = 0.1
    points = torch.full((1, 1, len(model.config.arms) * 4, 2), 0.9)
    points[:, :, :-2] = torch.rand(1, 1, len(model.config.arms) * 4 - 2, 2)  # are no hands
    chosen = model.dynamics.in_play(difference, points)[0].tolist()
    assert {5 * 12 + column for column in range(1, 11)} <= set(chosen)


def test_pixels_out_of_play_are_copied() -> None:
    model = untrained_world(EMBODIMENT)
    scene = torch.rand(1, 1, 3, 96, 96)
    present = resting_worlds(model, scene)
    predicted, _ = model.follow(present)
    points = model.points(present.joints)
    chosen = model.dynamics.in_play(model.difference(scene, present.light), points)[0]
    change = (predicted.scene - scene).abs().amax(2)
    cells = torch.nn.functional.max_pool2d(change, 8)[0, 0].flatten()
    outside = torch.ones(144, dtype=torch.bool)
    outside[chosen] = False
    assert cells[outside].max() == 0.0 < cells[chosen].min()


def test_before_training_everything_stays() -> None:
    torch.manual_seed(0)
    model = LatentWorldModel(latent_config(EMBODIMENT, network="tiny"))
    scene = quantised(torch.rand(1, 1, 3, 96, 96)).float() / 255.0
    with torch.no_grad():
        predicted, _ = model.follow(resting_worlds(model, scene, gap=0.5))
    assert (predicted.scene - scene).abs().max() < 1e-4


def test_a_scene_that_is_left_alone_does_not_creep() -> None:
    torch.manual_seed(0)
    model = LatentWorldModel(latent_config(EMBODIMENT, network="tiny")).requires_grad_(False)
    scene = torch.rand(1, 1, 3, 96, 96)
    drawing = model.dynamics.drawing
    drawing.free.bias.fill_(0.08)  # 0.04 px
    share, paint = drawing.painted.bias.view(4, 4)[0], drawing.painted.bias.view(4, 4)[1:]
    share.fill_(0.5)  # of less than a hundredth
    paint.fill_(1.0)
    predicted, _ = model.follow(resting_worlds(model, scene))
    assert (predicted.scene - scene).abs().max() < 1e-4
    drawing.free.bias.fill_(0.2)
    predicted, _ = model.follow(resting_worlds(model, scene))
    assert (predicted.scene - scene).abs().max() > 0.02


def test_a_motion_too_small_to_be_seen_is_still_learned_from() -> None:
    model = LatentWorldModel(latent_config(EMBODIMENT, network="tiny"))
    predicted, _ = model.follow(resting_worlds(model, torch.rand(1, 1, 3, 96, 96)))
    predicted.scene.square().sum().backward()
    free = model.dynamics.drawing.free
    assert free.bias.grad is not None and free.bias.grad.any()


def test_what_has_a_share_of_one_moves_as_the_hand_does() -> None:
    torch.manual_seed(0)
    config = latent_config(EMBODIMENT, network="tiny", rigid=0)
    model = LatentWorldModel(config).requires_grad_(False)
    dynamics, hand = model.dynamics, 6  # the first arm's hand follows both arms' three points
    points = torch.zeros(1, 3, 1, 8, 2)
    # 3 px to the right, 2 px up, of 96.
    points[:, 2, 0, hand] = torch.tensor([3.0, -2.0]) / 48.0
    dynamics.drawing.shares.bias[hand] = 1.0
    scene = torch.full((1, 1, 3, 96, 96), 0.5)
    scene[..., 40:56, 45:47] = 1.0  # a bar
    predicted, _ = model.follow(resting_worlds(model, scene), points)
    bright = (predicted.scene[0, 0, 0] > 0.75).nonzero()
    assert bright.amin(0).tolist() == [38, 48] and bright.amax(0).tolist() == [53, 49]


def test_each_camera_moves_what_it_sees_and_shares_the_tokens() -> None:
    """One camera stands still, the other moves: everything is unusual there."""
    torch.manual_seed(0)
    config = latent_config(two_arms(), network="tiny", rigid=0)
    model = LatentWorldModel(config).requires_grad_(False)
    dynamics, hand = model.dynamics, 6
    dynamics.drawing.shares.bias[hand] = 1.0
    points = torch.zeros(1, 3, 2, 8, 2)
    points[:, 2, 0, hand] = torch.tensor([4.0 / 32.0, 0.0])  # 4 px to the right, of 64 x 48
    points[:, 2, 1, hand] = torch.tensor([0.0, 3.0 / 24.0])  # 3 px down
    scene = torch.full((1, 2, 3, 48, 64), 0.5)
    scene[:, 1] += 0.1 * torch.rand(3, 48, 64)
    scene[..., 20:24, 30:32] = 1.0
    present = resting_worlds(model, scene)
    chosen = dynamics.in_play(model.difference(scene, present.light), points[:, 2])[0]
    assert (chosen < 48).sum() == (chosen >= 48).sum() == 24
    predicted, _ = model.follow(present, points, torch.ones(1, 2))
    for camera, corner in ((0, [20, 34]), (1, [23, 30])):
        bright = (predicted.scene[0, camera, 0] > 0.8).nonzero()
        assert bright.amin(0).tolist() == corner, camera


def test_in_half_of_the_bits_places_are_the_same() -> None:
    model = untrained_world(EMBODIMENT)
    scene = torch.rand(1, 1, 3, 96, 96)
    present = resting_worlds(model, scene, gap=0.2)
    with torch.autocast("cpu", torch.bfloat16):
        points = model.points(present.joints + 0.3)
        change = model.response(present.joints, present.joints, present.gap, present.last_gap)
    assert torch.equal(points, model.points(present.joints + 0.3))
    wanted = model.response(present.joints, present.joints, present.gap, present.last_gap)
    assert torch.equal(change, wanted)
    torch.manual_seed(0)
    still = LatentWorldModel(latent_config(EMBODIMENT, network="tiny"))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        predicted, _ = still.follow(resting_worlds(still, scene))
    assert (predicted.scene - scene).abs().max() < 5e-3


def test_the_response_of_the_joints_keeps_all_its_bits() -> None:
    model = untrained_world(load_embodiment(find_config("embodiments", "yam_pair_cartesian")))
    assert model.response.linear.numel() > 256
    weights = stored_weights(model)
    assert all(
        value.dtype == torch.float32
        for name, value in weights.items() if name.startswith("response.")
    )


def test_a_step_compiles_as_one_graph() -> None:
    model = untrained_world(EMBODIMENT)
    present = resting_worlds(model, torch.rand(1, 1, 3, 96, 96))
    follow = torch.compile(model.follow, backend="eager", fullgraph=True, dynamic=False)
    decode = torch.compile(model.decode, backend="eager", fullgraph=True, dynamic=False)
    predicted, after = follow(present)
    assert torch.equal(predicted.scene, model.follow(present)[0].scene)
    assert model.doubts(predicted.summary, torch.zeros(1)) > 0.0
    drawn = decode(predicted.scene, present.light, after)
    assert torch.equal(drawn, model.decode(predicted.scene, present.light, after))


def test_commands_change_the_prediction() -> None:
    model = untrained_world(EMBODIMENT)
    scene = torch.rand(1, 1, 3, 96, 96)
    still, _ = model.follow(resting_worlds(model, scene))
    moved, _ = model.follow(resting_worlds(model, scene, gap=0.5))
    assert not torch.allclose(still.scene, moved.scene, atol=1e-3)


def test_the_response_of_the_joints_is_found_even_with_constant_entries() -> None:
    generator = torch.Generator().manual_seed(0)
    now, before = torch.rand(500, 3, generator=generator), torch.rand(500, 3, generator=generator)
    gap, last_gap = (torch.randn(500, 2, generator=generator) for _ in range(2))
    now[:, 2] = before[:, 2] = 0.25  # a joint that never moves
    after = now + 0.3 * (now - before)
    after[:, :2] += 0.5 * gap - 0.1 * last_gap
    response = JointResponse(3, 2)
    response.fit(now, before, gap, last_gap, after)
    found = now + response(now, before, gap, last_gap)
    assert torch.allclose(found, after, atol=1e-3)


def test_cameras_of_different_sizes_share_a_grid_and_keep_their_sizes() -> None:
    config = latent_config(two_arms(), network="tiny")
    assert config.cameras == ("front", "wrist")
    # The largest of 64x48 and 33x41 px, in cells of 8 px.
    assert (config.height, config.width, config.grid) == (48, 64, (6, 8))
    assert config.sizes == ((48, 64), (41, 33))
    odd = latent_config(embodiment_with(90), network="tiny")
    assert ((odd.height, odd.width), odd.sizes) == ((96, 96), ((90, 90),))


def test_views_become_the_models_size_and_their_own_again() -> None:
    rows, columns = torch.meshgrid(torch.arange(41), torch.arange(33), indexing="ij")
    smooth = torch.stack((rows * 4, columns * 5, rows + columns), dim=-1).to(torch.uint8)[None]
    front = torch.randint(256, (1, 48, 64, 3), dtype=torch.uint8)
    frames = side_by_side([front, smooth], (48, 64))
    assert (frames.shape, frames.dtype) == ((1, 2, 48, 64, 3), torch.uint8)
    same, back = apart(frames, ((48, 64), (41, 33)))
    assert torch.equal(same, front)
    assert (back.int() - smooth.int()).abs().max() <= 6


def test_a_configuration_comes_back_from_json() -> None:
    for config in (
        latent_config(EMBODIMENT), latent_config(two_arms(), network="gpu", tokens=7, rigid=0)
    ):
        assert LatentWorldConfig.from_json(json.loads(json.dumps(config.as_json()))) == config


def test_a_misnamed_configuration_is_refused() -> None:
    data = latent_config(EMBODIMENT).as_json()
    del data["dynamics"]["width"]
    with pytest.raises(CheckpointError, match="width"):
        LatentWorldConfig.from_json(data)


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="huge.*tiny, cpu, gpu"):
        latent_config(EMBODIMENT, network="huge")


def test_a_checkpoint_brings_the_same_model_back(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path, seed=3)
    checkpoint = load_checkpoint(path, embodiment_hash=EMBODIMENT.hash)
    model = restored_model(checkpoint)
    again = untrained_world(EMBODIMENT, seed=3)
    assert not differing(model.state_dict(), again.state_dict())
    with np.load(tmp_path / "world_starts.npz") as starts:
        assert starts["images"].shape == (3, 96, 96, 3)


def test_large_weights_are_stored_in_half_of_the_bits_and_draw_the_same(tmp_path: Path) -> None:
    model = untrained_world(EMBODIMENT, seed=3)
    model.known.limit.fill_(torch.inf)
    weights = stored_weights(model)
    assert sum(w.nbytes for w in weights.values()) < 0.55 * sum(
        w.nbytes for w in model.state_dict().values()
    )
    assert weights["response.mean"].dtype == torch.float32
    again = untrained_world(EMBODIMENT, seed=4)
    again.load_state_dict(weights)
    frames = torch.randint(256, (2, 1, 96, 96, 3), dtype=torch.uint8)
    joints = torch.randn(2, model.config.proprioception)
    drawn = []
    for one in (model, again):
        found = one.scenes(frames, joints)
        drawn.append(one.decode(found.pictures, found.light, joints).int())
    assert (drawn[0] - drawn[1]).abs().float().mean() < 0.5
    assert again.known.limit.isinf()


def test_a_checkpoint_of_another_embodiment_is_refused(tmp_path: Path) -> None:
    path = write_untrained_checkpoint(tmp_path, embodiment_hash="f" * 64)
    with pytest.raises(CheckpointError, match="f" * 64) as refusal:
        load_checkpoint(path, embodiment_hash=EMBODIMENT.hash)
    assert EMBODIMENT.hash in str(refusal.value)


def test_a_cloth_that_fills_most_of_the_picture_is_no_light() -> None:
    usual = torch.full((3, 32, 32), 0.7)
    images = usual.repeat(2, 1, 1, 1) * torch.tensor([0.8, 1.1])[:, None, None, None]
    images[:, :, :24] = torch.tensor([0.1, 0.3, 0.9])[:, None, None]
    found = light_on(images, usual)[:, :, 0, 0]
    assert torch.allclose(found, torch.tensor([0.8, 1.1])[:, None].expand(2, 3), atol=0.02)
    covered = images.clone()
    covered[:] = torch.tensor([0.1, 0.3, 0.9])[:, None, None]  # nothing else is seen
    assert light_on(covered, usual).isfinite().all()
