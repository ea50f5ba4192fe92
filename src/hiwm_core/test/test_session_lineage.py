"""A session's id, session.json, and counters that survive a restart."""

import json
import os
import threading
from pathlib import Path

import pytest

from hiwm_core.errors import StoreError
from hiwm_core.session_lineage import EpisodeCounter, session_heads, session_id, write_session


def test_the_first_writer_wins(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert write_session(folder, {"robot": "one"})
    assert not write_session(folder, {"robot": "two"})
    assert json.loads((folder / "session.json").read_text()) == {"robot": "one"}
    assert [path.name for path in folder.iterdir()] == ["session.json"]


def test_sessions_in_folders_of_equal_names_differ_and_each_keeps_its_id(tmp_path: Path) -> None:
    first, second = (session_id(tmp_path / parent / "today") for parent in ("a", "b"))
    assert first.startswith("today-") and second.startswith("today-") and first != second
    assert session_id(tmp_path / "a" / "today") == first


def test_nodes_that_start_together_agree_on_the_id(tmp_path: Path) -> None:
    found: list[str] = []
    nodes = [
        threading.Thread(target=lambda: found.append(session_id(tmp_path))) for _ in range(8)
    ]
    for node in nodes:
        node.start()
    for node in nodes:
        node.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_a_session_of_before_keeps_its_id(tmp_path: Path) -> None:
    write_session(tmp_path, {"session_id": "today"})
    assert session_id(tmp_path) == "today"


def test_an_id_that_was_never_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "session_id").touch()
    with pytest.raises(StoreError, match="delete the file"):
        session_id(tmp_path)


@pytest.mark.parametrize("content", [bytes(12), b"s-1\0\0", b"\xffs-1", b"s\n1"])
def test_a_damaged_id_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "session_id"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="the session's id is damaged"):
        session_id(tmp_path)
    assert path.read_bytes() == content


def test_an_id_written_by_hand_may_end_its_line(tmp_path: Path) -> None:
    (tmp_path / "session_id").write_text("s-1\n")
    assert session_id(tmp_path) == "s-1"


def test_the_heads_of_a_session_are_unknown_if_it_does_not_list_them(tmp_path: Path) -> None:
    assert session_heads(tmp_path) is None
    write_session(tmp_path / "robot", {"robot": "one"})
    assert session_heads(tmp_path / "robot") is None
    for name, heads in (("none", []), ("some", ["trust"])):
        write_session(tmp_path / name, {"heads": heads})
        assert session_heads(tmp_path / name) == tuple(heads)


def test_counters_survive(tmp_path: Path) -> None:
    assert EpisodeCounter(tmp_path).read() == (0, 0)
    EpisodeCounter(tmp_path).write(7, 3)
    assert EpisodeCounter(tmp_path).read() == (7, 3)


def test_counters_do_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, enough, syncs = threading.Event(), threading.Event(), []

    def sync(descriptor: int) -> None:
        slow.wait()
        syncs.append(descriptor)
        if len(syncs) == 4:
            enough.set()

    monkeypatch.setattr(os, "fsync", sync)
    counter = EpisodeCounter(tmp_path)
    for epoch in range(1, 51):
        counter.write(epoch, 1)
    assert EpisodeCounter(tmp_path).read() == (50, 1)
    slow.set()
    # File and folder: of the first write, and of all later ones together.
    assert enough.wait(20) and len(syncs) < 10


def test_without_a_session_nothing_is_saved() -> None:
    counter = EpisodeCounter(None)
    counter.write(7, 3)
    assert counter.read() == (0, 0)


def test_damaged_counters_are_named(tmp_path: Path) -> None:
    (tmp_path / "world_counters.json").write_text("{")
    with pytest.raises(StoreError, match="world_counters"):
        EpisodeCounter(tmp_path).read()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        write_session(tmp_path / "file", {})
