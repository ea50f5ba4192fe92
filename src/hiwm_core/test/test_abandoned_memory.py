"""Shared memory of dead processes is removed; that of live ones, and all other files, is kept."""

import fcntl
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hiwm_core.abandoned_memory import FOLDER, remove_abandoned

SEGMENT = "fastrtps_0123456789abcdef"
# A number that no port has: its semaphore is the real one.
PORT = "fastrtps_port99413"
COMPLETE = (2).to_bytes(4, sys.byteorder)  # the first word of memory that is initialised


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


def old_file(folder: Path, name: str, content: bytes = b"x") -> Path:
    path = folder / name
    path.write_bytes(content)
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
    (tmp_path / SEGMENT).write_bytes(b"x")
    assert remove_abandoned(tmp_path) == 0


def test_a_port_just_left_behind_is_removed(tmp_path: Path) -> None:
    """Nobody creates it: its semaphore is free. Nodes that start now would wait for it."""
    port = tmp_path / PORT
    port.write_bytes(b"x")
    a_second_ago = time.time() - 1.0
    os.utime(port, (a_second_ago, a_second_ago))
    assert remove_abandoned(tmp_path) == 1 and not port.exists()


@pytest.mark.parametrize("name", [SEGMENT, PORT])
def test_memory_that_a_process_has_mapped_is_kept(tmp_path: Path, name: str) -> None:
    """A sender has its reader's port open, without a lock."""
    path = old_file(tmp_path, name, COMPLETE)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        assert remove_abandoned(tmp_path) == 0 and path.exists()
    assert remove_abandoned(tmp_path) == 1


def test_a_port_that_nodes_wait_for_in_vain_is_removed(tmp_path: Path) -> None:
    port = old_file(tmp_path, PORT, bytes(4))
    with port.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        assert remove_abandoned(tmp_path) == 1


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
