"""The networks of the policies: image encoders, a chunk denoiser, transformers.

They are small on purpose: two CPU cores must train and run them next to the rest of the graph.
"""

import math
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_Module = TypeVar("_Module", bound=nn.Module)


class SpatialSoftmax(nn.Module):
    """Expected position of each channel's activation, -1..1 (Levine et al. 2016).

    Keypoints replace pooled features because the policy must locate things to a fraction of a
    cell.
    """

    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, keypoints, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return [N, 2 * keypoints] for features [N, C, H, W]."""
        scores = self.score(features)
        count, keypoints, height, width = scores.shape
        y, x = torch.meshgrid(
            torch.linspace(-1.0, 1.0, height, device=features.device),
            torch.linspace(-1.0, 1.0, width, device=features.device), indexing="ij",
        )
        places = torch.stack((x.flatten(), y.flatten()), dim=-1)
        weights = torch.softmax(scores.reshape(count, keypoints, height * width), dim=-1)
        return (weights @ places).flatten(1)


class ImageTrunk(nn.Module):
    """Maps a stack of frames to features at a quarter and an eighth of the resolution.

    The newest frame enters unchanged, older ones as their difference to it, so that whatever does
    not move is 0 in them.

    Args:
        frames: images stacked in one observation.
        width: channels at a quarter of the resolution; twice that at an eighth.
    """

    def __init__(self, frames: int, width: int) -> None:
        super().__init__()
        groups = max(1, width // 8)
        self.stem = nn.Sequential(
            *_convolution(12 * frames, width, groups, stride=2),
            *_convolution(width, width, groups),
        )
        self.deep = nn.Sequential(
            *_convolution(width, 2 * width, groups, stride=2),
            *_convolution(2 * width, 2 * width, groups),
        )

    def features(self, images: Tensor, light: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return [N, width, H / 4, W / 4] and [N, 2 * width, H / 8, W / 8], rounded up.

        Args:
            images: [N, frames, H, W, 3] uint8, newest last; of an odd H or W the last row or
                column is not used.
            light: [N, 2], gain and offset (of 0..1) of a sample's frames, varied in training.
        """
        images = images[:, :, : images.shape[2] // 2 * 2, : images.shape[3] // 2 * 2]
        count, frames, height, width, colours = images.shape
        # Each 2 x 2 block becomes channels: convolutions at full resolution would take most of
        # the time. Done on bytes and channels-last, the fastest layout for CPU convolutions.
        blocks = images.reshape(count, frames, height // 2, 2, width // 2, 2, colours)
        blocks = blocks.permute(0, 2, 4, 1, 3, 5, 6).reshape(
            count, height // 2, width // 2, frames, 4 * colours
        )
        planes = blocks.float().mul_(1.0 / 255.0)
        if light is not None:
            gain, offset = light.reshape(count, 2, 1, 1, 1, 1).unbind(1)
            planes.mul_(gain).add_(offset)
        planes[..., :-1, :] -= planes[..., -1:, :]
        planes[..., -1, :] -= 0.5
        fine = self.stem(planes.flatten(3).permute(0, 3, 1, 2))
        return fine, self.deep(fine)


class ImageEncoder(ImageTrunk):
    """Maps a stack of frames to one vector.

    Args:
        frames: images stacked in one observation.
        width: channels of the trunk.
        keypoints: spatial-softmax keypoints at each of the two resolutions.
        features: length of the vector.
    """

    def __init__(self, frames: int, width: int, keypoints: int, features: int) -> None:
        super().__init__(frames, width)
        self.fine = SpatialSoftmax(width, keypoints)
        self.coarse = SpatialSoftmax(2 * width, keypoints)
        self.pooled = nn.Linear(2 * width * 9, features)
        # Keypoints start close to the centre; without the norm the image would be learnt late.
        size = 4 * keypoints + features
        self.join = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, features), nn.SiLU())

    def forward(self, images: Tensor, light: Tensor | None = None) -> Tensor:
        """Return [N, features]; see `ImageTrunk.features`."""
        fine, coarse = self.features(images, light)
        pooled = functional.adaptive_avg_pool2d(coarse, 3).flatten(1)
        return cast(Tensor, self.join(torch.cat(
            (self.fine(fine), self.coarse(coarse), self.pooled(pooled)), dim=-1
        )))


