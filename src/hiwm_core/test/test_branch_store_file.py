"""The file of a branch tree: reopened, read meanwhile, killed writers, other files in its place."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import SessionRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.errors import StoreError

sys.path.insert(0, str(Path(__file__).parent))
from counting_world import CountingWorld  # noqa: E402

B0 = "ep_0001-b000"


@pytest.fixture
def store(tmp_path: Path) -> BranchStore:
    return BranchStore(tmp_path / "tree.sqlite")


@pytest.fixture
def world(store: BranchStore) -> CountingWorld:
    world = CountingWorld(store)
    world.reset()
    return world


def test_a_reopened_tree_continues(world: CountingWorld, store: BranchStore) -> None:
    world.go(3)
    before, revision = store.tree(), store.revision
    store.close()
    with BranchStore(store.path) as later:
        assert (later.tree(), later.revision, later.head_id) == (before, revision, f"{B0}:3")
        world.store = later
        world.go()
        assert later.node(f"{B0}:4").parent_id == f"{B0}:3" and later.revision == revision + 1


def test_each_session_is_recorded_once(store: BranchStore) -> None:
    first = SessionRecord(session_id="s", world="imagination", checkpoint_hash="ab")
    second = SessionRecord(session_id="s", world="imagination", checkpoint_hash="cd")
    for session in (first, first, second, second):
        store.open_session(session)
    assert store.sessions() == [first, second]


def test_a_reader_sees_what_is_written_meanwhile(world: CountingWorld, store: BranchStore) -> None:
    with BranchReader(store.path) as reader:
        world.go(3)
        assert [node.step for node in reader.line(f"{B0}:3")] == [0, 1, 2, 3]
    with pytest.raises(StoreError, match="no branch tree here"):
        BranchReader(store.path.with_name("other.sqlite"))


def test_a_killed_writer_loses_at_most_the_tick_in_flight(tmp_path: Path) -> None:
    program = (
        "import itertools, sys\n"
        "from hiwm_core.branch_records import TickRecord\n"
        "from hiwm_core.branch_store import BranchStore\n"
        "store = BranchStore(sys.argv[1])\n"
        "for k in itertools.count():\n"
        "    store.add_tick(TickRecord(stamp_ns=k, epoch=1, step=k, episode_id='ep_0001',\n"
        "                              branch_id='ep_0001-b000', state_id=f'{k:032x}'))\n"
        "    print(k, flush=True)\n"
    )
    path = tmp_path / "tree.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(50):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    told = 49
    for line in process.stdout:
        told = int(line) if line.endswith("\n") else told
    process.wait()
    with BranchStore(path) as store:
        count = len(store.tree())
        assert told + 1 <= count <= told + 2
        assert [node.step for node in store.line(f"{B0}:{count - 1}")] == list(range(count))
        assert store.revision == count + 1  # and the branch


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"hello, this is a text file\n" * 100])
def test_a_file_that_is_not_a_tree_is_refused_unchanged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tree.sqlite"
    path.write_bytes(content)
    if content:
        with pytest.raises(StoreError, match=r"tree\.sqlite.*session_dir"):
            BranchStore(path)
        assert path.read_bytes() == content
    else:
        BranchStore(path)  # an empty file is a new database to SQLite, and to us


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tree.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    for opening in (BranchStore, BranchReader):
        with pytest.raises(StoreError, match="not a branch tree"):
            opening(path)


def test_a_newer_schema_is_refused(store: BranchStore) -> None:
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    for opening in (BranchStore, BranchReader):
        with pytest.raises(StoreError, match="schema 99, newer.*version that wrote it"):
            opening(store.path)


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree.sqlite").mkdir()
    with pytest.raises(StoreError, match="unable to open"):
        BranchStore(tmp_path / "tree.sqlite")


def test_a_stored_tree_is_read_in_a_read_only_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tree.sqlite"
    BranchStore(path).close()
    # Root may write anywhere, so that permissions cannot make the folder read-only here.
    monkeypatch.setattr("os.access", lambda *_: False)
    with BranchReader(path) as reader:
        assert reader.tree() == []
        assert [file.name for file in tmp_path.iterdir()] == ["tree.sqlite"]
    (tmp_path / "tree.sqlite-wal").write_bytes(b"changes of a killed branch manager")
    with pytest.raises(StoreError, match="copy the session"):
        BranchReader(path)
