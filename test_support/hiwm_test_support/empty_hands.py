"""How far a weak demonstrator carries what it does not hold."""

from collections.abc import Callable

import numpy as np

from hiwm_core.task_plugin import Behaviour
from hiwm_robot.standin_robot import StandinRobot

_SHUT = 0.1  # gripper ratio


def farthest_carry_of_nothing(
    robot: StandinRobot, weak: Behaviour, holds: Callable[[int], bool], ticks: int
) -> float:
    """Return how far a shut hand went without holding anything, m.

    Args:
        robot: of the pair of arms.
        weak: what it does.
        holds: whether the hand of a side holds something now.
        ticks: length of the episode.
    """
    robot.place(weak.start(), 0)
    shut_at: list[np.ndarray | None] = [None, None]
    farthest = 0.0
    for _ in range(ticks):
        robot.take(weak.targets(robot.scene.truth, robot.measured))
        robot.advance()
        for side, hand in enumerate(robot.measured.reshape(2, 5)):
            began = shut_at[side]
            if hand[4] > _SHUT or holds(side):
                shut_at[side] = None
            elif began is None:
                shut_at[side] = hand[:3]
            else:
                farthest = max(farthest, float(np.linalg.norm(hand[:3] - began)))
    return farthest
