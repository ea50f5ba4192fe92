"""session.json, and counters that survive a restart."""

import json
from pathlib import Path

import pytest

from hiwm_core.errors import StoreError
from hiwm_core.session_lineage import EpisodeCounter, session_heads, write_session


def test_the_first_writer_wins(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert write_session(folder, {"robot": "one"})
    assert not write_session(folder, {"robot": "two"})
    assert json.loads((folder / "session.json").read_text()) == {"robot": "one"}
    assert [path.name for path in folder.iterdir()] == ["session.json"]


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
