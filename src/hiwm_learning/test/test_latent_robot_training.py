"""Training what a latent world draws of a robot, and what lies behind it."""

import dataclasses

import pytest
import torch

from hiwm_learning.world_models.latent.clips import Clips
from hiwm_learning.world_models.latent.filling_training import filling_stage
from hiwm_learning.world_models.latent.hand_training import hand_stage
from hiwm_learning.world_models.latent.joint_training import fit_joints
from hiwm_learning.world_models.latent.model import LatentWorldModel
from hiwm_learning.world_models.latent.robot_training import robot_stage, usual_pictures
from hiwm_test_support.latent_stages import CPU, SIZE, make_model, make_robot_stage, square_clips


@pytest.fixture(scope="module")
def clips() -> Clips:
    return square_clips()


def with_robot(clips: Clips) -> LatentWorldModel:
    """Return a model that draws the square as its robot."""
    model = make_model()
    stage = make_robot_stage(model, clips)
    for step in range(550):
        stage.train_step(step, 0.0 if step < 400 else 0.5)
    stage.take_average()
    return model


def with_bars(clips: Clips) -> Clips:
    """Return the clips with a bar that is elsewhere in each frame."""
    frames = clips.frames.clone()
    generator = torch.Generator().manual_seed(3)
    bars = torch.randint(2, SIZE - 4, (len(frames),), generator=generator)
    for row, left in enumerate(bars.tolist()):
        frames[row, 0, :, left : left + 2] = torch.tensor([40, 220, 40])
    return dataclasses.replace(clips, frames=frames)


@pytest.fixture(scope="module")
def drawing(clips: Clips) -> LatentWorldModel:
    return with_robot(with_bars(clips))


def test_the_robot_s_layer_holds_what_follows_from_the_joints_and_no_object(
    clips: Clips, drawing: LatentWorldModel
) -> None:
    """The square follows from the joints; a bar is elsewhere in each frame."""
    with torch.no_grad():
        cover = drawing.robots(clips.proprioception)[0].cover[:, 0]
    square = clips.frames[:, 0, :, :, 0] > 100
    bar = (with_bars(clips).frames[:, 0, :, :, 1] > 100) & ~square
    assert cover[square].mean() > 0.4
    assert cover[~square].mean() < 0.05 and cover[bar].mean() < 0.05


def test_the_hand_is_where_the_robot_changes(clips: Clips, drawing: LatentWorldModel) -> None:
    """A robot that is nothing but a hand: the square of the left arm."""
    stage = hand_stage(drawing, clips, seed=0, device=CPU)
    for step in range(600):
        stage.train_step(step, step / 600)
    stage.take_average()
    assert stage.held_out()["hands_seen"] > 0.3
    with torch.no_grad():
        found = drawing.camera_views()[0].hands(drawing.posture(clips.proprioception))[:, 0]
    axis = (torch.arange(SIZE) + 0.5) / SIZE * 2.0 - 1.0
    square = (clips.frames[:, 0, :, :, 0] > 100).float()
    whole = square.sum((1, 2)) > 30  # of the square, 6 px a side, nothing lies outside
    middle = torch.stack([
        (square * axis).sum((1, 2)), (square * axis[:, None]).sum((1, 2))
    ], dim=1) / square.sum((1, 2)).clamp_min(1.0)[:, None]
    off_px = (found - middle)[whole].norm(dim=1) * SIZE / 2
    assert whole.sum() > 40 and off_px.median() < 2.0


def test_what_is_behind_the_robot_is_guessed_from_what_is_around_it(
    clips: Clips, drawing: LatentWorldModel
) -> None:
    stage = filling_stage(drawing, with_bars(clips), with_bars(clips), seed=0, device=CPU)
    before = stage.held_out()["filled"]
    for step in range(100, 300):
        stage.train_step(step, 0.3)
    stage.take_average()
    assert before == pytest.approx(1.0, abs=0.02) and stage.held_out()["filled"] < 0.6


