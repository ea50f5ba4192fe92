"""Which bags training takes: all of one embodiment whose ticks are whole.

A bag that failed its audit for a gap, a lost frame or damage is left out, and named. One that only
was not closed, or lacks a command, has all that training reads and is taken. A bag that is being
recorded is left out.
"""

from collections.abc import Callable
from pathlib import Path

from hiwm_core.bags import Segment, read_segment
from hiwm_core.bags.recover import recorded_by
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError, HiwmError


def usable_segment(
    bag: Path, embodiment: Embodiment | None, leave_out: Callable[[str], None]
) -> Segment | None:
    """Return a bag's segment; None where it is left out.

    Args:
        bag: its folder.
        embodiment: it must be of; any when None.
        leave_out: takes the bag's name and what is wrong with it.

    Raises:
        BagError: it is whole, and of another embodiment.
    """
    if owner := recorded_by(bag):
        leave_out(f"{bag.name}: being recorded by {owner.process}")
        return None
    try:
        segment = read_segment(bag)
    except HiwmError as error:
        leave_out(f"{bag.name}: {error}")
        return None
    if embodiment is not None and segment.embodiment.hash != embodiment.hash:
        raise BagError(
            f"bag of embodiment {segment.embodiment.name} {segment.embodiment.hash}, the "
            f"training set has {embodiment.name} {embodiment.hash}", where=str(bag),
            remedy="train from the bags of one embodiment at a time",
        )
    return segment
