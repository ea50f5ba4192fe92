"""The summary of a small recorded session: its numbers, its pictures, and missing data."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hiwm_core import tree_drawing
from hiwm_core.bags import Lineage, RecordingSession, Role, audit_bag
from hiwm_core.branch_records import BranchKind, Label, TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.contact_sheet import Row, Tile, contact_sheet, evenly
from hiwm_core.control import Source
from hiwm_core.errors import BagError
from hiwm_core.palette import SOURCE_COLOURS
from hiwm_core.session_summary import main, summarise, summary_text
from hiwm_test_support.bags import RecordedWorld, header, message, raw, recorded

CONTROL = recorded("control_state", "hiwm_interfaces/msg/ControlState", Role.STAMPED)
TICK_S = 0.05


class Recording:
    """A session on disk: bags through the recorder's own code, and the tree beside them."""

    def __init__(self, folder):
        self.folder = folder
        self.now = 1000.0
        self.session = RecordingSession(folder, Lineage())
        self.store = BranchStore(folder / "tree.sqlite")
        self.world = RecordedWorld(send=self.send)
        self.world.world_info()
        self.takeovers, self.latency = 0, math.nan

    def send(self, topic, data):
        self.session.receive(topic, data, int(self.now * 1e9), self.now)

    def take_over(self, latency_s):
        self.takeovers += 1
        self.latency = latency_s

    def run(self, ticks, source):
        for _ in range(ticks):
            world = self.world
            kind = CONTROL.topic.message_type
            self.send(CONTROL, raw(kind, message(
                kind, header=header(world.stamp_ns), epoch=world.epoch, step=world.step, mode=2,
                source=source, device="", reason="", deadman=False, operator_age_s=0.0,
                takeover_latency_s=self.latency, takeover_latency_ticks=1,
                takeovers=self.takeovers, plans_dropped=0, commands_dropped=0,
            )))
            self.store.add_tick(TickRecord(
                stamp_ns=world.stamp_ns, epoch=world.epoch, step=world.step,
                episode_id=world.episode, branch_id=world.branch, state_id=f"s{world.epoch}-"
                f"{world.step}", source=0 if world.first_of_epoch else source,
            ))
            world.run(1, source)
            self.now += TICK_S

    def branch(self, name, node_id, kind):
        self.store.plan_branch(name, node_id, kind)
        self.world.begin_branch(name, int(node_id.split(":")[1]))
        self.store.begin_branch(name, self.world.epoch)
        self.now += TICK_S

    def close(self):
        self.session.close_all()
        for bag in self.session.take_closed():
            audit_bag(bag.path).save(bag.path)
        self.store.close()


@pytest.fixture
def session(tmp_path):
    """40 ticks of a policy, a rollback of 10, two corrections of 20 from there, 5 of handback."""
    recording = Recording(tmp_path / "session")
    recording.run(40, Source.POLICY)
    recording.branch("ep_0001-b001", "ep_0001-b000:29", BranchKind.ROLLBACK)
    recording.take_over(0.004)
    recording.run(20, Source.HUMAN)
    recording.store.label("ep_0001-b001", Label.SUCCESS, "goal covered")
    recording.branch("ep_0001-b002", "ep_0001-b000:29", BranchKind.FORK)
    recording.run(20, Source.HUMAN)
    recording.run(5, Source.HANDBACK)
    recording.take_over(0.008)
    recording.run(2, Source.HUMAN)
    recording.close()
    return recording.folder


def test_numbers(session):
    summary = summarise(session)
    assert summary["session"] == "session"
    assert summary["ticks"] == 87
    assert summary["ticks_per_s"] == pytest.approx(1 / TICK_S, rel=0.05)
    assert summary["takeovers"]["count"] == 2
    assert summary["takeovers"]["latency_ms_median"] == pytest.approx(6.0)
    assert summary["takeovers"]["latency_ms_most"] == pytest.approx(8.0)
    assert summary["branches"]["count"] == 3
    assert summary["branches"]["by_kind"] == {"reset": 1, "rollback": 1, "fork": 1}
    assert summary["branches"]["labels"] == {"success": 1}
    assert summary["branches"]["continuations"] == {"ep_0001-b000:29": 2}
    assert summary["frames_by_source"] == {"human": 40, "policy": 39, "handback": 5, "none": 3}
    assert summary["audit"]["bags"] == summary["audit"]["ok"] == 3
    assert summary["audit"]["problems"] == {}
    assert json.loads((session / "summary.json").read_text()) == summary


def test_provenance_marks_rolled_back_steps_and_those_before_the_takeover(session):
    frames = summarise(session, pictures=False)["frames_by_provenance"]
    assert frames["rolled-back"] == 10  # steps 30 to 39
    assert frames["pre-intervention"] == 15
    assert frames["policy"] == 39 - 10 - 15
    assert frames["human"] == 45
    assert sum(frames.values()) == 87


