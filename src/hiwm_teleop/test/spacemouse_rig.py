"""Shared by the tests of SpaceMice: a device over a hidapi built here, and its operator."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.config_files import default_task, find_config
from hiwm_core.control import Mode, Source
from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.tasks import load_task
from hiwm_teleop.devices.base import (
    JoySample,
    OperatorInput,
    OperatorView,
    TickView,
    WorldView,
)
from hiwm_teleop.devices.spacemouse import SpaceMouse
from hiwm_test_support import usb_bus

MARKS = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.flaky(
        reruns=2, reason="a mouse silent for tenths of a second is lost; its reader may be starved"
    ),
]

PLANAR = load_embodiment("planar_bimanual")
TASK = load_task(default_task())
LEFT, RIGHT = 0, 1  # bits of the button report
# Linear and without dead zones, so that a raw value is a speed.
PLAIN = """
device: spacemouse
convention: {convention}
mice: [{mice}]
axes: {{x: {{dead_zone: 0}}, y: {{dead_zone: 0}}, z: {{dead_zone: 0}}, roll: {{dead_zone: 0}},
        pitch: {{dead_zone: 0}}, yaw: {{dead_zone: 0}}}}
motion: {{linear_m_s: 0.1, angular_rad_s: 1.0, expo: 0.0}}
buttons: {{LEFT: deadman, RIGHT: {{driving: gripper, watching: rollback}}}}
"""


@pytest.fixture(scope="module", name="library")
def library_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = usb_bus.build(tmp_path_factory.mktemp("hidapi"))
    usb_bus.load_here(folder)
    return folder


@pytest.fixture(name="bus")
def bus_fixture(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bus"
    folder.mkdir()
    for name, value in usb_bus.environment(library, folder).items():
        monkeypatch.setenv(name, value)
    return folder


class Bench:
    """A SpaceMouse device and its operator."""

    def __init__(self, file: str, robot: Embodiment = PLANAR) -> None:
        self.robot = robot
        self.device = SpaceMouse({"device_file": file})
        self.told = 0
        self.device.on_news = self._tell
        self.device.open()
        self.joy: dict[str, JoySample] = {}
        self.lines: list[str] = []

    def _tell(self) -> None:
        self.told += 1

    def read(self, mode: Mode = Mode.HUMAN) -> OperatorInput:
        tick = TickView(
            stamp_ns=1, epoch=1, step=1, episode_id="e", branch_id="b", applied_source=Source.NONE,
            trust=1.0, progress=0.0, success=0.0, images={},
            measured=np.full(self.robot.action_dim, 1.0),
        )
        world = WorldView(
            kind="imagination", robot="", can_restore=True, can_fork=True, auto_reset=True,
            embodiment=self.robot, task=TASK,
        )
        done = self.device.read(OperatorView(
            now_s=time.monotonic(), world=world, tick=tick, mode=mode, joy=self.joy
        ))
        self.lines.append(done.message)
        return done

    def until(self, wanted: Callable[[OperatorInput], bool]) -> OperatorInput:
        """Read until the expected input arrives, or fail."""
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline:
            done = self.read()
            if wanted(done):
                return done
            time.sleep(0.001)
        raise AssertionError(f"never came: last {done}, lines {list(filter(None, self.lines))}")

    def velocity(self, feed: Callable[[], None]) -> np.ndarray:
        """Return the displacement per second while reports are fed at 100 Hz."""
        feed()
        self.until(lambda done: done.deadman)
        moved = np.zeros(self.robot.action_dim)
        began = time.monotonic()
        for _ in range(10):
            feed()
            time.sleep(0.01)
            delta = self.read().delta
            assert delta is not None
            moved += delta
        return moved / (time.monotonic() - began)


def patient(name: str, folder: Path) -> str:
    """Return a copy of a device file with longer timeouts, for a busy machine."""
    text = find_config("devices", name).read_text().replace("after_s: 0.2", "after_s: 2.0")
    if "pedal: foot_pedal" in text:
        text = text.replace("pedal: foot_pedal", f"pedal: {patient('foot_pedal', folder)}")
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return str(file)


@pytest.fixture(name="opened")
def opened_fixture(bus: Path, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(
        mice: str = "{}", convention: str = "hid_z_up", robot: Embodiment = PLANAR,
        silent_after_s: float = 2.0,
    ) -> Bench:
        file = tmp_path / "device.yaml"
        file.write_text(
            PLAIN.format(mice=mice, convention=convention) + f"silent_after_s: {silent_after_s}\n"
        )
        benches.append(Bench(str(file), robot))
        return benches[-1]

    yield make
    for bench in benches:
        bench.device.close()
