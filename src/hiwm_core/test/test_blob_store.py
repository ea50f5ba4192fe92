"""The guarantees of `hiwm_core.blob_store`."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hiwm_core.blob_store import BLOB_THRESHOLD_BYTES, BlobStore
from hiwm_core.errors import StoreError
from hiwm_core.pack_files import PackFiles, RecordKind

NAMES = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=12)
DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
)
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)


def packs(root: Path) -> list[Path]:
    return sorted(root.glob("*.pack"))


def same(left: np.ndarray, right: np.ndarray) -> bool:
    return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(parts=st.dictionaries(NAMES, ARRAYS, max_size=4), meta=st.dictionaries(st.text(), JSON))
def test_what_goes_in_comes_back_byte_for_byte(parts: dict, meta: dict) -> None:
    with tempfile.TemporaryDirectory() as folder:
        state_id = BlobStore(folder).put_state(parts, meta)
        read_parts, read_meta = BlobStore(folder).get_state(state_id)
    assert read_meta == meta
    assert read_parts.keys() == parts.keys()
    assert all(same(read_parts[name], parts[name]) for name in parts)


@pytest.mark.parametrize("side", [1, 32, 37, 96])
def test_parts_around_the_threshold_come_back(tmp_path: Path, side: int) -> None:
    parts = {
        "noise": frame(1)[:side, :side],
        "flat": np.zeros((side, side, 4), np.float32),
        "columns": np.asfortranarray(np.arange(side * side, dtype=np.int16).reshape(side, side)),
        "strided": np.arange(4 * side * side)[::2],
    }
    store = BlobStore(tmp_path)
    read, _ = store.get_state(store.put_state(parts, {}))
    assert all(same(read[name], parts[name]) for name in parts)
    read["noise"][:] = 0  # a restored state is the caller's own copy


def test_the_id_depends_only_on_content(tmp_path: Path) -> None:
    one, other = BlobStore(tmp_path / "one"), BlobStore(tmp_path / "other")
    parts = {"frame": frame(0), "proprio": np.array([1.0, 2.0])}
    state_id = one.put_state(parts, {"step": 3, "epoch": 1})
    assert other.put_state(dict(reversed(parts.items())), {"epoch": 1, "step": 3}) == state_id
    changed = [
        (parts, {"step": 4, "epoch": 1}),
        ({**parts, "proprio": np.array([1.0, 2.5])}, {"step": 3, "epoch": 1}),
        ({**parts, "proprio": np.array([[1.0, 2.0]])}, {"step": 3, "epoch": 1}),
        ({**parts, "frame": frame(1)}, {"step": 3, "epoch": 1}),
    ]
    assert len({one.put_state(*content) for content in changed} | {state_id}) == 5


def test_frames_shared_by_neighbours_are_stored_once(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    for step in range(4, 24):
        window = {f"frame_{k}": frame(step - k) for k in range(4)}
        store.put_state(window, {"step": step})
    size = store.size()
    assert (size.states, size.blobs) == (20, 23)
    assert size.bytes < 23.5 * frame(0).nbytes
    assert store.last_put.written_bytes < 1.1 * frame(0).nbytes
    assert store.state_size(store.state_ids()[0]) > 4 * frame(0).nbytes
    # A later process of the session shares frames with the first.
    BlobStore(tmp_path).put_state({"frame_0": frame(20)}, {"step": 99})
    assert store.size().blobs == 23


def test_a_state_put_twice_costs_nothing(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    state_id = store.put_state({"frame": frame(0)}, {})
    before = store.size()
    assert store.put_state({"frame": frame(0)}, {}) == state_id
    assert store.last_put.written_bytes == 0
    assert store.size() == before


def test_smooth_images_are_compressed(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    picture = np.full((96, 96, 3), 220, np.uint8)
    picture[20:60, 30:70] = (30, 60, 200)
    store.put_state({"frame": picture}, {})
    assert store.last_put.written_bytes < picture.nbytes / 10


def test_random_state_of_a_generator_comes_back(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    generator = np.random.default_rng(7)
    state_id = store.put_state({}, {"random": generator.bit_generator.state})
    expected = generator.random(5)
    other = np.random.default_rng()
    other.bit_generator.state = store.get_state(state_id)[1]["random"]
    assert np.array_equal(other.random(5), expected)


@pytest.mark.parametrize("place", [0.3, 0.999])
def test_a_changed_byte_is_found_and_the_file_named(tmp_path: Path, place: float) -> None:
    store = BlobStore(tmp_path)
    state_id = store.put_state({"frame": frame(0)}, {"note": "x" * 40})
    (path,) = packs(tmp_path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(StoreError, match="changed or truncated") as error:
        BlobStore(tmp_path).get_state(state_id)
    assert path.name in str(error.value) and "restore this file" in str(error.value)


def test_damage_to_one_state_spares_the_others_and_heals_when_put_again(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    ids = [store.put_state({"frame": frame(k)}, {"step": k}) for k in range(3)]
    (path,) = packs(tmp_path)
    content = bytearray(path.read_bytes())
    content[:60] = bytes(60)  # the first record, header and all
    path.write_bytes(content)
    later = BlobStore(tmp_path)
    with pytest.raises(StoreError, match="missing"):
        later.get_state(ids[0])
    for k in (1, 2):
        assert same(later.get_state(ids[k])[0]["frame"], frame(k))
    later.put_state({"frame": frame(0)}, {"step": 0})
    assert same(later.get_state(ids[0])[0]["frame"], frame(0))
    with pytest.raises(StoreError):
        store.get_state(ids[0])
    store.put_state({"frame": frame(0)}, {"step": 0})
    assert same(store.get_state(ids[0])[0]["frame"], frame(0))


def test_a_record_truncated_by_a_kill_is_skipped(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    ids = [store.put_state({"frame": frame(k)}, {"step": k}) for k in range(2)]
    (path,) = packs(tmp_path)
    whole = path.stat().st_size
    for cut in (1, 20, 100, 20000):
        os.truncate(path, whole - cut)
        whole -= cut
        later = BlobStore(tmp_path)
        assert later.state_ids() == ids[:1]
        assert same(later.get_state(ids[0])[0]["frame"], frame(0))
        with pytest.raises(StoreError, match="no state"):
            later.get_state(ids[1])
    assert later.put_state({"frame": frame(1)}, {"step": 1}) == ids[1]
    assert same(BlobStore(tmp_path).get_state(ids[1])[0]["frame"], frame(1))


@pytest.mark.parametrize("state_id", ["", "0" * 31, "../../../../etc/passwd", "g" * 32])
def test_an_invalid_id_is_refused(tmp_path: Path, state_id: str) -> None:
    store = BlobStore(tmp_path)
    assert not store.has_state(state_id)
    with pytest.raises(StoreError, match="not a state id"):
        store.get_state(state_id)


def test_an_unknown_id_says_where_ids_come_from(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no state 0{32} is stored.*branches/list"):
        BlobStore(tmp_path).get_state("0" * 32)


def test_parts_and_meta_that_cannot_be_stored_are_refused(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    with pytest.raises(StoreError, match="'text'.*not numeric"):
        store.put_state({"text": np.array(["a", None], dtype=object)}, {})
    with pytest.raises(StoreError, match="JSON"):
        store.put_state({"frame": frame(0)}, {"path": tmp_path})
    assert store.size().states == 0


def test_a_read_only_opening_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no states are stored here"):
        BlobStore(tmp_path / "states", read_only=True)
    assert not (tmp_path / "states").exists()


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="session_dir"):
        BlobStore(tmp_path / "file" / "states")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(StoreError, match="read-only for this user"):
            store.put_state({"frame": frame(0)}, {})
    finally:
        tmp_path.chmod(0o755)


def test_a_full_disk_is_reported_and_leaves_the_store_intact(tmp_path: Path) -> None:
    """A limit on the size of a file makes the kernel shorten a write, as a full disk does."""
    store = BlobStore(tmp_path)
    kept = store.put_state({"frame": frame(0)}, {})
    before = store.size()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before.bytes + 10_000, hard))
    try:
        with pytest.raises(StoreError, match="disk is full.*free space"):
            store.put_state({"frame": frame(1)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.size() == before
    gained = store.put_state({"frame": frame(1)}, {})
    for number, state_id in enumerate((kept, gained)):
        assert same(BlobStore(tmp_path).get_state(state_id)[0]["frame"], frame(number))


def test_a_pack_is_closed_when_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hiwm_core.pack_files.PACK_LIMIT_BYTES", 60_000)
    store = BlobStore(tmp_path)
    ids = [store.put_state({"frame": frame(k)}, {}) for k in range(8)]
    assert len(packs(tmp_path)) > 2
    assert all(
        same(BlobStore(tmp_path).get_state(state_id)[0]["frame"], frame(k))
        for k, state_id in enumerate(ids)
    )


def test_pins_are_kept_and_only_for_known_states(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    state_id = store.put_state({"frame": frame(0)}, {})
    store.pin(state_id, "before the slip")
    assert BlobStore(tmp_path, read_only=True).pins() == {state_id: "before the slip"}
    with pytest.raises(StoreError, match="no state"):
        store.pin("0" * 32)


def _write_states(folder: str, first: int, count: int) -> None:
    store = BlobStore(folder)
    for number in range(first, first + count):
        store.put_state({"frame": frame(number)}, {"number": number})


def test_readers_and_writers_in_other_processes_agree(tmp_path: Path) -> None:
    reader = BlobStore(tmp_path)
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_write_states, args=(str(tmp_path), first, 40))
        for first in (0, 20)  # twenty of them by both
    ]
    for writer in writers:
        writer.start()
    seen: set[str] = set()
    while any(writer.is_alive() for writer in writers):
        for state_id in set(reader.state_ids()) - seen:
            parts, meta = reader.get_state(state_id)
            assert same(parts["frame"], frame(meta["number"]))
            seen.add(state_id)
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert reader.size().states == 60


def test_a_killed_writer_leaves_whole_states(tmp_path: Path) -> None:
    program = (
        "import sys, itertools, numpy as np\n"
        "from hiwm_core.blob_store import BlobStore\n"
        "store = BlobStore(sys.argv[1])\n"
        "for k in itertools.count():\n"
        "    noise = np.random.default_rng(k).integers(0, 256, (96, 96, 3), dtype=np.uint8)\n"
        "    print(store.put_state({'frame': noise}, {'k': k}), flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(30)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = BlobStore(tmp_path)
    assert all(store.get_state(state_id)[1]["k"] == k for k, state_id in enumerate(told))
    assert all(store.get_state(state_id) for state_id in store.state_ids())


def test_a_record_of_exactly_the_threshold_stays_inline(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.put_state({"small": np.zeros(BLOB_THRESHOLD_BYTES, np.uint8)}, {})
    assert store.size().blobs == 0
    store.put_state({"large": np.zeros(BLOB_THRESHOLD_BYTES + 1, np.uint8)}, {})
    assert store.size().blobs == 1


def test_a_half_written_record_is_read_once_it_is_whole(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "whole")
    state_id = store.put_state({"frame": frame(0)}, {})
    (source,) = packs(tmp_path / "whole")
    content = source.read_bytes()
    (tmp_path / "growing").mkdir()
    growing = tmp_path / "growing" / source.name
    growing.write_bytes(content[:1000])
    reader = PackFiles(tmp_path / "growing")
    assert not reader.holds(RecordKind.MANIFEST, bytes.fromhex(state_id))
    growing.write_bytes(content)
    assert reader.holds(RecordKind.MANIFEST, bytes.fromhex(state_id))
