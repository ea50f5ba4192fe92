"""Latencies of a leader arm, measured from the bytes of its servos.

The servos are those of ``hiwm_test_support.pty_servos``. The device code and the maker's library
are real; the time on the wire and in the adapter and the servos is not included. Times end when
this process receives the message.
"""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hiwm_interfaces.msg import Command, ControlState

from hiwm_core.errors import HiwmError
from hiwm_core.ros_domains import domain_id
from hiwm_teleop.leader.arm import make_bus
from hiwm_teleop.leader.calibration_file import CalibratedServo, Calibration, save_calibration
from hiwm_teleop.leader.leader_file import load_leader
from hiwm_teleop.leader.servo_bus import NoAnswerError, ServoBus
from hiwm_test_support.pty_servos import DynamixelServos

from .graph import Graph
from .person import Person
from .rows import Measured, quantile
from .watcher import Watcher

# Seven servos, as on a small GELLO; two of them drive the right arm of the demo's planar robot.
_FILE = """
device: leader_arm
bus: dynamixel
baudrate: 1000000
still_after_s: 60.0
guard: {{rad: 3.0, m: 1.0}}
deadman: {{arm: right, joint: gripper, below: 0.5}}
arms:
  right:
    port: {folder}/port
    calibration: calibration.yaml
    joints:
      base: {{id: 1, model: xl330-m288}}
      elbow: {{id: 2, model: xl330-m288}}
      a: {{id: 3, model: xl330-m288}}
      b: {{id: 4, model: xl330-m288}}
      c: {{id: 5, model: xl330-m288}}
      d: {{id: 6, model: xl330-m288}}
    gripper: {{id: 7, model: xl330-m288}}
    planar: {{joints: [base, elbow], links_m: [0.1, 0.1], base_m: [0.0, -0.1],
             drives: [right_x_joint, right_y_joint]}}
"""
_ZERO, _REACH = 2048, 1500  # counts; the open gripper is at their sum
_TURN = 16  # counts, 1.4 degrees: at least 2.5 mm at the end of the arm
_MOVES = 6  # timed movements per takeover
_READ_S = 2.0
_PATIENCE_S = 5.0


def measure_leader(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the rows of the leader arm, in imagination at rate 10.

    Args:
        launch_file: session.launch.xml.
        folder: for the session, its log, and the leader's files.
        repeats: takeovers; each ends with a loss of the device.
        more: further launch arguments.

    Raises:
        HiwmError: the graph did not start, or exited.
    """
    folder = folder / "leader"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "leader.yaml"
    file.write_text(_FILE.format(folder=folder))
    leader = load_leader(file)
    servos = leader.arms["right"].servos
    joints = {
        name: CalibratedServo(
            id=servo.id, model=servo.model, homing_offset=0, zero=_ZERO, sign=1,
            lower=0 if name == "gripper" else -_REACH, upper=_REACH,
        )
        for name, servo in servos.items()
    }
    save_calibration(
        folder / "calibration.yaml",
        Calibration(arm="right", bus="dynamixel", calibrated_at="", joints=joints),
        overwrite=True,
    )
    domain = domain_id()
    arguments = {
        "world": "imagination", "rate": "10.0", "device": "leader_arm", "device_file": str(file),
        "session_dir": str(folder / "session"), **more,
    }
    with DynamixelServos(folder / "port", {servo.id: 1200 for servo in servos.values()}) as arm:
        arm.place(7, _ZERO + _REACH)
        bus = make_bus(leader, "right")
        bus.open()
        rate = _rate(bus)
        bus.close()
        with (
            Graph(launch_file, arguments, domain, folder / "launch.log") as graph,
            Watcher(graph, domain, arguments.get("ns", "hiwm")) as watcher,
        ):
            rows = _LeaderOperator(arm, watcher).measure(repeats)
    return {"leader_reads": Measured(value=rate, details={"servos": len(servos)}), **rows}


def _rate(bus: ServoBus) -> float:
    """Return the valid readings per second."""
    number, start = 0, time.monotonic()
    while time.monotonic() - start < _READ_S:
        with contextlib.suppress(NoAnswerError):
            bus.positions()
            number += 1
    return number / (time.monotonic() - start)


class _LeaderOperator(Person):
    """A person with the leader arm."""

    def __init__(self, arm: DynamixelServos, watcher: Watcher) -> None:
        super().__init__(watcher)
        self._arm = arm
        self._turned = 0

    def measure(self, repeats: int) -> dict[str, Measured]:
        """Return movements and losses, ms and s."""
        self.watcher.until_running(Command.SOURCE_POLICY)
        moves: list[float] = []
        interrupted = 0
        faults: dict[str, Callable[[], None]] = {
            "unplugged": self._arm.unplug, "silent": self._fall_silent, "frozen": self._freeze,
        }
        losses: dict[str, list[float]] = {name: [] for name in faults}
        for number in range(repeats):
            name = list(faults)[number % len(faults)]
            self._take_over()
            for _ in range(_MOVES):
                self.pause(0.3)
                try:
                    moves.append(1e3 * self.until_moved(self._turn, _PATIENCE_S))
                except HiwmError:
                    # The machine was too busy for the servos' thread, and the device counted as
                    # lost.
                    interrupted += 1
                    self._recover()
                    self._take_over()
            self.pause(0.2)
            losses[name].append(self._lose(faults[name]))
            self._recover()
        return {
            "leader_command": Measured(
                value=quantile(moves, 0.95),
                details={"p50": quantile(moves, 0.5), "worst": max(moves), "n": len(moves),
                         "interrupted": interrupted},
            ),
            "leader_loss": Measured(
                value=max(max(times, default=math.nan) for times in losses.values()),
                details={
                    f"{kind} {label}": quantile(times, level)
                    for kind, times in losses.items()
                    for label, level in (("p50", 0.5), ("worst", 1.0))
                },
            ),
        }

    def _take_over(self) -> None:
        while True:
            start = time.monotonic()
            self._arm.place(7, _ZERO)
            try:
                self.until_mode(start, ControlState.HUMAN, "takeover by the leader", _PATIENCE_S)
                break
            except HiwmError:  # lost meanwhile: the deadman must be released before it counts
                self._recover()
        self.pause(0.5)

    def _turn(self) -> None:
        self._turned = _TURN - self._turned
        self._arm.place(2, _ZERO + 600 + self._turned)

    def _lose(self, fault: Callable[[], None]) -> float:
        """Cause a fault; return the time to the pause, s."""
        start = time.monotonic()
        fault()
        return self.until_mode(start, ControlState.PAUSED, "pause after a loss")

    def _fall_silent(self) -> None:
        self._arm.silent = {4}

    def _freeze(self) -> None:
        self._arm.frozen = True

    def _recover(self) -> None:
        """Clear all faults, release the deadman, and wait for further commands."""
        self._arm.silent, self._arm.frozen = set(), False
        if not self._arm.port.exists():
            self._arm.plug_in()
        self._arm.place(7, _ZERO + _REACH)
        self.until_commands("command of the recovered leader")
