"""A simulated person with a device to measure, who acts at random times."""

import random
import time
from collections.abc import Callable

from hiwm_interfaces.msg import ControlState, OperatorCommand

from hiwm_nodes import qos

from .watcher import STEP_S, Watcher


class Person:
    """Records the commands and modes that follow a person's actions, and when.

    Args:
        watcher: of the graph.
    """

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.rng = random.Random(0)
        self.commands: list[tuple[float, OperatorCommand]] = []  # steady clock at reception
        self._modes: list[tuple[float, int]] = []
        watcher.listen(OperatorCommand, "operator/command", self._on_command, qos.COMMAND)
        watcher.listen(ControlState, "control_state", self._on_state, qos.LATCHED)

    def _on_command(self, message: OperatorCommand) -> None:
        self.commands.append((time.monotonic(), message))

    def _on_state(self, message: ControlState) -> None:
        self._modes.append((time.monotonic(), int(message.mode)))

    def pause(self, about_s: float) -> None:
        """Wait for a random time between 0.5 and 1.5 times `about_s`."""
        self.watcher.watch(self.rng.uniform(0.5 * about_s, 1.5 * about_s))

    def until_mode(
        self, start: float, mode: int, what: str, timeout_s: float = STEP_S
    ) -> float:
        """Wait for a mode received after `start`; return the seconds between the two.

        Args:
            start: steady clock, s.
            mode: of ControlState.
            what: name of the event for the error message.
            timeout_s: limit of the wait, s.

        Raises:
            HiwmError: the mode was not received in time.
        """
        def since() -> float | None:
            return next((at for at, seen in self._modes if at >= start and seen == mode), None)

        self.watcher.until(lambda: since() is not None, what, timeout_s)
        return (since() or start) - start

    def until_moved(self, act: Callable[[], None], timeout_s: float) -> float:
        """Perform an action; return the seconds to the first command that shows it.

        Raises:
            HiwmError: no command showed it in time.
        """
        last = list(self.commands[-1][1].action)
        received = len(self.commands)
        start = time.monotonic()
        act()

        def moved() -> float | None:
            return next(
                (at for at, command in self.commands[received:] if list(command.action) != last),
                None,
            )

        self.watcher.until(lambda: moved() is not None, "command that moves", timeout_s)
        return (moved() or start) - start

    def until_commands(self, what: str) -> None:
        """Wait for further commands of the device."""
        received = len(self.commands)
        self.watcher.until(lambda: len(self.commands) > received + 2, what)
