"""A node's present problems, by source. Tested by ``test_problems.py``."""

from collections.abc import Callable
from typing import Any


class Problems:
    """Logs each problem once, and reports all of them until they are solved.

    Args:
        logger: of the node.
        report: called with what is wrong now; empty if nothing is.
    """

    def __init__(self, logger: Any, report: Callable[[str], None]) -> None:
        self._logger = logger
        self._report = report
        self._problems: dict[str, str] = {}

    def note(self, source: str, problem: str) -> None:
        """Keep a source's problem; an empty one means that it is solved."""
        if self._problems.get(source, "") == problem:
            return
        if problem:
            self._problems[source] = problem
            self._logger.error(problem)
        else:
            del self._problems[source]
            self._logger.info(f"{source}: ok again")
        self._report("; ".join(self._problems.values()))
