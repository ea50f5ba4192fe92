"""Convolution blocks that several networks of a latent world use."""

from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        groups = max(1, width // 8)
        self.first = nn.GroupNorm(groups, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.third = nn.GroupNorm(groups, width)
        self.fourth = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, W, H, W] of the same."""
        inner = self.second(functional.silu(self.first(x)))
        found: Tensor = x + self.fourth(functional.silu(self.third(inner)))
        return found


def residuals(width: int, count: int) -> nn.Sequential:
    """Return residual blocks, one after the other."""
    return nn.Sequential(*(Residual(width) for _ in range(count)))
