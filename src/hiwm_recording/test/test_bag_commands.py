"""The audit and recover commands over a folder in which some bags are damaged."""

import os
import shutil
from pathlib import Path

import pytest

from hiwm_core.bags import Lineage, RecordedTopic, RecordingSession, audit_bag, recover_bag
from hiwm_core.bags.bit_flips import flip
from hiwm_core.bags.bit_flips import main as bit_flips
from hiwm_core.bags.contents import mcap_path
from hiwm_core.bags.mcap_file import McapFile
from hiwm_core.session_lock import RECORDER, SessionLock
from hiwm_recording import audit, recover
from hiwm_test_support.bags import RecordedWorld

TICKS = 65


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Return a session of five bags of 65 ticks: whole, zeroed, cut, flipped and foreign."""
    recording = RecordingSession(tmp_path, Lineage())
    now = [1000.0]

    def send(topic: RecordedTopic, raw: bytes) -> None:
        now[0] += 0.002
        recording.receive(topic, raw, int(now[0] * 1e9), now[0])

    world = RecordedWorld(send, branch="whole")
    world.world_info()
    for _ in range(TICKS // 5):
        world.run(5)
        recording.poll(now[0])
    recording.close_all()
    (closed,) = recording.take_closed()
    audit_bag(closed.path).save(closed.path)
    for name in ("zeroed", "cut", "flipped", "foreign"):
        shutil.copytree(closed.path, tmp_path / "bags" / f"{name}_e0001")
    bags = tmp_path / "bags"
    metadata = bags / "zeroed_e0001" / "metadata.yaml"
    metadata.write_bytes(bytes(metadata.stat().st_size))
    cut = mcap_path(bags / "cut_e0001")
    os.truncate(cut, cut.stat().st_size * 2 // 5)
    flipped = mcap_path(bags / "flipped_e0001")
    starts = sorted({message.chunk_at for message in McapFile(flipped).messages()})
    flip(flipped, starts[6] + 300, 2)
    mcap_path(bags / "foreign_e0001").write_text("something else")
    return tmp_path


def test_damaged_bags_are_named_and_what_can_be_recovered_is(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main([str(session)]) == 1
    printed = capsys.readouterr().out
    assert "ok  whole_e0001: steps 0..64, 65 ticks" in printed
    assert "metadata.yaml is damaged" in printed
    assert "the file is cut short" in printed
    assert "the file is damaged: the chunk at byte" in printed
    assert "BAD foreign_e0001: not an MCAP file" in printed
    assert "5 bags, 4 bad" in printed

    assert recover.main([str(session)]) == 1
    printed = capsys.readouterr().out
    assert "ok  whole_e0001" not in printed
    assert "ok  zeroed_e0001: steps 0..64, 65 ticks" in printed
    assert "ok  cut_e0001 (recovered; lost " in printed
    assert "BAD flipped_e0001 (recovered; lost 25 of 326 messages, 1 damaged chunks)" in printed
    assert "gaps: step" in printed
    assert "BAD foreign_e0001: not an MCAP file" in printed
    assert "4 bags needed recovery, 3 recovered" in printed


def test_a_bag_whose_audit_is_not_ours_does_not_stop_the_others(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = session / "bags" / "cut_e0001" / "audit.json"
    notes.write_text("my notes")
    assert recover.main([str(session)]) == 1
    printed = capsys.readouterr().out
    assert "BAD cut_e0001: there is a file that is not an audit" in printed
    assert "ok  zeroed_e0001: steps 0..64, 65 ticks" in printed
    assert audit.main([str(session), "--save"]) == 1
    printed = capsys.readouterr().out
    assert "BAD cut_e0001: there is a file that is not an audit" in printed
    assert "ok  whole_e0001" in printed and notes.read_text() == "my notes"


def test_the_bit_flip_check_finds_nothing_accepted(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bit_flips([str(session / "bags" / "whole_e0001"), "--flips", "10"]) == 0
    assert "0 of 10: wrong data accepted" in capsys.readouterr().out


@pytest.mark.parametrize("link", ["bag", "bags folder", "bags on another disk"])
def test_a_bag_that_is_being_recorded_is_refused_through_a_link_too(
    session: Path, tmp_path_factory: pytest.TempPathFactory, link: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    elsewhere, bags = tmp_path_factory.mktemp("elsewhere"), session / "bags"
    if link == "bag":
        path = elsewhere / "latest"
        path.symlink_to(bags / "cut_e0001")
    elif link == "bags folder":
        path = elsewhere / "newest"
        path.symlink_to(bags)
    else:
        path = bags.rename(elsewhere / "bags")
        bags.symlink_to(path)
        path = bags / "cut_e0001"
    (bags / "cut_e0001" / "metadata.yaml").unlink()
    before = {file: file.read_bytes() for file in bags.rglob("*") if file.is_file()}
    with SessionLock(session, RECORDER):
        assert recover.main([str(path)]) == 1
        assert "the session is being recorded by" in capsys.readouterr().err
        assert audit.main([str(path), "--save"]) == 1
        assert "the session is being recorded by" in capsys.readouterr().err
        audit.main([str(path)])
        assert "--  cut_e0001: being recorded by" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in bags.rglob("*") if file.is_file()} == before


def test_a_recovery_through_a_link_recovers_the_bag_in_its_session(
    session: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "latest").symlink_to(session / "bags" / "cut_e0001")
    result = recover_bag(elsewhere / "latest")
    assert result.recovered and result.bag == "cut_e0001"
    assert mcap_path(session / "bags" / "cut_e0001").name == "cut_e0001.mcap"
    assert [path.name for path in elsewhere.iterdir()] == ["latest"]
