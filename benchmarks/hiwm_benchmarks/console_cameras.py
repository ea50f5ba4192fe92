"""The cost of the console with one viewer to a bridge with four 640x480 cameras at 15 Hz.

Bridge and console are processes of their own. This one is the cameras, the arm, the arbiter and the
viewer, which acknowledges every frame as a page does.
"""

import statistics
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import psutil
import rclpy

from hiwm_core.errors import DeviceError
from hiwm_test_support.nodes import NodeProcess, spin_until

from .console import PAGE, TURNS, Viewers
from .rows import Measured
from .three_cameras import TICK_HZ, Cell, measured_apart, write_configs

CAMERAS = ("top", "left_wrist", "right_wrist", "side")
SECONDS = 10.0  # of each of the measurements, which alternate
_WARM_TICKS, _WARM_FRAMES = 30, 40
_PATIENCE_S = 90.0


def measure_console_cameras(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the loss of tick rate with a console and one viewer.

    Arguments as in `measure`; none is used.

    Raises:
        DeviceError: the bridge made too few ticks, or the console showed no frames.
    """
    del launch_file, folder, repeats, more
    return measured_apart(_measured, "console_cameras")


def _measured(context: rclpy.Context, domain: int, folder: Path) -> dict[str, Measured]:
    embodiment, robot, task = write_configs(folder, CAMERAS)
    cell = Cell(context, embodiment, CAMERAS, TICK_HZ)
    with_it, without, cores, shown = [], [], [], []
    with NodeProcess("hiwm_robot", "robot_bridge", domain=domain, parameters={
        "robot": str(robot), "task": str(task),
    }) as bridge:
        if not spin_until(cell.executor, lambda: cell.ticks >= _WARM_TICKS, _PATIENCE_S):
            raise DeviceError(f"the bridge made {cell.ticks} ticks: {bridge.output[-500:]}")
        for _ in range(TURNS):
            without.append(_rate(cell))
            with NodeProcess("hiwm_console", "web_console", domain=domain, parameters={
                "session_dir": str(folder / "session"), "port": 0,
            }) as console:
                spin_until(cell.executor, lambda: PAGE.search(console.output) is not None,  # noqa: B023
                           _PATIENCE_S)
                address = PAGE.search(console.output)
                if address is None:
                    raise DeviceError(f"the console did not start: {console.output[-500:]}")
                with Viewers(address[1], 1) as viewer:
                    if not spin_until(
                        cell.executor, partial(viewer.shown, _WARM_FRAMES), _PATIENCE_S
                    ):
                        raise DeviceError(f"no frames: {console.output[-500:]}")
                    process = psutil.Process(console.process.pid)
                    frames, used, start = viewer.frames, process.cpu_times(), time.monotonic()
                    with_it.append(_rate(cell))
                    seconds, after = time.monotonic() - start, process.cpu_times()
                    spent = after.user + after.system - used.user - used.system
                    cores.append(spent / seconds)
                    shown.append((viewer.frames - frames) / seconds / len(CAMERAS))
    rates = statistics.median(with_it), statistics.median(without)
    return {"console_cameras": Measured(value=100.0 * (1.0 - rates[0] / rates[1]), details={
        "ticks/s with": rates[0], "without": rates[1], "console cores": statistics.median(cores),
        "frames/s of each camera": statistics.median(shown),
    })}


def _rate(cell: Cell) -> float:
    ticks, start = cell.ticks, time.perf_counter()
    spin_until(cell.executor, lambda: time.perf_counter() - start >= SECONDS, 2 * SECONDS)
    return (cell.ticks - ticks) / (time.perf_counter() - start)
