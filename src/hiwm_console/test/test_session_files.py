"""What a page reads from a session folder: tree columns; frames from states, bags, memory."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiwm_console import pictures, session_files
from hiwm_console.session_files import SessionFiles
from hiwm_console.stored_session import main, serve
from hiwm_console.tree_columns import HAS_STATE, PINNED, ROLLED_BACK
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.session import RecordingSession
from hiwm_core.branch_records import TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.errors import HiwmError, StoreError
from hiwm_test_support.bags import RecordedWorld

sys.path.insert(0, str(Path(__file__).parent))
from stored_tree import frame_of, write_session  # noqa: E402


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_columns_tell_all_that_a_page_draws(tmp_path):
    files = SessionFiles(write_session(tmp_path / "s"))
    tree = json.loads(files.tree(0)[0])
    assert tree["since"] == 0 and tree["revision"] == files.revision() > 0
    assert tree["head"] == "ep_0001-b002:18"
    (root,) = [run for run in tree["runs"] if run["branch"] == "ep_0001-b000"]
    assert root["step"] == 0 and root["source"] == "0" + "1" * 11
    assert root["trust"][:2] == [90, 89] and root["success"] == [-1] * 12
    flags = [int(flag, 16) for flag in root["flags"]]
    assert flags[0] == HAS_STATE and flags[7] & ROLLED_BACK
    assert len(json.dumps(root)) < 40 * 12, "columns are to be small"


def test_only_changes_are_sent_again(tmp_path):
    folder = write_session(tmp_path / "s")
    files = SessionFiles(folder)
    before = files.revision()
    assert json.loads(files.tree(before)[0])["runs"] == []
    store = BranchStore(folder / "tree.sqlite")
    store.pin(store.node("ep_0001-b000:3").state_id, "keep")
    changed = json.loads(files.tree(before)[0])
    assert [(run["branch"], run["step"], run["flags"]) for run in changed["runs"]] == [
        ("ep_0001-b000", 3, f"{HAS_STATE | PINNED:x}")
    ]
    files.close()
    store.close()


def test_the_world_s_episode_of_a_large_tree_comes_first(tmp_path, monkeypatch):
    files = SessionFiles(write_session(tmp_path / "s"))
    assert files.present() == ""  # one page holds the tree
    monkeypatch.setattr(session_files, "PAGE", 10)
    shown = json.loads(files.present())
    assert (shown["type"], shown["revision"], shown["head"]) == ("present", 0, "ep_0001-b002:18")
    assert {one["id"] for one in shown["branches"]} == {f"ep_0001-b{i:03d}" for i in range(3)}
    # Its newest nodes.
    assert [(run["branch"], run["step"], len(run["source"])) for run in shown["runs"]] == [
        ("ep_0001-b002", 9, 10)
    ]
    files.close()


def test_a_folder_that_is_not_there_yet_shows_nothing(tmp_path):
    files = SessionFiles(tmp_path / "later")
    assert files.revision() == 0 and files.description() == {}
    with pytest.raises(StoreError):
        files.tree(0)
    write_session(tmp_path / "later")
    assert files.revision() > 0


def test_frames_come_from_states(tmp_path):
    files = SessionFiles(write_session(tmp_path / "s"))
    assert (pixels(files.frame("ep_0001-b002:10")) == frame_of(2, 10)).all()
    for name in ("ep_0001-b002:99", "nonsense", "../x:1", ""):
        with pytest.raises(HiwmError):
            files.frame(name)


def test_frames_of_a_robot_come_from_bags_and_before_those_are_closed_from_memory(tmp_path):
    folder = tmp_path / "s"
    recording = RecordingSession(folder, Lineage())
    world = RecordedWorld(send=lambda topic, raw: recording.receive(topic, raw, 1, 0.0))
    store = BranchStore(folder / "tree.sqlite")
    world.world_info()
    world.run(3)
    for step in range(3):
        store.add_tick(TickRecord(
            stamp_ns=step + 1, epoch=1, step=step, episode_id="ep_0001", branch_id="ep_0001-b000",
        ))
    recording.close_all()
    store.close()
    files = SessionFiles(folder)
    frame = pixels(files.frame("ep_0001-b000:1"))
    assert frame.shape == (96, 96, 3) and frame.std() > 10
    files.remember("ep_0001-b000:7", pictures.png(frame_of(0, 7)))
    assert (pixels(files.frame("ep_0001-b000:7")) == frame_of(0, 7)).all()


def test_memory_of_pictures_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(session_files, "_REMEMBERED_BYTES", 3000)
    files = SessionFiles(tmp_path)
    for step in range(100):
        files.remember(f"b:{step}", bytes([step]) * 1000)
    assert files.frame("b:99") == b"c" * 1000
    with pytest.raises(HiwmError):
        files.frame("b:0")


def test_small_frames_keep_every_pixel_and_large_ones_become_jpeg():
    small = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    assert (pixels(pictures.picture(small)) == small).all()
    assert pictures.media_type(pictures.picture(small)) == "image/png"
    large = np.zeros((480, 640, 3), np.uint8)
    assert pictures.media_type(pictures.picture(large)) == "image/jpeg"


def test_a_folder_without_a_session_is_one_clear_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path) in said and "tree.sqlite" in said
    with pytest.raises(StoreError):
        serve(tmp_path, 0)


def test_a_read_only_session_is_shown_and_left_as_it_is(tmp_path, read_only):
    folder = write_session(tmp_path / "s")
    before = sorted(folder.rglob("*"))
    show = (
        "import sys; from pathlib import Path\n"
        "from hiwm_console.session_files import SessionFiles\n"
        "files = SessionFiles(Path(sys.argv[1]))\n"
        "print(files.description()['task'], files.revision(), len(files.tree(0)[0]) > 0)\n"
        "print(len(files.frame('ep_0001-b001:9')) > 0)"
    )
    result = subprocess.run(
        [*read_only(folder), sys.executable, "-c", show, str(folder)],
        capture_output=True, text=True, timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(folder.rglob("*")) == before
    revision = SessionFiles(folder).revision()
    assert result.stdout.splitlines() == [f"toy_task {revision} True", "True"]
