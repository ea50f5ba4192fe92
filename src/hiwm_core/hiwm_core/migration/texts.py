"""The embodiment and task texts in files of earlier versions, in today's form."""

from hiwm_core.config_files import text_hash
from hiwm_core.embodiment import Embodiment, parse_embodiment
from hiwm_core.embodiment_upgrade import upgrade_embodiment_text
from hiwm_core.tasks import Task, parse_task, upgraded_task_text


class Texts:
    """Converts texts, each once.

    Attributes:
        hashes: by the hash in an old file: the hash that the converted one has.
    """

    def __init__(self) -> None:
        self.hashes: dict[str, str] = {}
        self._embodiments: dict[str, Embodiment] = {}
        self._tasks: dict[str, Task] = {}

    def embodiment(self, text: str, where: str) -> Embodiment:
        """Return the embodiment of an old or present text. Raises ConfigError if it is neither."""
        if text not in self._embodiments:
            found = parse_embodiment(upgrade_embodiment_text(text, where), where)
            self._embodiments[text] = found
            self.hashes[text_hash(text)] = found.hash
        return self._embodiments[text]

    def task(self, text: str, where: str) -> Task:
        """Return the task of an old or present text. Raises ConfigError if it is neither."""
        if text not in self._tasks:
            found = parse_task(upgraded_task_text(text, where), where)
            self._tasks[text] = found
            self.hashes[text_hash(text)] = found.hash
        return self._tasks[text]

    def hash(self, old: str) -> str:
        """Return the present hash of something; one that was not converted stays."""
        return self.hashes.get(old, old)
