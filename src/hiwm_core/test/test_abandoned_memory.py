"""Shared memory of dead processes is removed; that of live ones, and all other files, is kept."""

import fcntl
import os
from pathlib import Path

import pytest

from hiwm_core.abandoned_memory import remove_abandoned

SEGMENT = "fastrtps_0123456789abcdef"
PORT = "fastrtps_port8413"


def old_file(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"x")
    os.utime(path, (1.0, 1.0))
    return path


@pytest.mark.parametrize("name", [SEGMENT, PORT])
def test_what_a_dead_process_left_is_removed(tmp_path: Path, name: str) -> None:
    old_file(tmp_path, name)
    old_file(tmp_path, f"{name}_el")
    assert remove_abandoned(tmp_path) == 1
    assert not list(tmp_path.iterdir())


def test_a_port_without_a_lock_is_removed(tmp_path: Path) -> None:
    old_file(tmp_path, PORT)
    assert remove_abandoned(tmp_path) == 1


def test_memory_in_use_is_kept(tmp_path: Path) -> None:
    segment, lock = old_file(tmp_path, SEGMENT), old_file(tmp_path, f"{SEGMENT}_el")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert remove_abandoned(tmp_path) == 0
    assert segment.exists()
    assert lock.exists()


def test_a_file_that_is_just_being_created_is_kept(tmp_path: Path) -> None:
    (tmp_path / PORT).write_bytes(b"x")
    assert remove_abandoned(tmp_path) == 0


@pytest.mark.parametrize("name", [
    "fastrtps_port8413_el", "sem.fastrtps_port8413_mutex", "fastrtps_notes", "anything",
    f"{PORT}.bak",
])
def test_other_files_are_kept(tmp_path: Path, name: str) -> None:
    path = old_file(tmp_path, name)
    assert remove_abandoned(tmp_path) == 0
    assert path.exists()


def test_a_machine_without_shared_memory_is_no_error(tmp_path: Path) -> None:
    assert remove_abandoned(tmp_path / "none") == 0
