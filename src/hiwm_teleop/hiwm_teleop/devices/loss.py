"""How a lost device behaves, and what it needs to return.

A lost device is silent: it neither holds control nor hands it back. If it was in control, it
requests a pause immediately; the arbiter's timeout remains as a second safeguard. Once it is back,
its deadman counts only after a release was seen. Pure. Tested by ``test_device_parts.py``.
"""

from hiwm_core.control import Mode
from hiwm_teleop.devices.base import EventKind, OperatorEvent, OperatorInput, OperatorView


class LossGuard:
    """Tracks whether a device is lost, and filters its deadman.

    Args:
        name: device, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._problem = ""
        self._release_first = False
        self._was_holding = False

    def lost(self, problem: str, view: OperatorView) -> OperatorInput | None:
        """Return the input of a lost device; None if the device is present.

        Args:
            problem: its current problem; empty if there is none.
            view: as read.
        """
        if not problem:
            return None
        events = []
        message = ""
        if not self._problem:
            message = f"{self._name}: {problem}"
            if self._was_holding and view.mode is Mode.HUMAN:
                events.append(OperatorEvent(kind=EventKind.PAUSE, note=message))
        self._problem, self._release_first, self._was_holding = problem, True, False
        return OperatorInput(silent=True, events=tuple(events), message=message, problem=problem)

    def present(self, deadman: bool, let_go: bool = False) -> tuple[bool, str]:
        """Return whether a present device's deadman counts, and a line for the log.

        Args:
            deadman: level as reported by the device.
            let_go: whether it was seen up since the last call, even if it is down now.
        """
        self._release_first = self._release_first and deadman and not let_go
        message = ""
        if self._problem:
            message = f"{self._name} is back"
            if self._release_first:
                message += ": release its deadman before taking over"
            self._problem = ""
        self._was_holding = deadman and not self._release_first
        return self._was_holding, message