class ImageTokens(ImageTrunk):
    """Maps a stack of frames to one token per 16 x 16 px, with a position encoding.

    Args:
        frames: images stacked in one observation.
        width: channels of the trunk.
        features: length of a token.
        image_height: [px].
        image_width: [px].
        marked: whether a learnt vector is added to every token, to tell cameras apart.
    """

    places: Tensor  # [T, features]

    def __init__(
        self, frames: int, width: int, features: int, image_height: int, image_width: int, *,
        marked: bool = False,
    ) -> None:
        super().__init__(frames, width)
        self.leave = nn.Conv2d(2 * width, features, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(features)
        # Computed from the sizes, so checkpoints need not store them.
        self.register_buffer(
            "places", place_waves(_cells(image_height), _cells(image_width), features),
            persistent=False,
        )
        self.mark = nn.Parameter(torch.randn(features) * 0.02) if marked else None

    def forward(self, images: Tensor, light: Tensor | None = None) -> Tensor:
        """Return [N, T, features], row by row; see `ImageTrunk.features`."""
        _, coarse = self.features(images, light)
        tokens = self.leave(coarse).flatten(2).transpose(1, 2)
        placed = cast(Tensor, self.norm(tokens)) + self.places
        return placed if self.mark is None else placed + self.mark


def _cells(pixels: int) -> int:
    """Return the tokens along an image's side: one for each 16 px begun, after the halving."""
    return -(-(pixels // 2) // 8)


def place_waves(height: int, width: int, features: int) -> Tensor:
    """Return [height * width, features]: sines and cosines of each cell's row and column.

    The 2-D position encoding of DETR (Carion et al. 2020, arXiv 2005.12872), which ACT uses.
    `features` is a multiple of 4.
    """
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    frequencies = 2.0 * math.pi / 10000.0 ** (torch.arange(features // 4) / (features // 4))
    angles = torch.stack((y.flatten(), x.flatten()), dim=-1)[..., None] * frequencies
    return torch.cat((angles.sin(), angles.cos()), dim=-1).flatten(1)


def transformer_encoder(
    features: int, heads: int, feedforward: int, dropout: float, *, layers: int
) -> nn.TransformerEncoder:
    """Return pre-norm self-attention layers on [N, T, features].

    ACT uses post-norm; pre-norm tolerates a learning rate a hundred times as high.
    """
    layer = nn.TransformerEncoderLayer(
        features, heads, feedforward, dropout, batch_first=True, norm_first=True
    )
    return _reinitialised(nn.TransformerEncoder(
        layer, layers, norm=nn.LayerNorm(features), enable_nested_tensor=False
    ))


def transformer_decoder(
    features: int, heads: int, feedforward: int, dropout: float, *, layers: int
) -> nn.TransformerDecoder:
    """Return layers in which queries [N, K, features] attend to themselves and to a memory."""
    layer = nn.TransformerDecoderLayer(
        features, heads, feedforward, dropout, batch_first=True, norm_first=True
    )
    return _reinitialised(nn.TransformerDecoder(layer, layers, norm=nn.LayerNorm(features)))


def _reinitialised(module: _Module) -> _Module:
    # Layers start as copies of one; nn.Transformer reinitialises them in the same way.
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    return module


def _convolution(
    entering: int, leaving: int, groups: int, stride: int = 1
) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(entering, leaving, 3, stride=stride, padding=1),
        nn.GroupNorm(groups, leaving), nn.SiLU(),
    )


class DenoiserBlock(nn.Module):
    """A residual layer pair scaled and shifted by the condition (FiLM, Perez et al. 2018)."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.film = nn.Linear(condition, 2 * width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        # Every block starts as the identity, which stabilises early training.
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """Return the next hidden [N, width] for hidden [N, width] and condition [N, condition]."""
        scale, shift = self.film(condition).chunk(2, dim=-1)
        update = self.norm(hidden) * (1.0 + scale) + shift
        return hidden + cast(Tensor, self.narrow(functional.silu(self.wide(update))))


class ChunkDenoiser(nn.Module):
    """Predicts the velocity of a noisy chunk, for the whole chunk at once.

    A chunk is only horizon x actions numbers. Dense layers over all of them take a tenth of the
    time of convolutions over time on a CPU.

    Args:
        size: numbers in a chunk, horizon x action_dim.
        condition: length of the observation's vector.
        width: hidden width.
        blocks: residual blocks.
    """

    def __init__(self, size: int, condition: int, width: int, blocks: int) -> None:
        super().__init__()
        self.level = nn.Sequential(nn.Linear(64, condition), nn.SiLU())
        self.condition = nn.Sequential(nn.Linear(2 * condition, condition), nn.SiLU())
        self.enter = nn.Linear(size, width)
        self.blocks = nn.ModuleList(DenoiserBlock(width, condition) for _ in range(blocks))
        self.leave = nn.Linear(width, size)

    def forward(self, noisy: Tensor, level: Tensor, observation: Tensor) -> Tensor:
        """Return [N, size] for noisy [N, size] at level [N], 0..1, given [N, condition]."""
        embedded = self.level(_waves(level))
        condition = self.condition(torch.cat((embedded, observation), dim=-1))
        hidden = self.enter(noisy)
        for block in self.blocks:
            hidden = block(hidden, condition)
        return cast(Tensor, self.leave(hidden))


def _waves(level: Tensor) -> Tensor:
    """Return [N, 64] sines and cosines of level [N], 0..1, from slow to fast."""
    frequencies = torch.exp(torch.linspace(0.0, math.log(200.0), 32, device=level.device))
    angles = level[:, None] * frequencies[None]
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
