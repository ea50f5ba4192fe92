"""Gives drivers that start together with the bridge time before their silence is an error."""

import time
from typing import Any

from hiwm_nodes import diagnostics


class SlowDrivers:
    """Says what the bridge waits for, once for each cause.

    Args:
        logger: of the bridge.
        patience_s: drivers may take this long, from now on.
    """

    def __init__(self, logger: Any, patience_s: float) -> None:
        self._logger = logger
        self._until = time.monotonic() + patience_s
        self._cause = ""

    def wait(self, cause: str, reports: diagnostics.Diagnostics) -> bool:
        """Return whether drivers may still be starting, and report what is missing."""
        if time.monotonic() > self._until:
            return False
        if cause != self._cause:
            self._logger.info(f"waiting for the drivers: {cause}")
            reports.report(diagnostics.WARN, f"waiting for the drivers: {cause}")
        self._cause = cause
        return True

    def heard(self, reports: diagnostics.Diagnostics) -> None:
        """Every driver has been heard."""
        if self._cause:
            reports.report(diagnostics.OK, "running")
        self._cause = ""
