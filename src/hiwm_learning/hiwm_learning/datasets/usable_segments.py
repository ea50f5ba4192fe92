"""Which bags training takes: all of one embodiment that are closed and whole.

A bag that was never closed, is being recorded, is damaged, or has a gap or a lost frame is left
out, and named. One that failed its audit for something else, such as a command without its tick, is
taken.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from hiwm_core.bags import Segment, read_segment
from hiwm_core.bags.recover import recorded_by
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError, HiwmError

# What tells a bag folder: a damaged or unfinished bag lacks one or the other.
_FILES_OF_A_BAG = ("*.mcap", "metadata.yaml", "*.mcap.original*")


def find_bags(places: Sequence[Path]) -> list[Path]:
    """Return the bag folders at or below the places, whole or not, sorted.

    Folders whose names begin with a dot are the recorder's own and hold no bags of the session.

    Raises:
        BagError: a place holds none.
    """
    bags: set[Path] = set()
    for place in places:
        found = {
            file.parent for pattern in _FILES_OF_A_BAG for file in place.rglob(pattern)
            if not any(part.startswith(".") for part in file.relative_to(place).parts)
        } if place.is_dir() else set()
        if not found:
            raise BagError(
                "no bag there", where=str(place), remedy="give bag folders, or a folder of them"
            )
        bags |= found
    return sorted(bags)


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
    except (HiwmError, OSError) as error:
        leave_out(f"{bag.name}: {error}")
        return None
    if embodiment is not None and segment.embodiment.hash != embodiment.hash:
        raise BagError(
            f"bag of embodiment {segment.embodiment.name} {segment.embodiment.hash}, the "
            f"training set has {embodiment.name} {embodiment.hash}", where=str(bag),
            remedy="train from the bags of one embodiment at a time; where a task is named with "
            "--task, name that of the bags or leave it out",
        )
    return segment
