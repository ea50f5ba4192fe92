"""How joints follow commands: a linear response fitted in one go, and a small network on top.

The linear part knows lag and ramps: the last change, the distance to the command and to the last
command. The network adds what depends on the posture, as joints do under a Cartesian command.
What a grasp does to fingers comes from the dynamics, which sees the objects.
"""

import torch
from torch import Tensor, nn

RIDGE = 1e-6
WIDTH = 96


class JointResponse(nn.Module):
    """Predicts the change of proprioception in one step.

    Args:
        proprioception: P.
        actions: A.
    """

    linear: Tensor
    spread: Tensor
    gap_spread: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, proprioception: int, actions: int) -> None:
        super().__init__()
        features = proprioception + 2 * actions
        self.register_buffer("linear", torch.zeros(features + 1, proprioception))
        self.register_buffer("spread", torch.ones(proprioception))  # of a step's change
        self.register_buffer("gap_spread", torch.ones(actions))  # of command minus measured
        self.register_buffer("mean", torch.zeros(proprioception))
        self.register_buffer("deviation", torch.ones(proprioception))
        self.net = nn.Sequential(
            nn.Linear(features + proprioception, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH),
            nn.SiLU(), nn.Linear(WIDTH, proprioception),
        )
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def fit(
        self, now: Tensor, before: Tensor, gap: Tensor, last_gap: Tensor, after: Tensor
    ) -> None:
        """Fit scales and the linear part by least squares.

        Args:
            now: [N, P] proprioception.
            before: [N, P] one step earlier.
            gap: [N, A] command minus measured.
            last_gap: [N, A] the last command minus measured.
            after: [N, P] one step later.
        """
        now, before, gap, last_gap, after = (
            rows.to(self.mean.device) for rows in (now, before, gap, last_gap, after)
        )
        change = after - now
        self.mean.copy_(now.mean(0))
        self.deviation.copy_(now.std(0) + 1e-4)
        self.spread.copy_(change.std(0) + 1e-6)
        self.gap_spread.copy_(gap.std(0) + 1e-6)
        rows = torch.cat(
            [self._scaled(now - before, gap, last_gap), now.new_ones(len(now), 1)], dim=1
        ).double()
        wanted = (change / self.spread).double()
        # Normal equations with a little ridge: constant entries make a plain solver return
        # nonsense.
        square = rows.T @ rows
        square.diagonal().add_(RIDGE * len(rows))
        self.linear.copy_(torch.linalg.solve(square, rows.T @ wanted).float())

    def forward(self, now: Tensor, before: Tensor, gap: Tensor, last_gap: Tensor) -> Tensor:
        """Return the change [B, P] in the embodiment's units; see `fit` for the arguments."""
        # Gap and last gap are nearly equal: in half of the bits, little of them would be left.
        with torch.autocast(now.device.type, enabled=False):
            scaled = self._scaled(now - before, gap, last_gap)
            straight = scaled @ self.linear[:-1] + self.linear[-1]
            posture = ((now - self.mean) / self.deviation).clamp(-5.0, 5.0)
            bent: Tensor = self.net(torch.cat([scaled.clamp(-5.0, 5.0), posture], dim=1))
            return (straight + bent) * self.spread

    def _scaled(self, change: Tensor, gap: Tensor, last_gap: Tensor) -> Tensor:
        return torch.cat(
            [change / self.spread, gap / self.gap_spread, last_gap / self.gap_spread], dim=1
        )
