"""Device files and calibration files of leaders: what is read, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from hiwm_core.config_files import config_directories
from hiwm_core.errors import ConfigError, DeviceError
from hiwm_teleop.devices.device_files import parse_device_file
from hiwm_teleop.leader.calibration_file import (
    calibration_path,
    check_calibrated,
    check_calibration_path,
    load_calibration,
    save_calibration,
)
from hiwm_teleop.leader.leader_file import DEVICE, LeaderFile, load_leader
from hiwm_test_support.leader_rig import FIXTURES, calibration

TEXT = (FIXTURES / "leaders.yaml").read_text()
SETTINGS = load_leader(FIXTURES / "leaders.yaml")


def shipped():
    for folder in config_directories():
        for path in sorted((folder / "devices").glob("*.yaml")):
            if f"device: {DEVICE}" in path.read_text():
                yield path


def test_leaders_of_three_kinds_are_shipped_and_read():
    read = {path.stem: load_leader(path) for path in shipped()}
    assert {"gello", "aloha_leaders", "so101_leader", "so101_leaders"} <= set(read)
    assert len(read["gello"].arms["arm"].servos) == 8
    assert list(read["aloha_leaders"].arms) == list(read["so101_leaders"].arms) == ["left", "right"]


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("bus: dynamixel", "bus: dynamixl", ["t.yaml: bus", "did you mean 'dynamixel'"]),
        ("id: 2,", "id: 1,", ["arms.left.joints.", "servo id 1 is used twice"]),
        ("{id: 7,", "{id: 300,", ["arms.left.gripper.id", "0 to 252"]),
        ("model: xl330-m077", "model: sts3215",
         ["arms.left.gripper.model", "'sts3215' is not a known model on a dynamixel bus",
          "xl330-m288"]),
        ("port: right", "port: left", ["arms.left.port", "two arms on left", "by-id"]),
        ("deadman: keys", "deadman: key", ["deadman", "unknown value 'key'", "keys"]),
        ("deadman: keys", "deadman: pedal", ["pedal", "no pedal is named"]),
        ("clutch: keys", "clutch: keys\npedal: foot_pedal", ["pedal", "the pedal has no function"]),
        ("clutch: keys", "clutch: {arm: up, joint: gripper, below: 0.1}",
         ["clutch.arm", "no arm 'up'", "left, right"]),
        ("clutch: keys", "clutch: {arm: left, joint: grip, below: 0.1}",
         ["clutch.joint", "no joint 'grip'", "gripper"]),
        ("clutch: keys", "clutch: {arm: left, joint: gripper}", ["clutch", "above or below"]),
        ("clutch: keys", "clutch: {arm: left, joint: gripper, above: 5}",
         ["clutch.above", "5 is out of range"]),
        ("guard: {rad: 0.5}", "guard: {rad: 0}", ["guard.rad", "0.01 to"]),
        ("still_after_s: 2.0", "", ["missing key 'still_after_s'"]),
        ("      waist: {id: 1", "      gripper: {id: 9", ["arms.left.joints", "write it under"]),
        ("    port: right", "    planar: {joints: [waist, neck], links_m: [1, 1], base_m: [0, 0],"
         " drives: [x, y]}\n    port: right", ["arms.right.planar.joints", "no joint 'neck'"]),
        ("    port: right", "    planar: {joints: [waist], links_m: [1, 1], base_m: [0, 0],"
         " drives: [x, y]}\n    port: right", ["arms.right.planar.links_m", "2 links for 1"]),
    ],
)
def test_a_wrong_device_file_is_refused_with_field_and_remedy(old, new, parts):
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    with pytest.raises(ConfigError) as refused:
        parse_device_file(text, "t.yaml", DEVICE, LeaderFile)
    for part in parts:
        assert part in str(refused.value)


def test_what_is_saved_is_read_and_never_overwritten_unasked(tmp_path):
    path = tmp_path / "new folder" / "left.yaml"
    made = calibration(SETTINGS, "left")
    save_calibration(path, made, overwrite=False)
    assert load_calibration(path, SETTINGS, "left", "leaders") == made
    before = path.read_bytes()
    with pytest.raises(DeviceError, match=f"already .*{path}.*--overwrite"):
        save_calibration(path, replace(made, calibrated_at="later"), overwrite=False)
    assert path.read_bytes() == before
    save_calibration(path, replace(made, calibrated_at="later"), overwrite=True)
    assert load_calibration(path, SETTINGS, "left", "leaders").calibrated_at == "later"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="cannot be written.*correct the path"):
        save_calibration(
            tmp_path / "file" / "left.yaml", calibration(SETTINGS, "left"), overwrite=False
        )


def test_an_arm_without_a_calibration_names_the_command(tmp_path):
    with pytest.raises(DeviceError) as refused:
        load_calibration(tmp_path / "left.yaml", SETTINGS, "left", "leaders")
    for part in (str(tmp_path / "left.yaml"), "scripts/calibrate_leader leaders --arm left"):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("arm: left", "arm: right", "arm"),
        ("bus: dynamixel", "bus: feetech", "bus"),
        ("id: 3", "id: 30", "joints.elbow.id"),
        ("model: xl330-m077", "model: xl330-m288", "joints.gripper.model"),
        ("  elbow:", "  elbo:", "joints"),
        ("sign: -1", "sign: 0", "joints.shoulder.sign"),
        ("lower: 0", "lower: 600", "joints.gripper.lower"),
        ("zero: 2048", "zero: x", "joints.waist.zero"),
        ("device: leader_arm_calibration", "device: leader_arm", "device"),
        ("  waist:", "  waist: 7\n  other:", "joints.waist"),
    ],
)
def test_another_arms_or_a_damaged_calibration_is_refused(tmp_path, old, new, field):
    path = tmp_path / "left.yaml"
    save_calibration(path, calibration(SETTINGS, "left"), overwrite=False)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as refused:
        load_calibration(path, SETTINGS, "left", "leaders")
    assert f"{path}: {field}" in str(refused.value)


def test_one_cut_short_or_of_other_bytes_is_refused(tmp_path):
    path = tmp_path / "left.yaml"
    save_calibration(path, calibration(SETTINGS, "left"), overwrite=False)
    whole = path.read_bytes()
    for size in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:size])
        with pytest.raises((ConfigError, DeviceError), match=str(path)):
            load_calibration(path, SETTINGS, "left", "leaders")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeviceError, match="cannot be read"):
        load_calibration(path, SETTINGS, "left", "leaders")


def test_only_a_calibration_is_replaced(tmp_path):
    path = tmp_path / "left.yaml"
    check_calibration_path(path, overwrite=False)
    save_calibration(path, calibration(SETTINGS, "left"), overwrite=False)
    whole = path.read_text()
    with pytest.raises(DeviceError, match="--overwrite"):
        check_calibration_path(path, overwrite=False)
    for ours in (whole, whole.split("\n", 1)[1], whole[:100]):
        path.write_text(ours)
        check_calibration_path(path, overwrite=True)
    for theirs in ("my notes", TEXT):
        path.write_text(theirs)
        with pytest.raises(ConfigError, match="not a calibration.*move it away"):
            check_calibration_path(path, overwrite=True)


def test_servos_that_shift_their_positions_otherwise_than_then_are_refused():
    made = calibration(SETTINGS, "left")
    offsets = dict.fromkeys(made.joints, 0)
    check_calibrated(offsets, made, "left.yaml")
    with pytest.raises(DeviceError, match="offset of elbow is -90 counts.*left.yaml"):
        check_calibrated({**offsets, "elbow": -90}, made, "left.yaml")


def test_a_calibration_stands_beside_its_device_file_or_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    file = FIXTURES / "leaders.yaml"
    arm = SETTINGS.arms["left"]
    assert calibration_path(file, arm) == FIXTURES / "left_calibration.yaml"
    at_home = replace(arm, calibration="~/.config/hiwm/left.yaml")
    assert calibration_path(file, at_home) == Path("/home/somebody/.config/hiwm/left.yaml")
