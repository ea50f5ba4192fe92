"""The latent world model: its parts, one step of all of them, and its checkpoint."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hiwm_learning.checkpoints import Checkpoint, load_weights
from hiwm_learning.world_models.latent.autoencoder import CameraCoder
from hiwm_learning.world_models.latent.config import LatentWorldConfig
from hiwm_learning.world_models.latent.dynamics import Condition, LatentDynamics, Prediction
from hiwm_learning.world_models.latent.heads import OutcomeHead
from hiwm_learning.world_models.latent.joint_response import JointResponse
from hiwm_learning.world_models.latent.known_cells import KnownCells
from hiwm_learning.world_models.latent.robot_layer import RobotLayer
from hiwm_learning.world_models.latent.units import LatentUnits

KIND = "latent_world_model"
HALVED_FROM = 256  # numbers of a tensor that is stored in half of the bits


@dataclass(frozen=True, kw_only=True)
class Worlds:
    """B worlds at one step, as the networks see them."""

    latents: Tensor  # [B, T, C, Z, h, w] oldest first, in the model's `units`
    reference: Tensor  # [B, C, Z, h, w]
    joints: Tensor  # [B, P] proprioception, the embodiment's units
    joints_before: Tensor  # [B, P] one step earlier
    gap: Tensor  # [B, A] command minus measured
    last_gap: Tensor  # [B, A] the last command minus measured
    doubt: Tensor  # [B]


class LatentWorldModel(nn.Module):
    """A coder for each camera, the response of the joints, dynamics and heads.

    Args:
        config: fixes every shape.
    """

    distance: Tensor

    def __init__(self, config: LatentWorldConfig) -> None:
        super().__init__()
        self.config = config
        coder, cameras = config.autoencoder, len(config.cameras)
        self.coders = nn.ModuleList(
            CameraCoder(coder, config.arms, config.grid) for _ in range(cameras)
        )
        for weight in self.coders.parameters():
            if weight.dim() == 4:  # convolves an eighth faster on a CPU
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.units = LatentUnits(cameras, coder.channels, config.grid)
        self.response = JointResponse(config.proprioception, config.actions)
        self.dynamics = LatentDynamics(
            config.dynamics, cameras=cameras, channels=coder.channels, grid=config.grid,
            points=len(config.arms) * coder.points,
            robot=3 * config.proprioception + 2 * config.actions, joints=config.proprioception,
        )
        self.outcome = OutcomeHead(
            cameras * coder.channels, config.proprioception, config.head_width
        )
        self.known = KnownCells(coder.channels)
        # Root mean square distance between the latents of unrelated frames: the unit of doubt.
        self.register_buffer("distance", torch.ones(()))

    def posture(self, joints: Tensor) -> Tensor:
        """Return standardised proprioception [B, P]."""
        return (joints - self.response.mean) / self.response.deviation

    def robots(self, joints: Tensor) -> list[RobotLayer]:
        """Return the robot with joints [B, P] as each camera sees it."""
        posture = self.posture(joints)
        return [coder.robot(posture) for coder in self.camera_coders()]

    def encode(
        self, frames: Tensor, joints: Tensor, robots: list[RobotLayer] | None = None
    ) -> Tensor:
        """Return latents [B, C, Z, h, w] of frames [B, C, H, W, 3] uint8, with joints [B, P].

        `robots` are those with these joints; None draws them.
        """
        images = floats(frames).unbind(1)
        return self.units.of(torch.stack([
            coder.encode(image, robot)
            for coder, image, robot in zip(
                self.camera_coders(), images, robots or self.robots(joints), strict=True
            )
        ], dim=1))

    def decode(self, latents: Tensor, joints: Tensor) -> Tensor:
        """Return frames [B, C, H, W, 3] uint8 of latents [B, C, Z, h, w], with joints [B, P]."""
        raw = self.units.raw(latents).unbind(1)
        images = torch.stack([
            coder.decode(seen, robot)
            for coder, seen, robot in zip(
                self.camera_coders(), raw, self.robots(joints), strict=True
            )
        ], dim=1)
        return (images.clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8).movedim(-3, -1).contiguous()

    def points(self, joints: Tensor) -> Tensor:
        """Return the robot's points in all cameras, [B, C, K, 2], of joints [B, P]."""
        posture = self.posture(joints)
        return torch.stack([coder.robot.points(posture) for coder in self.camera_coders()], dim=1)

    def follow(self, worlds: Worlds, points: Tensor | None = None) -> tuple[Prediction, Tensor]:
        """Return the prediction of the dynamics, and the next proprioception [B, P].

        Args:
            worlds: the present.
            points: [B, 3, C, K, 2] the robot's points before, now and next; None draws them.
        """
        response = self.response
        change = response(worlds.joints, worlds.joints_before, worlds.gap, worlds.last_gap)
        if points is None:
            points = torch.stack([
                self.points(worlds.joints_before), self.points(worlds.joints),
                self.points(worlds.joints + change),
            ], dim=1)
        robot = torch.cat([
            self.posture(worlds.joints), (worlds.joints - worlds.joints_before) / response.spread,
            change.detach() / response.spread, worlds.gap / response.gap_spread,
            worlds.last_gap / response.gap_spread,
        ], dim=1).clamp(-6.0, 6.0)
        found: Prediction = self.dynamics(Condition(
            latents=worlds.latents, reference=worlds.reference, points=points, robot=robot,
            doubt=worlds.doubt,
        ))
        found = replace(found, latents=self.units.settled(found.latents))
        return found, worlds.joints + change + found.joints * response.spread

    def camera_coders(self) -> list[CameraCoder]:
        """Return the coders, one for each camera."""
        return [coder for coder in self.coders if isinstance(coder, CameraCoder)]


def floats(frames: Tensor) -> Tensor:
    """Return images [..., 3, H, W] in 0..1 of frames [..., H, W, 3] uint8."""
    return frames.movedim(-1, -3).float() / 255.0


def ready(model: LatentWorldModel, device: torch.device | str = "cpu") -> LatentWorldModel:
    """Return a model set to run, not to learn, on a device."""
    # Replays are promised to be exact, so the fastest kernel must not be chosen anew in each
    # process.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return model.to(device=device).eval().requires_grad_(False)


def stored_weights(model: LatentWorldModel) -> dict[str, Tensor]:
    """Return all weights for a checkpoint, large ones in half of the bits.

    Small ones are scales and offsets; they are few, and an error in them adds up in a rollout.
    """
    return {
        name: value.half() if value.numel() >= HALVED_FROM else value
        for name, value in model.state_dict().items()
    }


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
