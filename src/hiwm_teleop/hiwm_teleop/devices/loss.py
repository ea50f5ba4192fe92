"""What is said when a device is lost, and what it takes to come back.

A lost device is silent: it neither holds control nor hands it back. If it was in control, a pause
is asked for at once, without waiting for the arbiter's own patience, which stays as the second way.
Back again, its deadman counts only after it was seen let go. Pure; held by ``test_loss.py``.
"""

from hiwm_core.control import Mode
from hiwm_teleop.devices.base import EventKind, OperatorEvent, OperatorInput, OperatorView


class LossGuard:
    """Stands between a device's presence and what it says.

    Args:
        name: device, for people.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._problem = ""
        self._let_go_first = False
        self._said_holding = False

    def lost(self, problem: str, view: OperatorView) -> OperatorInput | None:
        """Return what to say of a device that is lost; None of one that is there.

        Args:
            problem: what ails it now; empty when nothing does.
            view: as read.
        """
        if not problem:
            return None
        events = []
        message = ""
        if not self._problem:
            message = f"{self._name}: {problem}"
            if self._said_holding and view.mode is Mode.HUMAN:
                events.append(OperatorEvent(kind=EventKind.PAUSE, note=message))
        self._problem, self._let_go_first, self._said_holding = problem, True, False
        return OperatorInput(silent=True, events=tuple(events), message=message, problem=problem)

    def present(self, deadman: bool, let_go: bool = False) -> tuple[bool, str]:
        """Return whether the deadman of a device that is there counts, and a line for the log.

        Args:
            deadman: level as the device has it.
            let_go: whether it was seen up since the last call, held as it may be now.
        """
        self._let_go_first = self._let_go_first and deadman and not let_go
        message = ""
        if self._problem:
            message = f"{self._name} is back"
            if self._let_go_first:
                message += ": let go of its deadman before taking over"
            self._problem = ""
        self._said_holding = deadman and not self._let_go_first
        return self._said_holding, message
