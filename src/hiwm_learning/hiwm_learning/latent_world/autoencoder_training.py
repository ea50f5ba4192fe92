"""First stage: the autoencoder learns to redraw frames."""

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from hiwm_learning.latent_world.autoencoder import Autoencoder
from hiwm_learning.latent_world.clips import Clips
from hiwm_learning.latent_world.model import LatentWorldModel
from hiwm_learning.latent_world.stage import Stage

RATE = 5e-4
# Of the latents' unit deviation: sampled latents are never quite those of a frame, and the decoder
# should not mind.
LATENT_NOISE = 0.05
MEASURED = 64  # held-out frames


class RedrawingLoss(nn.Module):
    """L1 and squared error of frames redrawn from noisy latents."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Return losses [B] of images [B, C, 3, H, W] with noise [B, K, h, w] on their latents."""
        error = self.autoencoder(images, noise * LATENT_NOISE) - images
        l1, squared = error.abs().flatten(1).mean(1), (error**2).flatten(1).mean(1)
        return {"loss": l1 + 4.0 * squared, "l1": l1}


def autoencoder_stage(
    accelerator: Accelerator, model: LatentWorldModel, clips: Clips, held_out: Clips, *,
    batch: int, seed: int,
) -> Stage:
    """Return the stage that fits a model's autoencoder in place.

    Args:
        accelerator: see `Stage`.
        model: on the accelerator's device.
        clips: to train on.
        held_out: to measure on.
        batch: frames a step, all processes together.
        seed: of everything drawn.
    """
    autoencoder, device = model.autoencoder, accelerator.device

    def draw(generator: torch.Generator, progress: float) -> Tensor:
        return torch.randint(len(clips), (batch,), generator=generator)

    def images_and_noise(
        rows: Tensor, generator: torch.Generator, step: int, progress: float
    ) -> tuple[Tensor, Tensor]:
        images = clips.frames[rows].to(device).movedim(-1, -3).float() / 255.0
        shape = (len(rows), *autoencoder.latent_shape)
        return images, torch.randn(shape, generator=generator, device=device)

    def measure() -> dict[str, float]:
        rows = torch.linspace(0, len(held_out) - 1, min(MEASURED, len(held_out))).long()
        frames = held_out.frames[rows].to(device)
        return {"psnr": psnr(model.decode(model.encode(frames)), frames)}

    return Stage(
        accelerator, RedrawingLoss(autoencoder), batch=images_and_noise, draw=draw,
        rates=[(autoencoder, RATE)], seed=seed, measure=measure,
    )


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Return the PSNR of uint8 frames of any equal shape, dB, over all of them."""
    square = ((found.float() - wanted.float()) ** 2).mean() / 255.0**2
    return float(-10.0 * torch.log10(square.clamp_min(1e-10)))
