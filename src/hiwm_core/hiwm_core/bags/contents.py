"""One bag on disk: its messages, its lineage, and its problems."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hiwm_core.bags.lineage import RECORD_NAME, Lineage, require_present
from hiwm_core.bags.mcap_file import McapFile, Message
from hiwm_core.bags.metadata import (
    METADATA_FILE,
    Information,
    embedded_custom_data,
    read_information,
    topic_counts,
)
from hiwm_core.errors import BagError, HiwmError

NEVER_CLOSED = "bag was never closed; run hiwm_recording.recover on it"


def mcap_path(bag: Path) -> Path:
    """Return the one MCAP file of a bag folder (or the path itself, if it is a file).

    Raises:
        BagError: no MCAP file, or several.
    """
    if bag.is_file():
        return bag
    files = sorted(bag.glob("*.mcap"))
    if len(files) != 1:
        raise BagError(
            f"{len(files)} MCAP files", where=str(bag),
            remedy="give the folder of one recorded segment",
        )
    return files[0]


class BagContents:
    """A bag folder or a bare MCAP file, read in passes.

    Attributes:
        path: the folder or file.
        file: the MCAP file; its attributes describe the last pass.
        information: content of metadata.yaml; None if it cannot be read.
        metadata_problem: why not; empty for a bare file.

    Args:
        path: the folder or file.
        file: the MCAP file, if the folder has several.

    Raises:
        BagError: not exactly one MCAP file.
    """

    def __init__(self, path: Path, file: Path | None = None) -> None:
        self.path = path
        self.file = McapFile(file or mcap_path(path))
        self.information: Information | None = None
        self.metadata_problem = ""
        if path.is_dir():
            try:
                self.information = read_information(path)
            except BagError as error:
                self.metadata_problem = error.what

    @property
    def closed(self) -> bool:
        """Whether its writer closed it. Known after a pass."""
        return self.file.closed and (not self.path.is_dir() or (self.path / METADATA_FILE).exists())

    def messages(self) -> Iterator[Message]:
        """Yield every whole message in file order, which is the order of receipt.

        Raises:
            BagError: the file cannot be read at all.
        """
        return self.file.messages()

    def lineage(self) -> Lineage:
        """Return the origin of the bag, as far as it is known now.

        From the first message on, it contains what was known when the bag was opened. After a pass,
        it also contains what the writer learned later.

        Raises:
            BagError: the bag is of an earlier version, or the values cannot be parsed.
        """
        data = self.custom_data()
        require_present(data, str(self.path))
        try:
            return Lineage.from_custom_data(data)
        except ValueError as error:
            raise BagError(
                f"cannot read the lineage: {error}", where=str(self.path),
                remedy="leave the bag out; it is damaged",
            ) from error

    def custom_data(self) -> dict[str, str]:
        """Return the texts that describe the bag, as far as they are known now; see `lineage`."""
        data = dict(self.file.metadata.get(RECORD_NAME, {}))
        data |= embedded_custom_data(self.file)
        if self.information is not None:
            data |= self.information.get("custom_data") or {}
        return data

    def problems(self) -> list[str]:
        """Return the problems of file and metadata.yaml after a pass; empty for a whole bag."""
        problems = [f"the file is damaged: {what}" for what in self.file.damage]
        missing = self.metadata_problem.endswith("is missing")
        if not self.file.closed or missing:
            problems.append(NEVER_CLOSED if missing else (
                "the file is cut short; run hiwm_recording.recover on it"
            ))
        elif self.metadata_problem:
            problems.append(f"{self.metadata_problem}; run hiwm_recording.recover on it")
        if self.information is not None:
            stated, read = Counter(topic_counts(self.information)), self.file.counts
            if stated.total() != read.total():
                problems.append(
                    f"{METADATA_FILE} counts {stated.total()} messages, {read.total()} can be read"
                )
            elif stated != read:
                problems.append(f"{METADATA_FILE} and the file differ in their counts per topic")
        return problems


@contextmanager
def errors_of(bag: Path) -> Iterator[None]:
    """Turn any exception caused by a bag's content into a BagError of that bag.

    Files come from anywhere. One that breaks an assumption must not stop the work on the others.

    Raises:
        BagError: in place of any exception other than HiwmError and OSError.
    """
    try:
        yield
    except (HiwmError, OSError):
        raise
    except Exception as error:
        raise BagError(
            f"cannot be read: {type(error).__name__}: {error}", where=str(bag),
            remedy="leave the bag out; it is damaged or was not recorded by hiwm",
        ) from error
