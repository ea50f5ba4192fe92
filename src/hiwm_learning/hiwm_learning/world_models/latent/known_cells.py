"""Whether scenes look like those of recorded frames, cell by cell.

Frames of the training set leave their usual cells behind: the means of a clustering. A predicted
frame has left the data when some of its cells are far from all of them, farther than in nearly
every recorded frame. That is a question of another kind than how far a prediction is off: a sharp
picture may be wrong, and a blob that never was in the data is known as one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.world_models.latent.robot_layer import CELL

CELLS = 512  # kept means
SAMPLE = 60_000  # cells that are clustered
ROUNDS = 12
# The distance that speaks for a frame is that of this share of its cells: an object that has melted
# may fill only a few.
WORST_SHARE = 0.02
# Of held-out frames, this share is known by definition of the limit.
KNOWN_SHARE = 0.995
# Predicted scenes are never quite those of a frame: the limit is this much farther.
MARGIN = 1.15
_COARSE = 2  # px a side of what is compared: a shift by less does not make another cell
_NUMBERS = 3 * (CELL // _COARSE) ** 2  # that describe a cell


class KnownCells(nn.Module):
    """The usual cells of one model's scenes."""

    means: Tensor
    limit: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(CELLS, _NUMBERS))
        # Infinite: nothing has been learned, and every frame is known.
        self.register_buffer("limit", torch.full((), torch.inf))

    @torch.no_grad()
    def fit(self, seen: Tensor, held_out: Tensor, generator: torch.Generator) -> None:
        """Learn from `cells_of` some recorded frames [N, M, Z]; held-out ones set the limit."""
        cells = seen.flatten(0, 1)
        chosen = torch.randperm(len(cells), generator=generator)[:SAMPLE]
        self.means.copy_(_clustered(cells[chosen.to(cells.device)], generator))
        self.limit.fill_(1.0)
        found = torch.cat([self.strangeness(part) for part in held_out.split(64)])
        self.limit.fill_(max(MARGIN * float(found.quantile(KNOWN_SHARE)), 1e-6))

    def strangeness(self, cells: Tensor) -> Tensor:
        """Return how far frames are from the known, [B]: above 1 they left it.

        Args:
            cells: [B, M, Z] of `cells_of`.
        """
        nearest = torch.cdist(cells, self.means[None].expand(len(cells), -1, -1)).amin(-1)
        worst = max(1, round(WORST_SHARE * nearest.shape[1]))
        found: Tensor = nearest.topk(worst, dim=1).values.mean(1) / self.limit
        return found


def cells_of(difference: Tensor) -> Tensor:
    """Return the cells of all cameras, [B, M, Z], of differences [B, C, 3, H, W] from usual."""
    coarse = functional.avg_pool2d(difference.flatten(0, 1), _COARSE)
    cells = functional.pixel_unshuffle(coarse, CELL // _COARSE).flatten(2).transpose(1, 2)
    found: Tensor = cells.unflatten(0, difference.shape[:2]).flatten(1, 2)
    return found


def _clustered(sample: Tensor, generator: torch.Generator) -> Tensor:
    """Return means [CELLS, Z] of a sample [N, Z], by Lloyd's rounds.

    The first means are cells of the sample that are far apart, so that rare cells are kept.
    """
    means = _spread(sample, generator)
    for _ in range(ROUNDS):
        owner = torch.cat([torch.cdist(part, means).argmin(1) for part in sample.split(4096)])
        sums = torch.zeros_like(means).index_add_(0, owner, sample)
        counts = torch.bincount(owner, minlength=CELLS).to(sums.dtype)
        filled = counts > 0
        means[filled] = sums[filled] / counts[filled, None]
    return means


def _spread(sample: Tensor, generator: torch.Generator) -> Tensor:
    """Return CELLS cells of a sample, each far from those before it (k-means++, greedy)."""
    first = int(torch.randint(len(sample), (1,), generator=generator))
    chosen = [first]
    nearest = (sample - sample[first]).square().sum(1)
    for _ in range(CELLS - 1):
        total = nearest.double().cumsum(0)
        place = torch.rand((), generator=generator, dtype=torch.float64) * total[-1].cpu()
        at = min(int(torch.searchsorted(total, place.to(total.device))), len(sample) - 1)
        chosen.append(at)
        nearest = torch.minimum(nearest, (sample - sample[at]).square().sum(1))
    return sample[chosen].clone()
