"""Latencies of a SpaceMouse, measured from its bytes to the graph's messages.

The mouse is one of ``hiwm_test_support.usb_bus``. The device code and pyspacemouse are real; the
time in USB and in the mouse is not included. Times end when this process receives the message.
"""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from hiwm_interfaces.msg import Command, ControlState

from hiwm_core.errors import HiwmError
from hiwm_core.ros_domains import domain_id
from hiwm_test_support import usb_bus
from hiwm_test_support.usb_bus import FULL, SocketMouse

from .graph import Graph
from .person import Person
from .rows import Measured, quantile
from .watcher import STEP_S, Watcher

_DEADMAN, _PAUSE = 0, 1  # bits of the button report
_FILE = """
device: spacemouse
convention: hid_z_up
mice: [{}]
axes: {x: {}, y: {}}
buttons: {LEFT: deadman, RIGHT: {watching: pause}}
"""
_REPORTS = 4  # timed reports per takeover


def measure_spacemouse(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the rows of the SpaceMouse, in imagination at rate 10.

    Args:
        launch_file: session.launch.xml.
        folder: for sessions, logs and the bus.
        repeats: takeovers; each ends with a loss of the device.
        more: further launch arguments.

    Raises:
        HiwmError: there is no C compiler, or the graph did not start, or exited.
    """
    library, bus = folder / "hidapi", folder / "usb"
    for made in (library, bus):
        made.mkdir(parents=True, exist_ok=True)
    try:
        environment = usb_bus.environment(usb_bus.build(library), bus)
    except (OSError, subprocess.CalledProcessError) as error:
        raise HiwmError(
            f"cannot build hidapi for the mouse: {error}", where="bench spacemouse",
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
        return _MouseOperator(mouse, watcher).measure(repeats)


class _MouseOperator(Person):
    """A person with the SpaceMouse."""

    def __init__(self, mouse: SocketMouse, watcher: Watcher) -> None:
        super().__init__(watcher)
        self._mouse = mouse

    def measure(self, repeats: int) -> dict[str, Measured]:
        """Return takeovers, reports and losses, ms and s."""
        self.watcher.until_running(Command.SOURCE_POLICY)
        takeovers: list[float] = []
        reports: list[float] = []
        losses: dict[str, list[float]] = {"unplugged": [], "frozen": []}
        reconnections: list[float] = []
        for number in range(repeats):
            self.pause(0.3)
            takeovers.append(1e3 * self._take_over())
            for _ in range(_REPORTS):
                self.pause(0.1)
                reports.append(1e3 * self._report())
            self.pause(0.1)
            if number % 2:
                losses["unplugged"].append(self._unplug())
                reconnections.append(self._plug())
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
                    f"{kind} {name}": quantile(times, level)
                    for kind, times in losses.items()
                    for name, level in (("p50", 0.5), ("worst", 1.0))
                } | {"plugged in again, first command after": max(reconnections)},
            ),
            "takeover_frame": Measured(
                value=quantile(takeovers, 0.95),
                details={"p50": quantile(takeovers, 0.5), "worst": max(takeovers),
                         "n": len(takeovers)},
            ),
        }

    def _take_over(self) -> float:
        """Press the deadman; return the time to the first frame after a person's action."""
        first = len(self.watcher.ticks)
        start = time.monotonic()
        self._mouse.press(_DEADMAN)

        def shown() -> float | None:
            return next(
                (at for at, tick in self.watcher.ticks[first:]
                 if tick.applied_source == Command.SOURCE_HUMAN), None,
            )

        self.watcher.until(lambda: shown() is not None, "frame after a person's action")
        return (shown() or start) - start

    def _report(self) -> float:
        """Push and release the cap; return the time to the first command that shows it."""
        x = self.rng.choice((FULL, -FULL))
        taken = self.until_moved(lambda: self._mouse.move(x=x), STEP_S)
        self._mouse.move()
        return taken

    def _unplug(self) -> float:
        """Unplug the mouse; return the time to the pause."""
        start = time.monotonic()
        self._mouse.unplug()
        return self.until_mode(start, ControlState.PAUSED, "pause after a loss")

    def _plug(self) -> float:
        """Plug the mouse in again; return the time to its first command."""
        received = len(self.commands)
        start = time.monotonic()
        self._mouse.plug()
        self.watcher.until(
            lambda: len(self.commands) > received, "command of the mouse plugged in again"
        )
        return self.commands[received][0] - start

    def _freeze(self) -> float:
        """Send one report of a deflected cap, then none; return the time to the pause."""
        start = time.monotonic()
        self._mouse.move(x=FULL)
        taken = self.until_mode(start, ControlState.PAUSED, "pause after a freeze")
        self._mouse.move()
        self._mouse.press()
        return taken

    def _go_on(self) -> None:
        """Resume the policy with the mouse's button."""
        # The button pauses or resumes, depending on the mode that the device has received. It may
        # receive the pause after this process: a person would not press within a hundredth of a
        # second.
        self.pause(0.2)
        start = time.monotonic()
        self._mouse.press(_PAUSE)
        self.until_mode(start, ControlState.POLICY, "resumed policy")
        self._mouse.press()
