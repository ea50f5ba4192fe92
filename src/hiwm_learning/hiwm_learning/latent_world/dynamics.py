"""The network that says where latents go, given the past and the actions.

A U-Net of diffusers over the latent grid. Actions enter twice: as FiLM (Perez et al. 2018), which
tells every layer how strongly and when, and, where an embodiment's actions are places on a table
seen from above, as planes with a blob at each commanded place, which tell it where. FiLM alone
places things poorly.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError

# Standard deviation of a blob on a plane, in latent cells; narrower, it would vanish between two.
BLOB_CELLS = 1.0
# Levels, of order 1, are spread over the 1000 steps that the U-Net's embedding was made for.
LEVEL_SCALE = 1000.0


@dataclass(frozen=True, kw_only=True)
class Plane:
    """An arm's commanded place, drawn into the latent grid of a camera from above."""

    x: int  # action index, m, to the right of the picture
    y: int  # action index, m, up the picture
    view_m: tuple[float, float]  # width and height of the table the camera sees


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig:
    """Size of the network and of its window."""

    context: int = 10  # past latents seen, the present one included
    widths: tuple[int, ...] = (128, 256, 384)  # of the U-Net, one a resolution
    blocks: int = 2  # residual blocks at each resolution
    attention: bool = True  # at the coarsest resolution


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What a next latent depends on."""

    latents: Tensor  # [B, T, K, h, w] oldest first, the present one last
    actions: Tensor  # [B, T, A] scaled to -1..1; row i leads on from latent i; NaN = none known
    noise: Tensor  # [B] noise on the latents, 0..1 of the most in training


def planes_of(embodiment: Embodiment, cameras: tuple[str, ...]) -> tuple[Plane, ...]:
    """Return a plane for each arm with targets `<arm>_x` and `<arm>_y` in m, and each such camera.

    Cameras that do not look straight down (no view_m) get none.
    """
    index = {entry.name: i for i, entry in enumerate(embodiment.actions) if entry.unit == "m"}
    return tuple(
        Plane(x=index[f"{arm}_x"], y=index[f"{arm}_y"], view_m=embodiment.camera(name).view_m)
        for name in cameras if min(embodiment.camera(name).view_m) > 0
        for arm in embodiment.arms if f"{arm}_x" in index and f"{arm}_y" in index
    )


class ActionScale(nn.Module):
    """Actions between their limits as -1..1, and the planes that draw them.

    Args:
        lower: limits, [A], in each entry's unit.
        upper: likewise.
        planes: what to draw.
        grid: height and width of the latents.
    """

    middle: Tensor
    reach: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(
        self, lower: tuple[float, ...], upper: tuple[float, ...], planes: tuple[Plane, ...],
        grid: tuple[int, int],
    ) -> None:
        super().__init__()
        low, high = torch.tensor(lower), torch.tensor(upper)
        self.planes = planes
        # They follow from the configuration, so they need not travel in checkpoints.
        self.register_buffer("middle", (low + high) / 2, persistent=False)
        self.register_buffer("reach", (high - low) / 2, persistent=False)
        rows = (torch.arange(grid[0]) + 0.5) / grid[0] - 0.5
        columns = (torch.arange(grid[1]) + 0.5) / grid[1] - 0.5
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def scaled(self, actions: Tensor) -> Tensor:
        """Return actions [..., A] as -1..1; NaN stays NaN."""
        return (actions - self.middle) / self.reach

    def drawn(self, scaled: Tensor) -> Tensor:
        """Return planes [B, planes, h, w] of scaled actions [B, A]; empty where NaN."""
        actions = scaled * self.reach + self.middle
        drawn = [
            self._blob(
                actions[:, plane.x] / plane.view_m[0], -actions[:, plane.y] / plane.view_m[1]
            )
            for plane in self.planes
        ]
        if not drawn:
            return scaled.new_zeros(len(scaled), 0, len(self.rows), len(self.columns))
        return torch.nan_to_num(torch.stack(drawn, dim=1))

    def _blob(self, right: Tensor, down: Tensor) -> Tensor:
        """Return [B, h, w] with a blob at shares [B] of the view, from its middle."""
        across = (self.columns[None] - right[:, None]) * (len(self.columns) / BLOB_CELLS)
        along = (self.rows[None] - down[:, None]) * (len(self.rows) / BLOB_CELLS)
        return torch.exp(-0.5 * (across[:, None, :] ** 2 + along[:, :, None] ** 2))


class LatentDynamics(nn.Module):
    """The network of every objective.

    Args:
        config: its size.
        channels: of the latents of all cameras, K.
        grid: height and width of the latents.
        action_dim: length of an action, A.
        scale: of actions; shared with the heads, so it belongs to neither.

    Raises:
        ConfigError: the latent grid cannot be halved as often as there are widths.
    """

    def __init__(
        self, config: DynamicsConfig, channels: int, grid: tuple[int, int], action_dim: int,
        scale: ActionScale,
    ) -> None:
        super().__init__()
        halvings = 2 ** (len(config.widths) - 1)
        if grid[0] % halvings or grid[1] % halvings or config.context < 2:
            raise ConfigError(
                f"latents of {grid[1]} x {grid[0]} with {len(config.widths)} widths and a context "
                f"of {config.context}", where="latent dynamics",
                remedy=f"use a grid that is a multiple of {halvings}, and a context of 2 or more",
            )
        self.config = config
        self._scale = [scale]  # in a list: not a submodule
        count = len(config.widths)
        down = ["DownBlock2D"] * count
        up = ["UpBlock2D"] * count
        if config.attention:
            down[-1], up[0] = "AttnDownBlock2D", "AttnUpBlock2D"
        embedded = 4 * config.widths[0]
        self.unet: Any = UNet2DModel(
            in_channels=channels * (config.context + 1) + len(scale.planes),
            out_channels=channels, block_out_channels=config.widths,
            layers_per_block=config.blocks, down_block_types=tuple(down),
            up_block_types=tuple(up), norm_num_groups=8, attention_head_dim=8,
            add_attention=config.attention, class_embed_type="identity",
            resnet_time_scale_shift="scale_shift",
        )
        # Nearly nothing at first: a rollout of an untrained regression stays where it is, and
        # unrolled training begins with latents that are of this world.
        with torch.no_grad():
            self.unet.conv_out.weight.mul_(0.1)
        # Whether an action is known is an input of its own.
        self.film = nn.Sequential(
            nn.Linear(config.context * (action_dim + 1) + 1, embedded), nn.SiLU(),
            nn.Linear(embedded, embedded),
        )

    def forward(self, noisy: Tensor, level: Tensor, condition: Condition) -> Tensor:
        """Return what the objective asks for.

        Args:
            noisy: [B, K, h, w] what is to become the next latent.
            level: [B] noise level as the objective counts it.
            condition: past and actions.

        Returns:
            [B, K, h, w].
        """
        known = ~condition.actions[..., :1].isnan()
        told = torch.cat([
            torch.nan_to_num(condition.actions).flatten(1), known.flatten(1).to(noisy.dtype),
            condition.noise[:, None],
        ], dim=1)
        planes = self._scale[0].drawn(condition.actions[:, -1])
        seen = torch.cat([noisy, condition.latents.flatten(1, 2), planes], dim=1)
        found: Tensor = self.unet(
            seen, level * LEVEL_SCALE, class_labels=self.film(told), return_dict=False
        )[0]
        return found
