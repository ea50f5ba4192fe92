"""One leader arm: its bus, its calibration, and its joint angles."""

import time
from collections.abc import Callable, Mapping

from hiwm_teleop.leader.bus_reader import BusReader
from hiwm_teleop.leader.calibration_file import (
    calibration_path,
    check_calibrated,
    check_servos,
    load_calibration,
)
from hiwm_teleop.leader.dynamixel_bus import DynamixelBus
from hiwm_teleop.leader.feetech_bus import FeetechBus
from hiwm_teleop.leader.joint_angles import JointAngle, JointAngles
from hiwm_teleop.leader.leader_file import LeaderFile
from hiwm_teleop.leader.servo_bus import ServoBus

BUSES: Mapping[str, type[ServoBus]] = {"dynamixel": DynamixelBus, "feetech": FeetechBus}


def make_bus(leader: LeaderFile, arm: str) -> ServoBus:
    """Return an arm's bus, not yet open."""
    servos = leader.arms[arm].servos.values()
    return BUSES[leader.bus](
        leader.arms[arm].port, leader.baudrate, [servo.id for servo in servos]
    )


class LeaderArm:
    """Keeps one arm open, and its last joint angles.

    Args:
        leader: the device file.
        arm: name of the arm in it.
        file: name or path of the device file.
    """

    def __init__(self, leader: LeaderFile, arm: str, file: str) -> None:
        self._leader = leader
        self._name = arm
        self._file = file
        self._reader: BusReader | None = None
        self._joints: JointAngles | None = None
        self._number = 0
        self._counts: tuple[int, ...] = ()
        self.angles: Mapping[str, JointAngle] = {}
        self.problem = ""  # why it is lost; empty while it is present
        self.moved = False  # whether a count had changed at the last look

    def open(self, on_news: Callable[[], None]) -> None:
        """Open it; raises DeviceError or ConfigError if it is missing, unknown or uncalibrated.

        Args:
            on_news: called from a thread when there is something new to read.
        """
        arm = self._leader.arms[self._name]
        path = calibration_path(self._file, arm)
        calibration = load_calibration(path, self._leader, self._name, self._file)
        self._joints = JointAngles(arm, calibration)

        def check(bus: ServoBus) -> None:
            offsets = check_servos(bus, self._leader, self._name)
            check_calibrated(offsets, calibration, str(path))
            joints = JointAngles(arm, calibration)
            joints.check_range(bus.positions(), f"{bus.port}, arm {self._name}")

        self._reader = BusReader(
            make_bus(self._leader, self._name), check, period_s=1.0 / self._leader.read_hz,
            lost_after_s=self._leader.lost_after_s, on_news=on_news,
        )
        self._reader.start()
        self.look()

    def close(self) -> None:
        """Close it; may be called twice, and without `open`."""
        if self._reader is not None:
            self._reader.stop()

    def look(self) -> None:
        """Take the newest reading."""
        assert self._reader is not None and self._joints is not None
        self.moved = False
        self.problem = self._reader.loss(time.monotonic())
        latest = self._reader.latest
        if self.problem:
            self._joints.forget()
        elif latest is not None and latest.number != self._number:
            self._number, self.moved = latest.number, latest.counts != self._counts
            self._counts = latest.counts
            self.angles = self._joints.angles(latest.counts)
