"""The latent world model: its parts, one step of all of them, and its checkpoint."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hiwm_learning.checkpoints import Checkpoint, halved, load_weights
from hiwm_learning.world_models.latent.camera_view import CameraView
from hiwm_learning.world_models.latent.config import LatentWorldConfig
from hiwm_learning.world_models.latent.doubt import Doubt
from hiwm_learning.world_models.latent.dynamics import Condition, Prediction, SceneDynamics
from hiwm_learning.world_models.latent.heads import OutcomeHead
from hiwm_learning.world_models.latent.held_fingers import HeldFingers
from hiwm_learning.world_models.latent.joint_response import JointResponse
from hiwm_learning.world_models.latent.known_cells import KnownCells
from hiwm_learning.world_models.latent.robot_layer import RobotLayer

KIND = "latent_world_model"


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """What B frames of C cameras show, but for the robot."""

    pictures: Tensor  # [B, C, 3, H, W] in 0..1
    hidden: Tensor  # [B, C, H, W] in 0..1, where it is a guess what is behind the robot
    light: Tensor  # [B, C, 3] factors on the usual pictures


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """B worlds at one step, as the networks see them."""

    scene: Tensor  # [B, C, 3, H, W] in 0..1
    light: Tensor  # [B, C, 3]
    joints: Tensor  # [B, P] proprioception, the embodiment's units
    joints_before: Tensor  # [B, P] one step earlier
    gap: Tensor  # [B, A] command minus measured
    last_gap: Tensor  # [B, A] the last command minus measured
    command: Tensor  # [B, A] in the embodiment's units
    evidence: Tensor  # [B, hands] logit of holding something, summed so far; 0 at first
    luck: Tensor | None = None  # [B, hands], see `Condition`


class LatentWorldModel(nn.Module):
    """The views of the cameras, the response of the joints, dynamics and heads.

    Args:
        config: fixes every shape.
    """

    distance: Tensor
    shut_below: Tensor

    def __init__(self, config: LatentWorldConfig) -> None:
        super().__init__()
        self.config = config
        cameras, arms = len(config.cameras), config.arms
        self.views = nn.ModuleList(
            CameraView(config.view, arms, config.grid) for _ in range(cameras)
        )
        for weight in self.views.parameters():
            if weight.dim() == 4:  # convolves an eighth faster on a CPU
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.response = JointResponse(config.proprioception, config.actions)
        self.dynamics = SceneDynamics(
            config.dynamics, cameras=cameras, grid=config.grid,
            points=len(arms) * (config.view.points + 1), hands=len(arms),
            grips=self.has_gripper,
            # Features begin with the joints. How an arm that holds something lags, and how far its
            # gripper closes, would give away what an imagination has to decide first.
            stance=[
                i for i in range(config.proprioception) if i not in config.gripper_joints
            ],
            robot=3 * config.proprioception + 2 * config.actions, joints=config.proprioception,
        )
        self.fingers = HeldFingers(config.arms, config.gripper_joints, config.proprioception)
        self.outcome = OutcomeHead(cameras, config.proprioception, config.head_width)
        self.doubts = Doubt(self.dynamics.summary)
        self.known = KnownCells()
        if self.has_gripper:
            # Commands below which grippers are shut; NaN for hands without one.
            self.register_buffer("shut_below", torch.full((len(arms),), torch.nan))
        # Root mean square distance between the scenes of unrelated frames: the unit of doubt.
        self.register_buffer("distance", torch.ones(()))

    @property
    def has_gripper(self) -> tuple[bool, ...]:
        """Of each hand, whether it has a gripper; () if none has."""
        found = tuple(place is not None for place in self.config.grippers)
        return found if any(found) else ()

    def shut(self, commands: Tensor) -> Tensor:
        """Return whether commands [B, A] shut grippers, [B, hands]; True for hands without one.

        A command that is not known, NaN, shuts none.
        """
        found = torch.ones(
            len(commands), len(self.config.arms), dtype=torch.bool, device=commands.device
        )
        for hand, place in enumerate(self.config.grippers):
            if place is not None:
                found[:, hand] = commands[:, place] < self.shut_below[hand]
        return found

    def posture(self, joints: Tensor) -> Tensor:
        """Return standardised proprioception [B, P]."""
        return (joints - self.response.mean) / self.response.deviation

    def robots(self, joints: Tensor) -> list[RobotLayer]:
        """Return the robot with joints [B, P] as each camera sees it, in usual light."""
        posture = self.posture(joints)
        return [view.robot(posture) for view in self.camera_views()]

    def scenes(self, frames: Tensor, joints: Tensor) -> Scenes:
        """Return what frames [B, C, H, W, 3] uint8, with joints [B, P], show but for the robot."""
        images = floats(frames).unbind(1)
        views, robots = self.camera_views(), self.robots(joints)
        lights = [view.light_in(image) for view, image in zip(views, images, strict=True)]
        found = [
            view.scene(image, robot, light)
            for view, image, robot, light in zip(views, images, robots, lights, strict=True)
        ]
        return Scenes(
            pictures=torch.stack([scene for scene, _ in found], dim=1),
            hidden=torch.cat([hidden for _, hidden in found], dim=1),
            light=torch.stack(lights, dim=1)[..., 0, 0],
        )

    def decode(self, scene: Tensor, light: Tensor, joints: Tensor) -> Tensor:
        """Return frames [B, C, H, W, 3] uint8 of scenes [B, C, 3, H, W] and joints [B, P].

        `light` has the shape [B, C, 3].
        """
        images = torch.stack([
            robot.lit(lit[:, :, None, None]).over(picture)
            for robot, picture, lit in zip(
                self.robots(joints), scene.unbind(1), light.unbind(1), strict=True
            )
        ], dim=1)
        return quantised(images).movedim(-3, -1).contiguous()

    def points(self, joints: Tensor) -> Tensor:
        """Return the robot's points in all cameras, [B, C, K, 2], of joints [B, P]."""
        posture = self.posture(joints)
        return torch.stack([view.points(posture) for view in self.camera_views()], dim=1)

    def usual(self, light: Tensor) -> Tensor:
        """Return the usual pictures [B, C, 3, H, W] in lights [B, C, 3]."""
        pictures = torch.stack([view.usual for view in self.camera_views()])
        return pictures * light[..., None, None]

    def follow(
        self, worlds: Worlds, points: Tensor | None = None, known_grips: Tensor | None = None
    ) -> tuple[Prediction, Tensor]:
        """Return the prediction of the dynamics, and the next proprioception [B, P].

        Args:
            worlds: the present.
            points: [B, 3, C, K, 2] the robot's points before, now and next; None draws them.
            known_grips: [B, hands] 1 or 0 where it is known what hands hold, or NaN, to learn from;
                None decides it from the picture.
        """
        condition, change = self._condition(worlds, points, known_grips)
        found: Prediction = self.dynamics(condition)
        after = worlds.joints + change + found.joints * self.response.spread
        return found, self.fingers(after, worlds.joints, found.held)

    def around_hands(
        self, worlds: Worlds, points: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what grips see, as `SceneDynamics.around_hands`; arguments as of `follow`."""
        return self.dynamics.around_hands(self._condition(worlds, points)[0])

    def moves(self, worlds: Worlds) -> Tensor:
        """Return what slips are told of how the robot stands and moves, [B, M]; no scene needed."""
        return self.dynamics.moves(self._robot(worlds)[0])

    def _condition(
        self, worlds: Worlds, points: Tensor | None, known_grips: Tensor | None = None
    ) -> tuple[Condition, Tensor]:
        """Return what the next step depends on, and how the joints respond, [B, P]."""
        robot, change = self._robot(worlds)
        if points is None:
            points = torch.stack([
                self.points(worlds.joints_before), self.points(worlds.joints),
                self.points(worlds.joints + change),
            ], dim=1)
        return Condition(
            scene=worlds.scene, usual=self.usual(worlds.light), points=points, robot=robot,
            shut=self.shut(worlds.command), evidence=worlds.evidence, known_grips=known_grips,
            luck=worlds.luck,
        ), change

    def _robot(self, worlds: Worlds) -> tuple[Tensor, Tensor]:
        """Return features of the robot [B, G], and how its joints respond, [B, P]."""
        response = self.response
        change = response(worlds.joints, worlds.joints_before, worlds.gap, worlds.last_gap)
        robot = torch.cat([
            self.posture(worlds.joints), (worlds.joints - worlds.joints_before) / response.spread,
            change.detach() / response.spread, worlds.gap / response.gap_spread,
            worlds.last_gap / response.gap_spread,
        ], dim=1).clamp(-6.0, 6.0)
        return robot, change

    def difference(self, scene: Tensor, light: Tensor) -> Tensor:
        """Return how scenes [B, C, 3, H, W] differ from the usual pictures in their light."""
        return scene - self.usual(light)

    def camera_views(self) -> list[CameraView]:
        """Return the views, one for each camera."""
        return [view for view in self.views if isinstance(view, CameraView)]


def floats(frames: Tensor) -> Tensor:
    """Return images [..., 3, H, W] in 0..1 of frames [..., H, W, 3] uint8."""
    return frames.movedim(-1, -3).float() / 255.0


def quantised(images: Tensor) -> Tensor:
    """Return images in 0..1 as uint8, rounded."""
    return (images.clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8)


def ready(model: LatentWorldModel, device: torch.device | str = "cpu") -> LatentWorldModel:
    """Return a model set to run, not to learn, on a device."""
    # Replays are promised to be exact, so the fastest kernel must not be chosen anew in each
    # process.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return model.to(device=device).eval().requires_grad_(False)


def stored_weights(model: LatentWorldModel) -> dict[str, Tensor]:
    """Return all weights for a checkpoint, large ones in half of the bits.

    Those of the joints' response stay whole: they are few, and an error in them adds up in a
    rollout.
    """
    whole = model.state_dict()
    response = {name: value for name, value in whole.items() if name.split(".")[0] == "response"}
    return {**halved(whole), **response}


def restored_model(
    checkpoint: Checkpoint, device: torch.device | str = "cpu"
) -> LatentWorldModel:
    """Return the model of a checkpoint, ready to run on a device.

    Raises:
        CheckpointError: its configuration or weights are of another form.
    """
    model = LatentWorldModel(LatentWorldConfig.from_json(checkpoint.info.config))
    load_weights(model, checkpoint)
    return ready(model, device)
