"""Where imported segments go: bags of a new session, or a training set."""

import secrets
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from hiwm_core.atomic_files import replace_file, replaced_folder
from hiwm_core.bags import Segment
from hiwm_core.bags.disk import disk_refusal
from hiwm_core.bags.session import BAGS_FOLDER
from hiwm_core.episode_labels import EpisodeLabel, fingerprint, write_bag_label
from hiwm_core.errors import BagError
from hiwm_core.output_folders import check_output_folder
from hiwm_exchange.bag_writer import SENDER, write_bag

# Exit code of an import that left a bag out, or wrote one that fails its audit.
INCOMPLETE = 3
Labelled = tuple[Segment, str]  # a segment and its label; empty: none


class LeftOut:
    """What an import leaves out, named one by one.

    Args:
        strict: stop at the first one in place of leaving it out.
        write: receives a line for each.

    Attributes:
        count: number of episodes, bags, or stretches of bags.
        first: the first one's error.
    """

    def __init__(self, *, strict: bool, write: Callable[[str], None]) -> None:
        self.count = 0
        self.first: BagError | None = None
        self._strict, self._write = strict, write

    def take(self, name: str, error: BagError) -> None:
        """Count and name one. Raises its error if the import is strict."""
        if self._strict:
            raise error
        self.count += 1
        self.first = self.first or error
        self._write(f"left out {name}: {error}")

    def check(self, imported: int) -> None:
        """Raise the first error if nothing was imported."""
        if self.first is not None and not imported:
            raise self.first


class Written(NamedTuple):
    """What an import wrote."""

    bags: int
    ticks: int
    failed: int  # bags that fail their audit


def check_new(output: Path, inputs: Iterable[Path]) -> None:
    """Raise ConfigError if an import would overwrite anything, or lies in an input."""
    check_output_folder(output, "a new folder", lambda folder: False, inputs=inputs)


def new_session_id(output: Path) -> str:
    """Return the id of an imported session: its folder's name and a random suffix."""
    return f"{output.absolute().name}-{secrets.token_hex(4)}"


def write_session(
    output: Path, session_id: str, segments: Iterable[Labelled], write: Callable[[str], None]
) -> Written:
    """Write segments as the bags of a session; return how many there are.

    The folder appears when it is complete; an error leaves nothing.

    Args:
        output: of the session; a new or empty folder.
        session_id: of the session.
        segments: in order.
        write: receives a line for each bag that fails its audit, and progress.

    Raises:
        BagError: no segment, or the disk refuses; and whatever the segments raise.
    """
    bags = ticks = failed = 0
    try:
        with replaced_folder(output) as folder:
            replace_file(folder / "session_id", session_id)
            for segment, label in segments:
                audit = write_bag(folder / BAGS_FOLDER, segment)
                if label:
                    bag = folder / BAGS_FOLDER / audit.bag
                    write_bag_label(
                        bag, EpisodeLabel(label=label, who=SENDER), seen=fingerprint(bag)
                    )
                if not audit.ok:
                    failed += 1
                    write(f"{audit.bag}: fails its audit: {'; '.join(audit.problems)}")
                bags, ticks = bags + 1, ticks + audit.ticks
                if bags % 20 == 0:
                    write(f"{bags} bags  {ticks} ticks")
            if not bags:
                raise BagError(
                    "no episode was imported", where=str(output),
                    remedy="see the lines above for what was left out",
                )
    except OSError as error:
        raise BagError(
            disk_refusal(error, output), where=str(output), remedy="make room there"
        ) from error
    return Written(bags, ticks, failed)


def report(output: Path, written: Written, embodiment: str, left_out: int = 0) -> int:
    """Print what an import wrote, and return the exit code.

    Args:
        output: the session.
        written: what it has.
        embodiment: its name.
        left_out: number of episodes, bags, or stretches of bags that were left out.
    """
    print(f"{output}: {written.bags} bags, {written.ticks} ticks, embodiment {embodiment}")
    if not written.failed and not left_out:
        return 0
    print(
        f"incomplete: {left_out} left out; {written.failed} of the written bags fail their audit; "
        "see above", file=sys.stderr,
    )
    return INCOMPLETE
