"""`scripts/calibrate_leader`: guides a person through the calibration of one leader arm."""

import argparse
import os
import select
import sys
import time
from collections.abc import Sequence

from hiwm_core.errors import DeviceError, HiwmError
from hiwm_teleop.leader.arm import make_bus
from hiwm_teleop.leader.calibration_file import (
    calibration_path,
    check_calibration_path,
    check_servos,
    save_calibration,
)
from hiwm_teleop.leader.calibration_steps import CalibrationSteps
from hiwm_teleop.leader.leader_file import load_leader
from hiwm_teleop.leader.servo_bus import NoAnswerError, ServoBus

_PERIOD_S = 0.02
_QUIET_S = 0.05
# More consecutive unanswered reads than this are not a glitch.
_MAX_FAILURES = 10


class _Typed:
    """Reads lines from standard input with a timeout."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._pending = b""

    def line(self, wait_s: float) -> str | None:
        """Return a line, or None after `wait_s`; raises EOFError at the end of the input."""
        if b"\n" not in self._pending and select.select([self._fd], [], [], wait_s)[0]:
            data = os.read(self._fd, 256)
            if not data:
                raise EOFError
            self._pending += data
        if b"\n" not in self._pending:
            return None
        line, self._pending = self._pending.split(b"\n", 1)
        return line.decode(errors="replace").strip()


def main(words: Sequence[str] | None = None) -> int:
    """Calibrate and return 0; return 1 if it failed or was cancelled."""
    parser = argparse.ArgumentParser(
        prog="scripts/calibrate_leader", description="Calibrate one leader arm.",
        epilog="The steps are in docs/devices/leader_arm.md.",
    )
    parser.add_argument(
        "device_file", help="name of a leader in config/devices, or a path ending in .yaml"
    )
    parser.add_argument("--arm", help="arm in that file; may be omitted if it has only one")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier calibration")
    options = parser.parse_args(words)
    try:
        return _calibrate(options.device_file, options.arm, options.overwrite)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
    except (EOFError, KeyboardInterrupt):
        print("cancelled, nothing was saved", file=sys.stderr)
    return 1


def _calibrate(file: str, arm: str | None, overwrite: bool) -> int:
    leader = load_leader(file)
    if arm is None and len(leader.arms) == 1:
        (arm,) = leader.arms
    if arm is None or arm not in leader.arms:
        raise DeviceError(
            f"no arm {arm!r}" if arm else "more than one arm, none chosen", where=file,
            remedy=f"give --arm, one of {', '.join(leader.arms)}",
        )
    path = calibration_path(file, leader.arms[arm])
    check_calibration_path(path, overwrite=overwrite)  # before anybody moves an arm in vain
    bus = make_bus(leader, arm)
    bus.open()
    try:
        steps = CalibrationSteps(leader.arms[arm], check_servos(bus, leader, arm))
        print(f"Arm {arm} on {bus.port}: {len(bus.servo_ids)} servos answer, torque is off.")
        print("Enter confirms a step, q cancels.")
        _go_through(steps, bus)
    finally:
        bus.close()
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    save_calibration(path, steps.result(arm, leader.bus, now), overwrite=overwrite)
    print(f"saved {path}")
    return 0


def _go_through(steps: CalibrationSteps, bus: ServoBus) -> None:
    typed = _Typed()
    failures = 0
    asked = False
    while not steps.done:
        if not asked:
            print(f"[{steps.progress}] {steps.prompt}", flush=True)
            asked = True
        try:
            steps.see(bus.positions())
            failures = 0
        except NoAnswerError:
            failures += 1
            if failures > _MAX_FAILURES:
                raise
            bus.drain(_QUIET_S)
        line = typed.line(_PERIOD_S)
        if line == "q":
            raise EOFError
        if line is not None:
            asked = False
            try:
                print(f"    {steps.confirm()}", flush=True)
            except DeviceError as error:
                print(f"    not yet: {error}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
