"""Journals of finished shards: what has one counts, so that a cut-off export continues.

They lie in the data set's folder until its metadata are written.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import StoreError
from hiwm_core.json_files import read_object
from hiwm_exchange.lerobot.episodes import WrittenEpisode

JOURNAL_FOLDER = ".hiwm_export"
_AGAIN = "remove the folder of the export and export again"


@dataclass(frozen=True, kw_only=True)
class Journal:
    """What a finished shard has."""

    shard: int
    episodes: Sequence[WrittenEpisode]
    tasks: Sequence[str]  # of the set until then
    next_entry: int | None  # of the plan; None: the entry goes on in the next shard


class Journals:
    """The journals of a data set.

    Args:
        folder: of the data set.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / JOURNAL_FOLDER

    def write(self, journal: Journal) -> None:
        """Make a shard count."""
        replace_file(
            self._folder / f"shard-{journal.shard:06d}.json",
            json.dumps(asdict(journal), indent=1) + "\n",
        )

    def finished(self) -> Iterator[Journal]:
        """Yield the journals up to the last one that ends with a whole entry of the plan.

        Later ones are removed.
        """
        files = sorted(self._folder.glob("shard-*.json"))
        last = len(files)
        while last and _read(files[last - 1]).next_entry is None:
            last -= 1
        for file in files[last:]:
            file.unlink()
        for file in files[:last]:
            yield _read(file)

    def remove(self) -> None:
        """Remove all journals."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _read(file: Path) -> Journal:
    fields = read_object(file, _AGAIN)
    try:
        episodes = [WrittenEpisode(**one) for one in fields.pop("episodes")]
        return Journal(**fields, episodes=episodes)
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"is not a journal of this version: {error}", where=str(file), remedy=_AGAIN
        ) from None
