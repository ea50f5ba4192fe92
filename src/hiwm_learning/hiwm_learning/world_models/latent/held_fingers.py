"""Fingers that hold something cannot close any further.

How far they stay open is what a person, an operator program and a policy go by to tell a grasp from
a miss. It shows in one tick of each grasp, too few for the dynamics to learn it well.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Joints count as kept open if they rest so much of their way from shut to open away from shut.
_APART = 0.05
_STILL = 0.01  # of that way in a tick: the joint rests


class HeldFingers(nn.Module):
    """Keeps the joints of a gripper that holds something where things usually stop them.

    Args:
        arms: of each hand, its arm's places in proprioception.
        gripper_joints: places in proprioception that say how far a gripper is open.
        joints: P, length of proprioception.
    """

    rest: Tensor
    opens: Tensor
    mine: Tensor

    def __init__(
        self, arms: Sequence[Sequence[int]], gripper_joints: Sequence[int], joints: int
    ) -> None:
        super().__init__()
        mine = torch.zeros(len(arms), joints, dtype=torch.bool)
        for hand, places in enumerate(arms):
            mine[hand, [place for place in places if place in gripper_joints]] = True
        self.register_buffer("mine", mine, persistent=False)
        # [P] where each joint rests on what is held, the embodiment's units; NaN: nothing stops it
        self.register_buffer("rest", torch.full((joints,), torch.nan))
        self.register_buffer("opens", torch.ones(joints))  # 1 if a larger value is wider, else -1

    def learn(self, joints: Tensor, last: Tensor, grips: Tensor, shut: Tensor) -> None:
        """Learn where joints rest; those that are known are kept.

        Args:
            joints: [N, P] recorded ticks, one run after the other.
            last: [N] the last tick of each one's run.
            grips: [N, hands] whether a hand holds something: 1, 0, or NaN.
            shut: [N, hands] whether a gripper is told to be shut.
        """
        now = torch.arange(len(joints) - 1)
        now = now[now < last[:-1]]
        for hand, place in torch.nonzero(self.mine.cpu()).tolist():
            at, then = joints[now, place], joints[now + 1, place]
            told = shut[now, hand] & shut[now + 1, hand]
            is_open = ~shut[now, hand]
            if not told.any() or not is_open.any() or not bool(self.rest[place].isnan()):
                continue
            wide = at[is_open].median()
            still = told & ((then - at).abs() <= _STILL * (wide - at[told].median()).abs())
            held = still & (grips[now, hand] == 1.0) & (grips[now + 1, hand] == 1.0)
            empty = still & (grips[now, hand] == 0.0)
            if not held.any() or not empty.any():
                continue
            rest, closed = at[held].median(), at[empty].median()
            if (rest - closed) / (wide - closed) > _APART:
                self.rest[place] = rest
                self.opens[place] = torch.sign(wide - closed)

    def forward(self, after: Tensor, joints: Tensor, held: Tensor) -> Tensor:
        """Return the joints [B, P] after a step; those of hands that hold something stay open.

        Args:
            after: [B, P] the joints as they would move.
            joints: [B, P] those before. What is farther closed already only stays as it is.
            held: [B, hands].
        """
        stopped = (held[:, :, None] & self.mine).any(1) & ~self.rest.isnan()
        stop = torch.minimum(joints * self.opens, torch.nan_to_num(self.rest) * self.opens)
        kept: Tensor = torch.maximum(after * self.opens, stop) * self.opens
        return torch.where(stopped, kept, after)
