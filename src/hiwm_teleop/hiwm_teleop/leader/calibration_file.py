"""The calibration file of one leader arm.

All values are servo counts, so that the file contains only measurements; the device file maps the
angles to a follower. A file made for other servos is refused, and so are servos whose offset has
changed since the calibration. Tested by ``test_leader_files.py``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from hiwm_core.atomic_files import replace_file
from hiwm_core.config_files import find_config
from hiwm_core.config_schema import number
from hiwm_core.errors import ConfigError, DeviceError, reason
from hiwm_core.output_folders import check_output_file
from hiwm_core.user_paths import user_path
from hiwm_teleop.devices.device_files import parse_device_file
from hiwm_teleop.leader.leader_file import ArmFile, LeaderFile
from hiwm_teleop.leader.servo_bus import ServoBus
from hiwm_teleop.leader.servo_models import MODELS

# Value of the key `device`, which every device file has.
KIND = "leader_arm_calibration"
_HEADER = "# Written by scripts/calibrate_leader. Values are servo counts.\n"
_COUNTS = {"lower": -1_000_000, "upper": 1_000_000}


@dataclass(frozen=True, kw_only=True)
class CalibratedServo:
    """One joint or gripper.

    A joint's angle is ``sign * (counts - zero)``, relative to `pose_rad` of the device file. A
    gripper's zero is its closed position, and its sign makes opening positive. `lower` and `upper`
    are the ends of the range, as angles in counts: 0 and the open end for a gripper.
    """

    id: int = number(lower=0, upper=252)
    model: str
    homing_offset: int = number(**_COUNTS)
    zero: int = number(**_COUNTS)
    sign: Literal[1, -1]
    lower: int = number(**_COUNTS)
    upper: int = number(**_COUNTS)

    def __post_init__(self) -> None:
        if self.lower >= self.upper:
            raise ConfigError(
                f"lower {self.lower} is not below upper {self.upper}", where="lower",
                remedy="calibrate again",
            )


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One arm of one leader."""

    arm: str
    bus: Literal["dynamixel", "feetech"]
    calibrated_at: str  # UTC
    joints: Mapping[str, CalibratedServo]  # includes the gripper, by its name


def calibration_path(leader: str | Path, arm: ArmFile) -> Path:
    """Return the path of an arm's calibration, given the name or path of its device file."""
    return find_config("devices", leader).parent / user_path(arm.calibration)


def load_calibration(path: Path, leader: LeaderFile, arm_name: str, name: str) -> Calibration:
    """Return the calibration of an arm.

    Args:
        path: the calibration file.
        leader: the arm's device file.
        arm_name: the arm.
        name: name or path of the device file, for the remedy.

    Raises:
        DeviceError: not calibrated yet.
        ConfigError: damaged, or made for other servos; names file, field and remedy.
    """
    command = f"scripts/calibrate_leader {name} --arm {arm_name}"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DeviceError(
            f"arm {arm_name} is not calibrated", where=str(path), remedy=f"run {command}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(
            f"cannot be read: {reason(error)}", where=str(path),
            remedy=f"restore the file, or move it away and run {command}",
        ) from None
    command += " --overwrite"
    found = parse_device_file(text, str(path), KIND, Calibration)
    arm = leader.arms[arm_name]
    expected: list[tuple[str, Any, Any]] = [
        ("arm", found.arm, arm_name), ("bus", found.bus, leader.bus),
        ("joints", sorted(found.joints), sorted(arm.servos)),
    ]
    for joint, servo in arm.servos.items():
        if joint in found.joints:
            expected += [
                (f"joints.{joint}.id", found.joints[joint].id, servo.id),
                (f"joints.{joint}.model", found.joints[joint].model, servo.model),
            ]
    for field, stored, wanted in expected:
        if stored != wanted:
            raise ConfigError(
                f"made for {_words(stored)}, but {name} has {_words(wanted)}",
                where=f"{path}: {field}",
                remedy=f"give the path of this arm's own calibration, or run {command}",
            )
    return found


def save_calibration(path: Path, calibration: Calibration, *, overwrite: bool) -> None:
    """Write a calibration atomically.

    Raises:
        DeviceError: the file exists and `overwrite` is false, or it cannot be written.
    """
    data = {
        "device": KIND, "arm": calibration.arm, "bus": calibration.bus,
        "calibrated_at": calibration.calibrated_at,
        "joints": {joint: asdict(servo) for joint, servo in calibration.joints.items()},
    }
    text = _HEADER + yaml.safe_dump(data, sort_keys=False)
    try:
        replace_file(path, text, overwrite=overwrite)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        raise DeviceError(
            f"cannot be written: {error.strerror}", where=str(path),
            remedy="correct the path in the device file, or the folder's permissions",
        ) from None


def check_calibration_path(path: Path, *, overwrite: bool) -> None:
    """Check that a calibration may be written.

    Raises:
        DeviceError: the file exists and `overwrite` is false.
        ConfigError: the file is not a calibration, or its folder is not writable.
    """
    if path.exists() and not overwrite:
        raise _taken(path)
    check_output_file(path, "a calibration", _is_calibration)


def _is_calibration(path: Path) -> bool:
    """Return whether a file is a calibration; it may be damaged behind its first line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return text.startswith(_HEADER) or f"device: {KIND}" in text.splitlines()


def _taken(path: Path) -> DeviceError:
    return DeviceError(
        "the calibration exists already", where=str(path), remedy="add --overwrite to replace it"
    )


def check_servos(bus: ServoBus, leader: LeaderFile, arm_name: str) -> dict[str, int]:
    """Check the identity of each servo; return the homing offsets by joint, counts.

    Raises:
        DeviceError: a servo is silent, has another model, or has its torque on.
    """
    offsets = {}
    for joint, servo in leader.arms[arm_name].servos.items():
        identity = bus.identify(servo.id)
        where = f"{bus.port}, arm {arm_name}, {joint}, servo {servo.id}"
        models = MODELS[leader.bus]
        if identity.model != models[servo.model]:
            named = {number: name for name, number in models.items()}
            raise DeviceError(
                f"servo {servo.id} is {named.get(identity.model, f'model {identity.model}')}, "
                f"not {servo.model}", where=where,
                remedy="correct model in the device file, or plug in the arm it was made for",
            )
        if identity.torque_on:
            raise DeviceError(
                f"servo {servo.id} has its torque on and holds its position", where=where,
                remedy="stop the program that switched torque on, and power-cycle the arm; this "
                "device never switches torque",
            )
        offsets[joint] = identity.homing_offset
    return offsets


def check_calibrated(offsets: Mapping[str, int], calibration: Calibration, where: str) -> None:
    """Raise DeviceError if a servo's offset differs from the one at its calibration."""
    for joint, servo in calibration.joints.items():
        if offsets[joint] != servo.homing_offset:
            raise DeviceError(
                f"the homing offset of {joint} is {offsets[joint]} counts, but was "
                f"{servo.homing_offset} at its calibration", where=where,
                remedy="calibrate again with --overwrite: another program has calibrated it "
                "since, or it is another arm",
            )


def _words(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)

