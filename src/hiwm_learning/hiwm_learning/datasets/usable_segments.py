"""Selects the bags for training: closed, complete, and of one embodiment.

A bag that was never closed, is being recorded, is damaged, or has a gap or a lost frame is left
out and reported. A bag that failed its audit for another reason, such as a command without its
tick, is used.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from hiwm_core.bags import Segment, read_segment
from hiwm_core.bags.recover import real_bag, recorded_by
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError, HiwmError

# Files that identify a bag folder. A damaged or unfinished bag lacks some of them.
_FILES_OF_A_BAG = ("*.mcap", "metadata.yaml", "*.mcap.original*")


def find_bags(places: Sequence[Path]) -> list[Path]:
    """Return the bag folders in or below some folders, complete or not, sorted.

    Folders whose names start with a dot belong to the recorder and are skipped. The paths are
    absolute, with links resolved: a bag that two places reach is returned once.

    Raises:
        BagError: a place contains no bag.
    """
    bags: set[Path] = set()
    for place in places:
        found = {
            file.parent for pattern in _FILES_OF_A_BAG for file in place.rglob(pattern)
            if not any(part.startswith(".") for part in file.relative_to(place).parts)
        } if place.is_dir() else set()
        if not found:
            raise BagError(
                "no bag there", where=str(place),
                remedy="give bag folders, or a folder that contains them",
            )
        bags |= {real_bag(bag) for bag in found}
    return sorted(bags)


def usable_segment(
    bag: Path, embodiment: Embodiment | None, leave_out: Callable[[str], None]
) -> Segment | None:
    """Return a bag's segment, or None if it is left out.

    Args:
        bag: its folder.
        embodiment: the embodiment it must have; any when None.
        leave_out: receives the bag's name and what is wrong with it.

    Raises:
        BagError: it is complete, and of another embodiment.
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
            remedy="train on bags of one embodiment; with --task, name the bags' task, or leave "
            "the option out",
        )
    return segment
