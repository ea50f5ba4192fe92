"""Shared memory of dead processes is removed; that of live ones, and all other files, is kept."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hiwm_core.abandoned_memory import FOLDER, remove_abandoned

SEGMENT = "fastrtps_0123456789abcdef"
# A number that no port has: its semaphore is the real one.
PORT = "fastrtps_port99413"


# A process that takes the semaphore of a port, as one does that opens it, and stays.
TAKE = f"""
import sys
from hiwm_core.abandoned_memory import _semaphore
with _semaphore("{PORT}") as ours:
    print(ours, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def no_semaphore() -> Iterator[None]:
    yield
    (FOLDER / f"sem.{PORT}_mutex").unlink(missing_ok=True)


def taken_semaphore() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "True\n"
    return process


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
    f"{PORT}_el", f"sem.{PORT}_mutex", "fastrtps_notes", "anything",
    f"{PORT}.bak",
])
def test_other_files_are_kept(tmp_path: Path, name: str) -> None:
    path = old_file(tmp_path, name)
    assert remove_abandoned(tmp_path) == 0
    assert path.exists()


def test_a_machine_without_shared_memory_is_no_error(tmp_path: Path) -> None:
    assert remove_abandoned(tmp_path / "none") == 0


def test_a_port_that_is_opened_at_this_moment_is_kept(tmp_path: Path) -> None:
    """A new owner reuses the old file and has not locked it yet."""
    port = old_file(tmp_path, PORT)
    opener = taken_semaphore()
    lock = old_file(tmp_path, f"{PORT}_el").open()
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert remove_abandoned(tmp_path, patience_s=0.0) == 0 and port.exists()
    lock.close()
    opener.communicate()
    assert remove_abandoned(tmp_path, patience_s=0.0) == 1


def test_a_process_killed_while_it_opened_a_port_does_not_keep_it(tmp_path: Path) -> None:
    port = old_file(tmp_path, PORT)
    with taken_semaphore() as opener:
        opener.kill()
    assert remove_abandoned(tmp_path, patience_s=0.0) == 1 and not port.exists()
