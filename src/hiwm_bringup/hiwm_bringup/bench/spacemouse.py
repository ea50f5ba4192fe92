"""A SpaceMouse under measurement, from its bytes on: what a hand does until the graph shows it.

The mouse is one of ``hiwm_teleop.testing.usb_bus``: the device code and pyspacemouse are the real
ones, and what is missing is the time of USB and of the mouse itself. A time ends where this process
hears the message.
"""

import random
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hiwm_interfaces.msg import Command, ControlState, OperatorCommand

from hiwm_core.errors import HiwmError
from hiwm_core.testing import domain_id
from hiwm_nodes import qos
from hiwm_teleop.testing import usb_bus
from hiwm_teleop.testing.usb_bus import FULL, SocketMouse

from .graph import Graph
from .rows import Measured, quantile
from .watcher import Watcher

_DEADMAN, _PAUSE = 0, 1  # bits of the button report
_FILE = """
device: spacemouse
convention: hid_z_up
mice: [{}]
axes: {x: {}, y: {}}
buttons: {LEFT: deadman, RIGHT: {watching: pause}}
"""
# Reports timed in each takeover.
_REPORTS = 4


def measure_spacemouse(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the rows of a person with a SpaceMouse, in imagination at rate 10.

    Args:
        launch_file: session.launch.xml.
        folder: for sessions, logs and the bus.
        repeats: takeovers, each of which ends with a loss.
        more: further launch arguments.

    Raises:
        HiwmError: there is no C compiler, or the graph did not come up, or ended.
    """
    library, bus = folder / "hidapi", folder / "usb"
    for made in (library, bus):
        made.mkdir(parents=True, exist_ok=True)
    try:
        environment = usb_bus.environment(usb_bus.build(library), bus)
    except (OSError, subprocess.CalledProcessError) as error:
        raise HiwmError(
            f"no hidapi for the mouse: {error}", where="bench spacemouse",
            remedy="install a C compiler, cc",
        ) from None
    file = folder / "spacemouse.yaml"
    file.write_text(_FILE)
    mouse = SocketMouse(bus)
    domain = domain_id()
    arguments = {
        "world": "imagination", "rate": "10.0", "device": "spacemouse", "device_file": str(file),
        "session_dir": str(folder / "spacemouse"), **more,
    }
    log = folder / "spacemouse.log"
    with (
        Graph(launch_file, arguments, domain, log, environment) as graph,
        Watcher(graph, domain, arguments.get("ns", "hiwm")) as watcher,
    ):
        return _Hand(mouse, watcher).measure(repeats)


class _Hand:
    """A person with that mouse, who waits for chance moments before doing anything."""

    def __init__(self, mouse: SocketMouse, watcher: Watcher) -> None:
        self._mouse = mouse
        self._watcher = watcher
        self._chance = random.Random(0)
        self._said: list[tuple[float, OperatorCommand]] = []
        self._modes: list[tuple[float, int]] = []
        watcher.listen(OperatorCommand, "operator/command", self._on_command, qos.COMMAND)
        watcher.listen(ControlState, "control_state", self._on_state, qos.LATCHED)

    def _on_command(self, message: OperatorCommand) -> None:
        self._said.append((time.monotonic(), message))

    def _on_state(self, message: ControlState) -> None:
        self._modes.append((time.monotonic(), int(message.mode)))

    def measure(self, repeats: int) -> dict[str, Measured]:
        """Return takeovers, reports and losses, ms and s."""
        self._watcher.until_running(Command.SOURCE_POLICY)
        takeovers: list[float] = []
        reports: list[float] = []
        losses: dict[str, list[float]] = {"unplugged": [], "frozen": []}
        for number in range(repeats):
            self._pause(0.3)
            takeovers.append(1e3 * self._take_over())
            for _ in range(_REPORTS):
                self._pause(0.1)
                reports.append(1e3 * self._report())
            self._pause(0.1)
            if number % 2:
                losses["unplugged"].append(self._unplug())
            else:
                losses["frozen"].append(self._freeze())
            self._go_on()
        worst = [times for times in losses.values() if times]
        return {
            "spacemouse_command": Measured(
                value=quantile(reports, 0.95),
                details={"p50": quantile(reports, 0.5), "worst": max(reports), "n": len(reports)},
            ),
            "device_loss": Measured(
                value=max(max(times) for times in worst),
                details={
                    f"{kind} {name}": quantile(times, share)
                    for kind, times in losses.items()
                    for name, share in (("p50", 0.5), ("worst", 1.0))
                },
            ),
            "takeover_frame": Measured(
                value=quantile(takeovers, 0.95),
                details={"p50": quantile(takeovers, 0.5), "worst": max(takeovers),
                         "n": len(takeovers)},
            ),
        }

    def _pause(self, about_s: float) -> None:
        self._watcher.watch(self._chance.uniform(0.5 * about_s, 1.5 * about_s))

    def _wait(self, found: Callable[[], bool], what: str) -> None:
        self._watcher.until(found, what)

    def _mode_since(self, begun: float, mode: int) -> float | None:
        return next((at for at, value in self._modes if at >= begun and value == mode), None)

    def _take_over(self) -> float:
        """Press the deadman; return the time to the first frame a person's action led to."""
        first = len(self._watcher.ticks)
        begun = time.monotonic()
        self._mouse.press(_DEADMAN)

        def shown() -> float | None:
            return next(
                (at for at, tick in self._watcher.ticks[first:]
                 if tick.applied_source == Command.SOURCE_HUMAN), None,
            )

        self._wait(lambda: shown() is not None, "frame led to by a person")
        return (shown() or begun) - begun

    def _report(self) -> float:
        """Push the cap and let go; return the time to the first command that shows it."""
        last = list(self._said[-1][1].action)
        heard = len(self._said)
        way = self._chance.choice((FULL, -FULL))
        begun = time.monotonic()
        self._mouse.move(x=way)

        def moved() -> float | None:
            return next(
                (at for at, command in self._said[heard:] if list(command.action) != last), None
            )

        self._wait(lambda: moved() is not None, "command that moves")
        self._mouse.move()
        return (moved() or begun) - begun

    def _unplug(self) -> float:
        """Pull the plug; return the time to the pause, with the mouse plugged in again."""
        begun = time.monotonic()
        self._mouse.unplug()
        self._wait(
            lambda: self._mode_since(begun, ControlState.PAUSED) is not None, "pause at a loss"
        )
        self._mouse.plug()
        heard = len(self._said)
        self._wait(lambda: len(self._said) > heard + 2, "word of the mouse plugged in again")
        return (self._mode_since(begun, ControlState.PAUSED) or begun) - begun

    def _freeze(self) -> float:
        """Send one report of a cap held aside, then none; return the time to the pause."""
        begun = time.monotonic()
        self._mouse.move(x=FULL)
        self._wait(
            lambda: self._mode_since(begun, ControlState.PAUSED) is not None, "pause at a freeze"
        )
        self._mouse.move()
        self._mouse.press()
        return (self._mode_since(begun, ControlState.PAUSED) or begun) - begun

    def _go_on(self) -> None:
        """Let the policy go on, by the mouse's own button."""
        begun = time.monotonic()
        self._mouse.press(_PAUSE)
        self._wait(
            lambda: self._mode_since(begun, ControlState.POLICY) is not None, "policy going on"
        )
        self._mouse.press()
