"""scripts/collect_data empties only its own folders."""

import os
import subprocess
from pathlib import Path

import pytest

from hiwm_core.errors import BusyError, ConfigError
from hiwm_core.session_lineage import session_id
from hiwm_core.session_lock import RECORDER, SessionLock
from hiwm_recording.collection_folder import main, prepare

SCRIPT = Path(__file__).parents[3] / "scripts" / "collect_data"


def test_an_interrupted_collection_is_emptied_and_a_complete_one_kept(tmp_path: Path) -> None:
    folder = tmp_path / "with space" / "demonstration"
    assert prepare(folder)
    (folder / "bags" / "one").mkdir(parents=True)
    session_id(folder)
    (folder / "session.json").write_text("{}")
    assert prepare(folder) and [file.name for file in folder.iterdir()] == [".hiwm_folder"]
    (folder / "bags").mkdir()
    assert main([str(folder), "--complete"]) == 0
    assert main([str(folder)]) == 3 and (folder / "bags").is_dir()


def test_what_a_user_put_there_stays(tmp_path: Path) -> None:
    (tmp_path / "failure").mkdir()
    (tmp_path / "failure" / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match="left unchanged"):
        prepare(tmp_path / "failure")
    assert prepare(tmp_path / "edge")
    (tmp_path / "edge" / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"notes\.txt is not part of a collection"):
        prepare(tmp_path / "edge")
    assert (tmp_path / "edge" / "notes.txt").exists()
    (tmp_path / "edge" / "notes.txt").unlink()
    (tmp_path / "edge" / ".git").mkdir()
    with pytest.raises(ConfigError, match=r"\.git is not part of a collection"):
        prepare(tmp_path / "edge")
    (tmp_path / "edge" / ".git").rename(tmp_path / "edge" / ".tree.png.0123abcd.part")
    assert prepare(tmp_path / "edge")
    assert main([str(tmp_path / "failure"), "--complete"]) == 1
    assert [file.name for file in (tmp_path / "failure").iterdir()] == ["notes.txt"]


def test_a_folder_that_is_being_recorded_is_not_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "demonstration"
    assert prepare(folder)
    (folder / "bags").mkdir()
    with SessionLock(folder, RECORDER), pytest.raises(BusyError, match="being recorded"):
        prepare(folder)
    assert (folder / "bags").is_dir()


def test_the_script_stops_at_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    scripts, mine = tmp_path / "scripts", tmp_path / "data" / "demonstration"
    scripts.mkdir()
    (scripts / "collect_data").write_text(SCRIPT.read_text())
    (scripts / "setup").write_text("#!/bin/sh\n")
    (scripts / "setup").chmod(0o755)
    (scripts / "env.sh").touch()
    (tmp_path / "models").mkdir()
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("x")

    def collect(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(scripts / "collect_data"), *arguments], text=True, capture_output=True,
            env={**os.environ, "HOME": str(tmp_path)},
        )

    for directory in (str(tmp_path / "data"), "~/data"):
        ended = collect(directory, "1", "0", "0", "0")
        assert ended.returncode == 1 and (mine / "notes.txt").read_text() == "x"
        assert "notes.txt" not in ended.stdout
        assert ended.stderr.count("\n") == 1 and "left unchanged" in ended.stderr
