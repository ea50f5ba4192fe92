"""Leaders on pseudo-terminals, calibrated, for tests of everything above the bus."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from hiwm_teleop.leader.calibration_file import CalibratedServo, Calibration, save_calibration
from hiwm_teleop.leader.leader_file import LeaderFile, load_leader
from hiwm_teleop.leader.servo_models import MODELS
from hiwm_test_support.pty_servos import DynamixelServos, FeetechServos, PtyServos

FIXTURES = Path(__file__).resolve().parent / "leader_fixtures"
SERVOS = {"dynamixel": DynamixelServos, "feetech": FeetechServos}
EMBODIMENT = FIXTURES / "two_arms.yaml"
JOINTS = ("waist", "shoulder", "elbow", "forearm", "wrist", "roll")
# Positions of the rig's servos in the calibration pose; one is near the end of a turn.
ZERO = dict(zip((1, 2, 3, 4, 5, 6, 7), (2048, 1000, 4000, 2048, 100, 2048, 1500), strict=True))
OPEN_COUNTS = -500  # counts from closed to open; opening counts down
SIGN: dict[int, Literal[1, -1]] = {1: 1, 2: -1, 3: 1, 4: 1, 5: -1, 6: 1}


class Leader:
    """A device file with its calibrations and ports in one folder, and the servos behind them."""

    def __init__(self, file: Path, servos: dict[str, PtyServos]) -> None:
        self.file = file
        self.servos = servos

    @property
    def settings(self) -> LeaderFile:
        """The device file."""
        return load_leader(self.file)

    def point(self, arm: str, angles: Sequence[float], opening: float = 1.0) -> None:
        """Turn the joints to angles, rad, and the gripper to an opening."""
        servos = self.servos[arm]
        servos.move({
            **{
                servo: raw(servos, ZERO[servo] + round(SIGN[servo] * angle / 6.283185307 * 4096))
                for servo, angle in zip(range(1, 7), angles, strict=True)
            },
            7: raw(servos, ZERO[7] + round(opening * OPEN_COUNTS)),
        })


def raw(servos: PtyServos, counts: int) -> int:
    """Return counts as the servo reports them: Feetech's wrap after a turn."""
    return counts % 4096 if isinstance(servos, FeetechServos) else counts


def calibration(settings: LeaderFile, arm: str) -> Calibration:
    """Return the calibration of an arm's servos at `ZERO`."""
    joints = {
        name: CalibratedServo(
            id=servo.id, model=servo.model, homing_offset=0, zero=ZERO[servo.id],
            sign=SIGN.get(servo.id, -1), lower=0 if servo.id == 7 else -1900,
            upper=-OPEN_COUNTS if servo.id == 7 else 1900,
        )
        for name, servo in settings.arms[arm].servos.items()
    }
    return Calibration(
        arm=arm, bus=settings.bus, calibrated_at="2026-01-01T00:00:00Z", joints=joints
    )


@contextmanager
def leader(folder: Path, bus: str, changes: Sequence[tuple[str, str]] = ()) -> Iterator[Leader]:
    """Yield a pair of calibrated leaders with their servos, all in one folder.

    `changes` replace text in the device file.
    """
    text = (FIXTURES / "leaders.yaml").read_text()
    if bus == "feetech":
        text = text.replace("bus: dynamixel", "bus: feetech")
        text = text.replace("xl330-m288", "sts3215").replace("xl330-m077", "sts3215")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    for side in ("left", "right"):
        text = text.replace(f"port: {side}\n", f"port: {folder / side}\n")
    file = folder / "leader.yaml"
    file.write_text(text)
    settings = load_leader(file)
    servos: dict[str, PtyServos] = {}
    try:
        for side, arm in settings.arms.items():
            models = {
                servo.id: MODELS[settings.bus][servo.model] for servo in arm.servos.values()
            }
            servos[side] = SERVOS[settings.bus](Path(arm.port), models)
            save_calibration(
                folder / arm.calibration, calibration(settings, side), overwrite=True
            )
        made = Leader(file, servos)
        for side in servos:
            made.point(side, [0.0] * 6)
        yield made
    finally:
        for ended in servos.values():
            ended.end()
