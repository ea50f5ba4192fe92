"""One camera of a world: its usual picture, the robot before it, and what is behind the robot."""

import torch
from torch import Tensor, nn

from hiwm_learning.world_models.latent.config import ViewConfig
from hiwm_learning.world_models.latent.filling import Filler
from hiwm_learning.world_models.latent.hands import Hands
from hiwm_learning.world_models.latent.lights import light_on
from hiwm_learning.world_models.latent.robot_layer import RobotLayer, RobotRenderer


class CameraView(nn.Module):
    """What the networks know of one camera.

    The usual picture of a camera that moves with an arm is a blur. Its robot is not a layer: all
    that it sees is the scene.

    Args:
        config: sizes.
        arms: of each arm, its places in proprioception.
        grid: cells, height and width.
    """

    still: Tensor

    def __init__(
        self, config: ViewConfig, arms: tuple[tuple[int, ...], ...], grid: tuple[int, int]
    ) -> None:
        super().__init__()
        self.renderer = RobotRenderer(
            arms, config.points, config.arm_channels, grid, width=config.width,
            blocks=config.blocks,
        )
        self.hands = Hands(arms)
        self.filler = Filler(config.filler_width)
        # Whether the camera stands still; set before training.
        self.register_buffer("still", torch.ones(()))

    @property
    def usual(self) -> Tensor:
        """The usual picture [3, H, W], with no object and no robot if that was ever seen."""
        return self.renderer.usual

    def robot(self, posture: Tensor) -> RobotLayer:
        """Return the robot drawn, from standardised proprioception [B, P]."""
        layer: RobotLayer = self.renderer(posture)
        return RobotLayer(colours=layer.colours, cover=layer.cover * self.still)

    def points(self, posture: Tensor) -> Tensor:
        """Return points that tell where the robot is, [B, K, 2], x and y in -1..1."""
        return torch.cat([self.renderer.points(posture), self.hands(posture)], dim=1)

    def light_in(self, images: Tensor) -> Tensor:
        """Return how much brighter images [B, 3, H, W] are than usual, [B, 3, 1, 1]."""
        return light_on(images, self.usual) if bool(self.still) else images.new_ones(
            len(images), 3, 1, 1
        )

    def scene(self, images: Tensor, robot: RobotLayer, light: Tensor) -> tuple[Tensor, Tensor]:
        """Return images with the robot taken away, and how much was hidden.

        Args:
            images: [B, 3, H, W] in 0..1.
            robot: with the joints of each, in usual light.
            light: [B, 3, 1, 1].

        Returns:
            Scenes [B, 3, H, W] in 0..1, filled where they are hidden, and [B, 1, H, W] in 0..1.
        """
        hidden, seen = robot.hidden(), robot.lit(light).taken_from(images)
        usual = self.usual * light
        filled = usual + self.filler(seen - usual, hidden)
        return (seen + hidden * (filled - seen)).clamp(0.0, 1.0), hidden
