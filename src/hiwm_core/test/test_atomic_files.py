"""Files and folders are replaced atomically."""

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from hiwm_core import atomic_files
from hiwm_core.atomic_files import replace_file, replaced_folder


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_readers_never_see_half_a_file(tmp_path):
    path = tmp_path / "live.png"
    contents = [bytes([number]) * 100_000 for number in range(4)]
    replace_file(path, contents[0])
    done = threading.Event()

    def write():
        for number in range(200):
            replace_file(path, contents[number % 4], durable=False)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert path.read_bytes() in contents
    writer.join()
    assert names(tmp_path) == ["live.png"]


def test_text_bytes_and_a_writer_make_the_same_file(tmp_path):
    path = tmp_path / "deeper" / "é.txt"
    for content in ("ü\n", "ü\n".encode(), lambda file: file.write("ü\n".encode())):
        replace_file(path, content)
        assert path.read_text(encoding="utf-8") == "ü\n"


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        replace_file(path, fail)
    assert path.read_text() == "old" and names(tmp_path) == ["file"]


def test_a_link_stays_and_the_file_it_names_is_replaced(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    replace_file(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_a_file_that_must_not_be_overwritten_stays(tmp_path):
    path = tmp_path / "file"
    replace_file(path, "first", overwrite=False)
    with pytest.raises(FileExistsError):
        replace_file(path, "second", overwrite=False)
    assert path.read_text() == "first" and names(tmp_path) == ["file"]


def test_only_regular_files_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(OSError, match="not a regular file"):
            replace_file(tmp_path / name, "text")


def test_two_writers_of_one_file_do_not_conflict(tmp_path):
    path = tmp_path / "file"

    def write_within(file):
        replace_file(path, "inner")
        file.write(b"outer")

    replace_file(path, write_within)
    assert path.read_text() == "outer" and names(tmp_path) == ["file"]


@pytest.mark.parametrize("exchange", [True, False], ids=["one step", "two steps"])
def test_a_folder_is_swapped_when_it_is_whole(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(atomic_files, "_RENAME_EXCHANGE", 1 << 20)  # unknown to the kernel
    path = tmp_path / "store"
    for text in ("first", "second"):
        with replaced_folder(path) as part:
            (part / "file").write_text(text)
            assert not path.exists() or (path / "file").read_text() == "first"
        assert (path / "file").read_text() == text and names(tmp_path) == ["store"]
    with pytest.raises(KeyboardInterrupt), replaced_folder(path) as part:
        (part / "file").write_text("third")
        raise KeyboardInterrupt
    assert (path / "file").read_text() == "second" and names(tmp_path) == ["store"]


def test_threads_of_a_failed_writer_leave_nothing(tmp_path: Path) -> None:
    ended = threading.Event()

    def write(part: Path) -> None:
        for number in range(60):
            (part / "chunk").mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                (part / "chunk" / str(number)).write_text("x")
            time.sleep(0.005)
        ended.set()

    with pytest.raises(ValueError, match="failed"), replaced_folder(tmp_path / "store") as part:
        threading.Thread(target=write, args=[part]).start()
        raise ValueError("failed")
    assert ended.is_set() and names(tmp_path) == []


def test_only_old_parts_of_dead_writers_are_removed(tmp_path):
    for name in (".store.0123abcd.part", ".store.mine.part", "store.part", ".other.0123abcd.part"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1e9, 1e9))
    young = tmp_path / ".store.4567abcd.part"
    young.mkdir()
    with replaced_folder(tmp_path / "store") as living:
        (living / "file").write_text("x")
        assert not (tmp_path / ".store.0123abcd.part").exists()
        os.utime(living, (1e9, 1e9))
        with replaced_folder(tmp_path / "store") as other:
            (other / "file").write_text("y")
        assert (living / "file").exists()
    young.rmdir()
    assert names(tmp_path) == [".other.0123abcd.part", ".store.mine.part", "store", "store.part"]
    assert (tmp_path / "store" / "file").read_text() == "x"


@pytest.mark.parametrize("moment", ["before the lock", "while locking", "before opening"])
def test_a_new_folder_that_another_run_takes_is_made_again(tmp_path, monkeypatch, moment):
    taken = []

    def disturbed(action):
        def call(*arguments):
            parts = list(tmp_path.glob(".store.*.part"))
            if parts and not taken:
                taken.extend(parts)
                if moment == "while locking":
                    raise BlockingIOError(errno.EWOULDBLOCK, "locked")
                parts[0].rmdir()
            return action(*arguments)

        return call

    module, name = (os, "open") if moment == "before opening" else (fcntl, "flock")
    monkeypatch.setattr(module, name, disturbed(getattr(module, name)))
    with replaced_folder(tmp_path / "store") as part:
        assert taken and part != taken[0]
        (part / "file").write_text("x")
    assert (tmp_path / "store" / "file").read_text() == "x"


def test_a_file_in_place_of_the_parent_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(NotADirectoryError):
        replace_file(tmp_path / "file" / "inner", "new", overwrite=False)
    assert (tmp_path / "file").read_text() == "kept"
