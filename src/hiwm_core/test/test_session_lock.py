"""Locks of a session's roles, held by real processes."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hiwm_core import launch_identity
from hiwm_core.errors import BusyError, StoreError
from hiwm_core.launch_identity import LAUNCH_VARIABLE, launch_id, process_id, session_path
from hiwm_core.session_lock import SessionLock, main, owners, recording_owner, tool_lock

_HOLD = """
import sys
from pathlib import Path
from hiwm_core.errors import BusyError
from hiwm_core.session_lock import SessionLock
try:
    lock = SessionLock(Path(sys.argv[1]), sys.argv[2])
except BusyError as error:
    print("refused", error, flush=True)
else:
    print("held", flush=True)
    sys.stdin.read()
"""


class Holder:
    """A process that holds a role or is refused."""

    def __init__(self, session: Path, role: str, launch: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(session), role], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, LAUNCH_VARIABLE: launch},
        )

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill9(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def __enter__(self) -> "Holder":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def test_a_second_holder_is_refused_with_the_owner(tmp_path: Path) -> None:
    with Holder(tmp_path, "recorder", "one") as first:
        assert first.answer() == "held"
        with Holder(tmp_path, "recorder", "one") as second:
            answer = second.answer()
        assert answer.startswith("refused")
        assert f"being recorded by pid {first.process.pid} on {socket.gethostname()}" in answer
        assert "end that launch" in answer and str(tmp_path) in answer


def test_roles_of_one_launch_share_a_session_and_those_of_another_are_refused(
    tmp_path: Path,
) -> None:
    with Holder(tmp_path, "world", "one") as world:
        assert world.answer() == "held"
        with Holder(tmp_path, "recorder", "one") as recorder:
            assert recorder.answer() == "held"
            with Holder(tmp_path, "branch_manager", "two") as other:
                answer = other.answer()
            assert "refused" in answer
            assert f"recorded by pid {recorder.process.pid}" in answer
            assert f"world, pid {world.process.pid}" in answer
            with pytest.raises(BusyError, match="being recorded"):
                tool_lock(tmp_path, "recorder")


def test_a_killed_holder_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    with Holder(tmp_path, "recorder", "one") as first:
        assert first.answer() == "held"
        owner = recording_owner(tmp_path)
        assert owner is not None and owner.pid == first.process.pid and owner.launch == "one"
        first.kill9()
    assert owners(tmp_path) == []
    assert (tmp_path / "locks" / "recorder.lock").read_text()  # stale, and taken over silently
    with SessionLock(tmp_path, "recorder"):
        assert [owner.pid for owner in owners(tmp_path)] == [os.getpid()]


def test_of_many_launches_at_once_one_gets_the_session(tmp_path: Path) -> None:
    holders = [Holder(tmp_path, f"role{number}", f"launch{number}") for number in range(6)]
    answers = [holder.answer() for holder in holders]
    for holder in holders:
        holder.process.communicate()
    assert sum(answer == "held" for answer in answers) == 1, answers


def test_a_query_changes_nothing_and_needs_no_write_permission(tmp_path: Path) -> None:
    assert owners(tmp_path) == [] and not list(tmp_path.iterdir())
    with SessionLock(tmp_path, "recorder"):
        (tmp_path / "locks" / "recorder.lock").chmod(0o444)
        for _ in range(2):
            assert recording_owner(tmp_path) is not None
        with pytest.raises(BusyError):
            SessionLock(tmp_path, "recorder")
    assert recording_owner(tmp_path) is None


def test_the_command_prints_who_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    with SessionLock(tmp_path, "world"):
        assert main([str(tmp_path)]) == 1
    assert f"written by world, pid {os.getpid()} on" in capsys.readouterr().out


def test_a_child_that_only_runs_another_program_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = SessionLock(tmp_path, "recorder")
    with subprocess.Popen(["sleep", "100"]) as child:
        lock.release()
        assert owners(tmp_path) == []
        child.kill()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("a file")
    with pytest.raises(StoreError, match="cannot hold the lock world"):
        SessionLock(tmp_path, "world")


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("hiwm_core.session_lock.fcntl.fcntl", refuse)
    with pytest.raises(StoreError, match="does not support locks.*local disk"):
        SessionLock(tmp_path, "world")


def test_processes_of_one_parent_are_one_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    show = "from hiwm_core.launch_identity import launch_id; print(launch_id())"
    environment = {k: v for k, v in os.environ.items() if k != LAUNCH_VARIABLE}

    def shown(command: list[str], **variables: str) -> list[str]:
        output = subprocess.check_output(command, text=True, env={**environment, **variables})
        return output.split()

    mine = [shown([sys.executable, "-c", show])[0] for _ in range(2)]
    assert mine[0] == mine[1] == process_id(os.getpid())
    script = f"'{sys.executable}' -c '{show}'; '{sys.executable}' -c '{show}'; :"
    theirs = shown(["sh", "-c", script])
    assert theirs[0] == theirs[1] != mine[0]
    assert shown([sys.executable, "-c", show], HIWM_LAUNCH_ID="given") == ["given"]


def test_a_clock_that_is_set_during_a_launch_does_not_change_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_nodes_view = launch_identity.process_id.__wrapped__  # without its cache
    for folder, dated in ((tmp_path, True), (tmp_path / "missing", False)):
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        ids = set()
        for boot in (1_700_000_000.0, 1_700_000_100.0):
            monkeypatch.setattr(launch_identity, "_boot_time", lambda boot=boot: boot)
            ids.add(another_nodes_view(os.getpid()))
        [name] = ids
        assert (re.match(r"\d{8}_\d{6}_", name) is not None) is dated
        assert f"_{os.getpid()}_" in name


def test_the_same_date_host_and_pid_after_a_reboot_is_another_launch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine without a clock of its own starts at the same date and pid each time."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(launch_identity, "_boot_time", lambda: 0.0)
    boots = iter(("first", "second"))
    read = Path.read_text

    def read_text(path: Path) -> str:
        return next(boots) if path.name == "boot_id" else read(path)

    monkeypatch.setattr(Path, "read_text", read_text)
    names = [launch_identity.process_id.__wrapped__(os.getpid()) for _ in range(2)]
    assert names[0] != names[1] and names[0][:15] == names[1][:15]


def test_a_session_folder_takes_home_and_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert session_path("~/runs/{launch}_a") == Path(f"/home/someone/runs/{launch_id()}_a")
    assert session_path("x") == Path.cwd() / "x"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        ids = pool.map(process_id, [os.getpid()] * 2)
    assert ids == [process_id(os.getpid())] * 2
