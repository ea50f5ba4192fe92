"""The decoder: learned canvases, moved rigidly and laid over a learned background.

A canvas is a small RGBA picture of one thing in its own frame. Drawing a frame looks up, for every
pixel, where it falls on each canvas. Nothing about any object is written here: background,
colours and shapes are parameters fitted to recorded frames.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """One layer of the scene, in drawing order."""

    name: str
    kind: str  # "object": pose found in the image; "arm": position read from proprioception
    extent_m: float  # width and height of the canvas on the table, m
    canvas_px: int  # width and height of the canvas, px
    proprioception: tuple[int, int] | None = None  # arm: indices of x and y in proprioception
    action: tuple[int, int] | None = None  # arm: indices of its targets in the action


class LayeredDecoder(nn.Module):
    """Draws frames from layer poses.

    Args:
        layers: in drawing order, the last on top.
        height: of the frame, px.
        width: of the frame, px.
        view_m: width and height of the table the camera sees, m.
    """

    grid: Tensor

    def __init__(
        self, layers: tuple[LayerSpec, ...], height: int, width: int, view_m: tuple[float, float]
    ) -> None:
        super().__init__()
        self.layers = layers
        self._view_m = view_m
        self.background = nn.Parameter(torch.zeros(3, height, width))
        self.canvases = nn.ParameterList(
            # RGB starts grey, alpha transparent at the rim and half opaque in the middle.
            torch.cat([
                torch.zeros(3, spec.canvas_px, spec.canvas_px),
                _soft_disc(spec.canvas_px)[None] * 4.0 - 2.0,
            ])
            for spec in layers
        )
        v, u = torch.meshgrid(
            torch.arange(height, dtype=torch.float32), torch.arange(width, dtype=torch.float32),
            indexing="ij",
        )
        # Table coordinates of pixel centres: x to the right, y up the picture.
        x = ((u + 0.5) / width - 0.5) * view_m[0]
        y = (0.5 - (v + 0.5) / height) * view_m[1]
        self.register_buffer("grid", torch.stack([x, y], dim=-1), persistent=False)

    def canvas(self, index: int) -> Tensor:
        """Return canvas `index` as RGBA in 0..1, [4, S, S]."""
        return torch.sigmoid(self.canvases[index])

    def forward(self, poses: Tensor) -> Tensor:
        """Return frames for poses.

        Args:
            poses: [B, L, 4] = x, y (m, table frame), cos and sin of the yaw.

        Returns:
            [B, 3, H, W] in 0..1.
        """
        frame = torch.sigmoid(self.background).expand(poses.shape[0], -1, -1, -1)
        for index in range(len(self.layers)):
            colour, alpha = self.place(index, poses[:, index])
            frame = frame * (1 - alpha) + colour * alpha
        return frame

    @torch.no_grad()
    def draw(self, poses: Tensor) -> Tensor:
        """Return the frames of `forward`, bit for bit, faster and without gradients.

        A small layer is looked up only around its pose.
        """
        frame = torch.sigmoid(self.background).repeat(len(poses), 1, 1, 1)
        for index, spec in enumerate(self.layers):
            pose = poses[:, index]
            window = self._window(spec.extent_m, pose)
            if window is None:
                colour, alpha = self.place(index, pose)
                frame = frame * (1 - alpha) + colour * alpha
                continue
            rows, columns = window
            colour, alpha = self._looked_up(index, pose, self.grid[rows, columns])
            frames = torch.arange(len(poses))[:, None, None]
            # An index on both sides of a slice puts the sliced axis last.
            under = frame[frames, :, rows, columns]
            colour, alpha = colour.permute(0, 2, 3, 1), alpha.permute(0, 2, 3, 1)
            frame[frames, :, rows, columns] = under * (1 - alpha) + colour * alpha
        return frame

    def _window(self, extent_m: float, pose: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return rows [B, n, 1] and columns [B, 1, n] of a square that holds a canvas at any angle.

        None where the frame is not much larger than that.
        """
        height, width = self.grid.shape[:2]
        pitch_x, pitch_y = self._view_m[0] / width, self._view_m[1] / height
        size = int(math.sqrt(2.0) * extent_m / min(pitch_x, pitch_y)) + 4
        if 2 * size > min(height, width):
            return None
        column = (pose[:, 0] / pitch_x + (width - 1) / 2).round().long()
        row = ((height - 1) / 2 - pose[:, 1] / pitch_y).round().long()
        around = torch.arange(size)
        rows = (row - size // 2).clamp(0, height - size)[:, None] + around
        columns = (column - size // 2).clamp(0, width - size)[:, None] + around
        return rows[:, :, None], columns[:, None, :]

    def place(self, index: int, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Return colour [B, 3, H, W] and opacity [B, 1, H, W] of one layer at poses [B, 4]."""
        return self._looked_up(index, pose, self.grid)

    def _looked_up(self, index: int, pose: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Return colour and opacity at table points [h, w, 2], or [B, h, w, 2], m."""
        spec = self.layers[index]
        offset = grid - pose[:, None, None, :2]
        c, s = pose[:, 2, None, None], pose[:, 3, None, None]
        local_x = c * offset[..., 0] + s * offset[..., 1]
        local_y = -s * offset[..., 0] + c * offset[..., 1]
        scale = 2.0 / spec.extent_m
        # Canvas rows run down the picture, y runs up.
        where = torch.stack([local_x * scale, -local_y * scale], dim=-1)
        rgba = functional.grid_sample(
            self.canvas(index).expand(pose.shape[0], -1, -1, -1), where,
            mode="bilinear", padding_mode="zeros", align_corners=False,
        )
        # Outside the canvas the samples are zero; colour there does not matter, alpha is zero.
        return rgba[:, :3], rgba[:, 3:]


def _soft_disc(size: int) -> Tensor:
    axis = torch.linspace(-1, 1, size)
    radius = (axis[:, None] ** 2 + axis[None] ** 2).sqrt()
    return (1 - radius).clamp(0, 1)


def to_logit(value: Tensor) -> Tensor:
    """Return the parameter whose sigmoid is `value`, kept away from 0 and 1."""
    return torch.logit(value.clamp(0.004, 0.996))


def frames_to_float(frames: Tensor) -> Tensor:
    """Return uint8 frames [B, H, W, 3] as float [B, 3, H, W] in 0..1."""
    return frames.permute(0, 3, 1, 2).float() / 255.0


def frames_to_bytes(frames: Tensor) -> Tensor:
    """Return float frames [B, 3, H, W] in 0..1 as uint8 [B, H, W, 3]."""
    return (frames.clamp(0, 1) * 255.0 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