def test_pictures_are_written_and_show_who_was_in_control(session):
    summary = summarise(session)
    sheet = Image.open(session / summary["files"]["contact_sheet"]).convert("RGB")
    colours = {colour for _, colour in sheet.getcolors(1 << 24)}
    for source in (Source.POLICY, Source.HUMAN, Source.HANDBACK, Source.NONE):
        assert SOURCE_COLOURS[source] in colours
    assert SOURCE_COLOURS[Source.DEMONSTRATION] not in {
        sheet.getpixel((x, y)) for x in range(190, sheet.width, 3) for y in (60, 61)
    }
    assert Image.open(session / summary["files"]["tree"]).size[0] > 100


def test_the_text_says_the_same(session, capsys):
    text = summary_text(summarise(session, pictures=False))
    for part in ("session: toy_task", "87 in", "2, latency 6.0 ms", "15 pre-intervention",
                 "3 of 3 bags ok", "1 states continued 2 times"):
        assert part in text
    assert main([str(session), "--no-pictures"]) == 0
    assert text in capsys.readouterr().out


def test_a_damaged_bag_is_named_and_the_rest_is_summarised(session):
    bag = next(path for path in sorted((session / "bags").iterdir()) if "b001" in path.name)
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (bag / "metadata.yaml").unlink()
    (bag / "audit.json").unlink()
    broken = session / "bags" / "ep_0001-b009_e0009"
    broken.mkdir()
    (broken / "x.mcap").write_bytes(b"nothing")
    summary = summarise(session)
    assert summary["audit"]["ok"] == 2
    assert bag.name in summary["audit"]["problems"]
    assert "not an MCAP file" in summary["audit"]["problems"][broken.name][0]
    assert broken.name in summary_text(summary)


def test_damage_after_the_audit_is_reported(session):
    bag = next(path for path in sorted((session / "bags").iterdir()) if "b001" in path.name)
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    assert '"ok": true' in (bag / "audit.json").read_text()
    summary = summarise(session, pictures=False)
    assert summary["audit"]["ok"] == 2
    assert any("cut short" in problem for problem in summary["audit"]["problems"][bag.name])


def test_without_a_branch_store_each_bag_is_used_separately(session):
    (session / "tree.sqlite").unlink()
    for other in session.glob("tree.sqlite-*"):
        other.unlink()
    summary = summarise(session)
    assert summary["branches"]["count"] == 3
    assert "rolled-back" not in summary["frames_by_provenance"]
    assert "no branch store" in summary_text(summary)
    assert "tree" not in summary["files"]


def test_a_read_only_session_is_told_without_writing(session, read_only):
    before = sorted(session.rglob("*"))
    result = subprocess.run(
        [*read_only(session), sys.executable, "-m", "hiwm_core.session_summary", str(session)],
        capture_output=True, text=True, timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "3 of 3 bags ok" in result.stdout
    assert "no file was written: the session's folder is read-only" in result.stdout
    assert sorted(session.rglob("*")) == before


def test_nothing_recorded_is_one_clear_line(tmp_path, capsys):
    with pytest.raises(BagError, match="no bag"):
        summarise(tmp_path)
    assert main([str(tmp_path)]) == 1
    assert main([str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err.startswith("error: no bag")


def test_a_restarted_arbiter_continues_the_count(tmp_path):
    recording = Recording(tmp_path / "session")
    recording.take_over(0.001)
    recording.take_over(0.002)
    recording.run(5, Source.HUMAN)
    recording.takeovers = 0
    recording.take_over(0.003)
    recording.branch("ep_0001-b001", "ep_0001-b000:2", BranchKind.FORK)
    recording.run(5, Source.HUMAN)
    recording.close()
    # The first takeover was over before the first state was recorded.
    assert summarise(recording.folder, pictures=False)["takeovers"]["count"] == 2
    shutil.rmtree(recording.folder)


def test_all_pictures_of_a_session_use_the_same_colours():
    assert {int(source): colour for source, colour in SOURCE_COLOURS.items()} == {
        int(source): colour for source, colour in tree_drawing.SOURCE_COLOURS.items()
    }


def test_evenly_spaced_indices_include_first_and_last():
    assert evenly(0) == []
    assert evenly(3) == [0, 1, 2]
    picked = evenly(101)
    assert (picked[0], picked[-1], len(picked)) == (0, 100, 10)


def test_a_very_long_session_states_what_it_omits():
    tile = Tile(frame=np.zeros((96, 96, 3), np.uint8), source=1, step=0, trust=1.0)
    row = Row(name="b", lines=("reset",), verdict="", tiles=(tile,))
    short = contact_sheet("title", [row] * 40)
    long = contact_sheet("title", [replace(row, name=str(i)) for i in range(60)])
    assert long.height - short.height < 50