def test_the_scene_has_no_robot(clips: Clips, drawing: LatentWorldModel) -> None:
    with torch.no_grad():
        found = drawing.scenes(clips.frames, clips.proprioception)
    red = found.pictures[:, 0, 0] > 0.6
    square = clips.frames[:, 0, :, :, 0] > 150
    assert red[square].float().mean() < 0.1
    redrawn = drawing.decode(found.pictures, found.light, clips.proprioception)
    assert (redrawn[:, 0, :, :, 0] > 120)[square].float().mean() > 0.6


def test_from_the_robot_only_no_object_is_learned_even_if_its_place_follows_from_the_joints(
    clips: Clips,
) -> None:
    """A block lies in the middle, but not when the arm is far to one side."""
    frames, block = clips.frames.clone(), (slice(12, 20), slice(12, 20))
    away = clips.proprioception[:, 0] < clips.proprioception[:, 0].quantile(0.3)
    for row in torch.nonzero(~away)[:, 0].tolist():
        frames[row, 0, *block] = torch.tensor([40, 220, 40])
    with_block = dataclasses.replace(clips, frames=frames)
    free = away & ~(clips.frames[:, 0, 12:20, 12:20, 0] > 100).flatten(1).any(1)
    assert free.sum() > 10
    drawn = {}
    for name, only in (("all", None), ("robot only", clips)):
        model = make_model()
        fit_joints(model, clips)
        stage = robot_stage(
            model, with_block, with_block, seed=0, device=CPU, batch=16, robot_only=only
        )
        for step in range(500):
            stage.train_step(step, 0.0 if step < 400 else 0.5)
        stage.take_average()
        with torch.no_grad():
            (robot,) = model.robots(clips.proprioception[free])
        drawn[name] = float(robot.cover[:, 0, 14:18, 14:18].mean())
    assert drawn["robot only"] < 0.05 < 0.3 < drawn["all"]


def test_a_cover_in_the_colours_of_an_empty_scene_is_dropped(clips: Clips) -> None:
    model = make_model()
    stage = make_robot_stage(model, clips, only=clips)
    (view,) = model.camera_views()
    patch = view.renderer.leave[-2]
    assert isinstance(patch, torch.nn.Conv2d) and patch.bias is not None
    with torch.no_grad():
        patch.bias[3 * len(patch.bias) // 4 :] = 1.5
    square = clips.frames[:, 0, :, :, 0] > 100

    def covered() -> float:
        with torch.no_grad():
            return float(model.robots(clips.proprioception)[0].cover[:, 0][~square].mean())

    assert covered() > 0.5
    for step in range(300):
        stage.train_step(step, 0.5)
    assert covered() < 0.1


def test_what_stands_in_most_frames_is_no_robot(clips: Clips) -> None:
    """A post stands in three of four frames, whatever the joints are."""
    frames = clips.frames.clone()
    posts = torch.arange(len(frames)) % 4 > 0
    frames[posts, 0, 4:10, 24:28] = torch.tensor([40, 220, 40], dtype=torch.uint8)
    usual = clips.frames.median(0).values  # as if the post had been elsewhere in most frames
    model = make_model()
    (view,) = model.camera_views()
    view.renderer.usual.copy_(usual[0].movedim(-1, 0) / 255.0)
    stage = make_robot_stage(model, dataclasses.replace(clips, frames=frames))
    for step in range(300):
        stage.train_step(step, 0.5)
    with torch.no_grad():
        cover = model.robots(clips.proprioception)[0].cover[:, 0]
    assert cover[:, 5:9, 25:27].mean() < 0.1


def test_a_camera_s_light_is_no_motion(clips: Clips) -> None:
    light = torch.linspace(0.6, 1.0, len(clips.frames))[:, None, None, None, None]
    lit = dataclasses.replace(clips, frames=(clips.frames * light).to(torch.uint8))
    assert usual_pictures(lit, 0).stillness[0] > 0.8


def test_a_camera_that_moves_is_not_held_still(clips: Clips) -> None:
    moving = dataclasses.replace(
        clips, frames=torch.randint(256, clips.frames.shape, dtype=torch.uint8)
    )
    assert usual_pictures(clips, 0).stillness[0] > 0.8
    assert usual_pictures(moving, 0).stillness[0] < 0.3
