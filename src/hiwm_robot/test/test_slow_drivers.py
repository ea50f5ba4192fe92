"""What the bridge says while its drivers may still be starting."""

import pytest

from hiwm_nodes import diagnostics
from hiwm_robot import slow_drivers
from hiwm_robot.slow_drivers import SlowDrivers


class Heard:
    """A logger and diagnostics."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.reports: list[tuple[bytes, str]] = []

    def info(self, line: str) -> None:
        self.lines.append(line)

    def report(self, level: bytes, text: str) -> None:
        self.reports.append((level, text))


def test_each_cause_is_said_once_and_the_end_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(slow_drivers.time, "monotonic", lambda: now)
    heard = Heard()
    slow = SlowDrivers(heard, 30.0)
    slow.heard(heard)
    assert heard.reports == []
    for cause in ("no camera", "no camera", "no URDF"):
        assert slow.wait(cause, heard)
    assert heard.lines == ["waiting for the drivers: no camera", "waiting for the drivers: no URDF"]
    assert heard.reports[-1] == (diagnostics.WARN, "waiting for the drivers: no URDF")
    slow.heard(heard)
    assert heard.reports[-1] == (diagnostics.OK, "running")
    now += 31.0
    assert not slow.wait("no camera", heard)
