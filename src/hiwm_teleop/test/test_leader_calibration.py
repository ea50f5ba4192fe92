"""The calibration: each step by itself, and the whole script, from bytes to file."""

import os
import subprocess
import sys
import time

import pytest

from hiwm_core.errors import DeviceError
from hiwm_teleop.leader.calibration_file import load_calibration
from hiwm_teleop.leader.calibration_steps import CalibrationSteps
from hiwm_teleop.leader.joint_angles import JointAngles
from hiwm_teleop.leader.leader_file import load_leader
from hiwm_test_support.leader_rig import FIXTURES, JOINTS, OPEN_COUNTS, SIGN, ZERO, leader, raw
from hiwm_test_support.pty_servos import READ, SYNC_READ

ARM = load_leader(FIXTURES / "leaders.yaml").arms["left"]
NAMES = (*JOINTS, "gripper")
TURN = 512  # counts, 45 degrees
REACH = 700


class Hand:
    """Moves an arm and passes its servos' readings to the routine."""

    def __init__(self):
        self.steps = CalibrationSteps(ARM, dict.fromkeys(NAMES, 3))
        self.counts = {name: ZERO[i] for i, name in enumerate(NAMES, 1)}

    def hold(self, readings=25, **counts):
        self.counts.update(counts)
        for _ in range(readings):
            self.steps.see([self.counts[name] % 4096 for name in NAMES])

    def turn(self, name, by):
        """Turn a joint, a few degrees each reading, and hold it."""
        for _ in range(abs(by) // 64):
            self.hold(1, **{name: self.counts[name] + (64 if by > 0 else -64)})
        self.hold()

    def confirm(self):
        return self.steps.confirm()

    def to_ranges(self):
        self.hold()
        self.confirm()
        for i, name in enumerate(JOINTS, 1):
            self.turn(name, SIGN[i] * TURN)
            self.confirm()

    def to_gripper(self):
        self.to_ranges()
        for name in JOINTS:
            self.turn(name, REACH)
            self.turn(name, -2 * REACH)
        self.confirm()


def test_a_calibration_finds_zeros_signs_and_ranges():
    hand = Hand()
    hand.to_gripper()
    hand.hold()
    hand.confirm()
    hand.turn("gripper", OPEN_COUNTS)
    assert "opens by" in hand.confirm()
    assert hand.steps.done
    found = hand.steps.result("left", "dynamixel", "now").joints
    for i, name in enumerate(JOINTS, 1):
        assert (found[name].zero % 4096, found[name].sign) == (ZERO[i], SIGN[i])
        assert found[name].upper - found[name].lower == pytest.approx(2 * REACH, abs=150)
        assert found[name].homing_offset == 3
    gripper = found["gripper"]
    assert (gripper.zero, gripper.sign, gripper.lower) == (ZERO[7], -1, 0)
    assert gripper.upper == pytest.approx(-OPEN_COUNTS, abs=64)


def test_no_step_is_taken_before_there_is_something_to_see():
    with pytest.raises(DeviceError, match="too few readings"):
        Hand().confirm()


def test_an_arm_that_moves_is_no_pose():
    hand = Hand()
    for i in range(25):
        hand.hold(1, wrist=ZERO[5] + 2 * i)
    with pytest.raises(DeviceError, match="wrist moved by .*hold it still"):
        hand.confirm()
    hand.hold()
    assert hand.confirm() == "pose taken"


@pytest.mark.parametrize(
    ("moves", "said"),
    [
        ([("waist", 64)], "no joint turned by more than 15"),
        ([("elbow", TURN)], "elbow turned by 45 degrees, waist by 0"),
        ([("waist", TURN), ("roll", TURN - 128)], "roll turned by 34 degrees, waist by 45"),
    ],
)
def test_a_turn_of_another_joint_is_refused_and_must_be_repeated(moves, said):
    hand = Hand()
    hand.hold()
    hand.confirm()
    prompt = hand.steps.prompt
    assert "turn only waist" in prompt
    assert "makes left_waist_joint larger" in prompt
    for name, by in moves:
        hand.turn(name, by)
    with pytest.raises(DeviceError, match=said):
        hand.confirm()
    assert hand.steps.prompt == prompt
    hand.turn("waist", TURN)
    assert "sign +1" in hand.confirm()


def test_a_joint_not_moved_through_its_range_is_named():
    hand = Hand()
    hand.hold()
    hand.confirm()
    for i, name in enumerate(JOINTS, 1):
        hand.turn(name, SIGN[i] * 192)
        hand.confirm()
    with pytest.raises(DeviceError, match="waist moved through only 17 degrees"):
        hand.confirm()


def test_a_joint_that_goes_round_for_ever_has_one_turn():
    hand = Hand()
    hand.to_ranges()
    for name in JOINTS:
        hand.turn(name, REACH)
    hand.turn("roll", 6400)
    hand.confirm()
    hand.hold()
    hand.confirm()
    hand.turn("gripper", OPEN_COUNTS)
    hand.confirm()
    roll = hand.steps.result("left", "dynamixel", "now").joints["roll"]
    assert (roll.lower, roll.upper) == (-1991, 1991)


def test_a_gripper_that_did_not_open_is_refused():
    hand = Hand()
    hand.to_gripper()
    hand.hold()
    hand.confirm()
    hand.turn("gripper", 64)
    with pytest.raises(DeviceError, match="opened by only 6 degrees"):
        hand.confirm()


class Script:
    """scripts/calibrate_leader's module as a process, with a person at its input."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "hiwm_teleop.calibrate_leader", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.said = ""

    def until(self, text):
        end = time.monotonic() + 30.0
        while text not in self.said:
            self.said += (self.process.stdout.read() or b"").decode()
            assert time.monotonic() < end, self.said
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        self.said += (self.process.stdout.read() or b"").decode()
        assert text in self.said, self.said

    def enter(self, answer):
        """Confirm repeatedly until it is accepted: readings take time."""
        end = time.monotonic() + 30.0
        while True:
            place = len(self.said)
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()
            while "    " not in self.said[place:]:
                self.said += (self.process.stdout.read() or b"").decode()
                assert time.monotonic() < end, self.said
                time.sleep(0.01)
            if answer in self.said[place:]:
                return
            time.sleep(0.2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def sweep(servos, servo, start, end):
    step = 200 if end > start else -200
    for counts in range(start, end, step):
        servos.move({servo: raw(servos, counts)})
        time.sleep(0.03)
    servos.move({servo: raw(servos, end)})


@pytest.mark.parametrize("bus", ["dynamixel", "feetech"])
def test_from_the_servos_bytes_to_the_file_that_the_device_reads(tmp_path, bus):
    with leader(tmp_path, bus) as made:
        servos, path = made.servos["right"], tmp_path / "right_calibration.yaml"
        path.unlink()
        made.point("right", [0.0] * 6, opening=0.0)
        with Script(str(made.file), "--arm", "right") as script:
            script.until("Hold the arm still")
            script.enter("pose taken")
            for servo, name in enumerate(JOINTS, 1):
                sweep(servos, servo, ZERO[servo], ZERO[servo] + SIGN[servo] * TURN)
                script.enter(f"sign {SIGN[servo]:+d}")
                assert f"turn only {name}" in script.said
            script.enter("ranges:")
            script.enter("closed")
            sweep(servos, 7, ZERO[7], ZERO[7] + OPEN_COUNTS)
            script.enter("opens by")
            script.until(f"saved {path}")
            assert script.process.wait(30) == 0
        found = load_calibration(path, made.settings, "right", "leader")
        made.point("right", [0.1, -0.2, 0.3, 0.0, 0.1, -0.1], 0.5)
        angles = JointAngles(made.settings.arms["right"], found).angles([
            int.from_bytes(
                servos.memory[i][servos.POSITION : servos.POSITION + servos.WIDTH], "little"
            ) for i in range(1, 8)
        ])
        assert [angles[name].rad for name in JOINTS] == pytest.approx(
            [0.1, -0.2, 0.3, 0.0, 0.1, -0.1], abs=0.02
        )
        assert angles["gripper"].share == pytest.approx(0.5, abs=0.02)
        assert servos.instructions == {READ, SYNC_READ}


def refusal(*words):
    with Script(*words) as script:
        script.until("error:")
        assert script.process.wait(30) == 1
        return script.said


def test_what_the_script_refuses(tmp_path):
    with leader(tmp_path, "feetech") as made:
        file = str(made.file)
        assert "already" in refusal(file, "--arm", "left")
        assert "more than one arm, none chosen" in refusal(file)
        assert "no arm 'up'" in refusal(file, "--arm", "up")
        made.servos["left"].silent = {3}
        assert "no answer from servo 3" in refusal(file, "--arm", "left", "--overwrite")
        made.servos["left"].silent = set()
        made.servos["left"].write(5, made.servos["left"].TORQUE, 1, 1)
        assert "servo 5 has its torque on" in refusal(file, "--arm", "left", "--overwrite")
        made.servos["left"].write(2, made.servos["left"].MODEL, 2825, 2)
        assert "servo 2 is sts3250, not sts3215" in refusal(file, "--arm", "left", "--overwrite")


def test_given_up_or_unplugged_saves_nothing(tmp_path):
    with leader(tmp_path, "dynamixel") as made:
        path = tmp_path / "left_calibration.yaml"
        before = path.read_bytes()
        with Script(str(made.file), "--arm", "left", "--overwrite") as script:
            script.until("Hold the arm still")
            script.process.stdin.write(b"q\n")
            script.process.stdin.flush()
            script.until("nothing was saved")
        with Script(str(made.file), "--arm", "left", "--overwrite") as script:
            script.until("Hold the arm still")
            made.servos["left"].unplug()
            script.until("the port is gone")
            assert script.process.wait(30) == 1
        assert path.read_bytes() == before
