"""Counts grasps in recorded bags: taken, missed and slipped.

    python -m hiwm_yam_pair.grasps data/rope/failure

A hand that closes has taken something if it holds it shortly afterwards, and has missed it if not.
Something has slipped if a hand above the table no longer holds it. Whether a hand holds something
comes from ground truth if the task tells it, else from the fingers: something keeps them apart.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags.reader import Segment, read_segment
from hiwm_core.bags.recover import session_bags
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.user_paths import path_argument
from hiwm_yam_pair.geometry import SIDES

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_EMBODIMENT = "yam_pair_cartesian"
# Gripper ratios: open, closed, and what a thing between the fingers leaves at least.
_OPEN, _CLOSED, _APART = 0.4, 0.3, 0.08
_AFTER = 3  # ticks after closing
_ABOVE_M = 0.035  # of the tip: higher than where things are laid down


@dataclass(frozen=True, kw_only=True)
class Grasps:
    """How often hands closed on something, closed on nothing, and lost what they held."""

    taken: int = 0
    missed: int = 0
    slipped: int = 0

    def __add__(self, other: "Grasps") -> "Grasps":
        return Grasps(
            taken=self.taken + other.taken, missed=self.missed + other.missed,
            slipped=self.slipped + other.slipped,
        )


def count(grip: Array, height_m: Array, holds: Mask) -> Grasps:
    """Return one hand's grasps in an episode.

    Args:
        grip: [T], measured ratio of its gripper.
        height_m: [T], of its tip.
        holds: [T], whether it holds something.
    """
    taken = missed = 0
    is_open = True
    for tick, ratio in enumerate(grip):
        if ratio > _OPEN:
            is_open = True
        elif ratio < _CLOSED and is_open and tick + _AFTER < len(grip):
            is_open = False
            held = bool(holds[tick:tick + _AFTER + 1].any())
            taken, missed = taken + held, missed + (not held)
    lost = holds[:-1] & ~holds[1:] & (height_m[1:] > _ABOVE_M)
    return Grasps(taken=taken, missed=missed, slipped=int(lost.sum()))


def of_segment(segment: Segment) -> Grasps:
    """Return the grasps of both hands in a recording of the pair's Cartesian embodiment.

    Raises:
        BagError: the recording is of another embodiment.
    """
    if segment.embodiment.name != _EMBODIMENT:
        raise BagError(
            f"recorded with the embodiment {segment.embodiment.name}", where=str(segment.path),
            remedy=f"count grasps in bags of {_EMBODIMENT}",
        )
    hands = segment.measured.astype(np.float64).reshape(segment.length, len(SIDES), 5)
    total = Grasps()
    for number, side in enumerate(SIDES):
        grip, height = hands[:, number, 4], hands[:, number, 2]
        said = f"{side}_holds"
        if segment.labels is not None and said in segment.labels.names:
            holds = segment.labels.column(said) > 0.5
        else:
            holds = (grip > _APART) & (grip < _CLOSED)
            holds[1:] &= np.abs(np.diff(grip)) < 0.03  # not on its way
        total += count(grip, height, holds)
    return total


def main() -> int:
    """Print the counts of each folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folders", nargs="+", type=path_argument, help="folders with bags")
    options = parser.parse_args()
    try:
        for folder in options.folders:
            total, episodes = Grasps(), 0
            for path in session_bags(folder):
                segment = read_segment(path, strict=False, cameras=())
                total, episodes = total + of_segment(segment), episodes + 1
            print(
                f"{folder}: {episodes} bags, {total.taken} grasps taken, {total.missed} missed, "
                f"{total.slipped} slipped"
            )
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
