"""A person with a device under measurement, who waits for chance moments before doing anything."""

import random
import time
from collections.abc import Callable

from hiwm_interfaces.msg import ControlState, OperatorCommand

from hiwm_nodes import qos

from .watcher import STEP_S, Watcher


class Person:
    """What such a person hears, and when.

    Args:
        watcher: of the graph.
    """

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.chance = random.Random(0)
        self.said: list[tuple[float, OperatorCommand]] = []  # steady clock at reception
        self._modes: list[tuple[float, int]] = []
        watcher.listen(OperatorCommand, "operator/command", self._on_command, qos.COMMAND)
        watcher.listen(ControlState, "control_state", self._on_state, qos.LATCHED)

    def _on_command(self, message: OperatorCommand) -> None:
        self.said.append((time.monotonic(), message))

    def _on_state(self, message: ControlState) -> None:
        self._modes.append((time.monotonic(), int(message.mode)))

    def pause(self, about_s: float) -> None:
        """Wait for half to one and a half times so long."""
        self.watcher.watch(self.chance.uniform(0.5 * about_s, 1.5 * about_s))

    def until_mode(
        self, begun: float, mode: int, what: str, timeout_s: float = STEP_S
    ) -> float:
        """Wait for a mode said since a moment; return the seconds from there to it.

        Args:
            begun: steady clock, s.
            mode: of ControlState.
            what: for people, where it does not come.
            timeout_s: raises HiwmError when it did not come within, s.
        """
        def since() -> float | None:
            return next((at for at, seen in self._modes if at >= begun and seen == mode), None)

        self.watcher.until(lambda: since() is not None, what, timeout_s)
        return (since() or begun) - begun

    def until_moved(self, act: Callable[[], None], timeout_s: float) -> float:
        """Do something; return the seconds to the first command that shows it.

        Raises:
            HiwmError: none did in time.
        """
        last = list(self.said[-1][1].action)
        heard = len(self.said)
        begun = time.monotonic()
        act()

        def moved() -> float | None:
            return next(
                (at for at, command in self.said[heard:] if list(command.action) != last), None
            )

        self.watcher.until(lambda: moved() is not None, "command that moves", timeout_s)
        return (moved() or begun) - begun

    def until_heard(self, what: str) -> None:
        """Wait for further commands of the device."""
        heard = len(self.said)
        self.watcher.until(lambda: len(self.said) > heard + 2, what)
