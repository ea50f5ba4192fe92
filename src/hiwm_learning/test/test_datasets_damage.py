"""A damaged training set is refused: no wrong pixel, action or label reaches a training."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError
from hiwm_learning.datasets import Episodes, load_episodes
from hiwm_learning.datasets.episodes import EpisodeInfo, EpisodeWriter

EMBODIMENT = load_embodiment("planar_bimanual")
LENGTHS = (40, 60)
INFO = EpisodeInfo(
    bag="b", session_id="s", episode_id="e", branch_id="e-b000", parent_branch_id="", fork_step=-1,
    world="imagination", stand_in=False, task="t", task_hash="h", label="success",
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of two episodes; one column is all zeros, which zarr would not write."""
    rng = np.random.default_rng(1)
    writer = EpisodeWriter(tmp_path / "a.zarr", EMBODIMENT, ("one", "two"))
    for length in LENGTHS:
        vectors = rng.random((length, 4)).astype(np.float32)
        writer.add(INFO, {
            "images/top": rng.integers(0, 4, (length, 96, 96, 3), np.uint8), "proprio": vectors,
            "actions": vectors + 1, "source": np.zeros(length), "provenance": np.ones(length),
            "steps": np.arange(length), "trust": np.ones(length), "progress": np.ones(length),
            "success": np.zeros(length),
        })
    writer.close({"left_out": []})
    return tmp_path / "a.zarr"


def files(store: Path) -> Iterator[Path]:
    yield from sorted(path for path in store.rglob("*") if path.is_file())


def content(episodes: Episodes) -> list[bytes]:
    """Return what trainings read of a set."""
    arrays = (
        *episodes.images.values(), episodes.proprio, episodes.actions, episodes.source,
        episodes.provenance, episodes.steps, episodes.trust, episodes.progress, episodes.success,
        episodes.ends,
    )
    return [np.ascontiguousarray(array).tobytes() for array in arrays] + [
        repr((episodes.infos, episodes.embodiment.text, episodes.provenance_names)).encode()
    ]


def test_single_wrong_bits_are_found_or_change_nothing(store: Path) -> None:
    expected, rng, refused = content(load_episodes(store)), random.Random(2), 0
    small = [path for path in files(store) if path.stat().st_size < 10_000]
    for number in range(120):
        # Half of them in the small files, which a bit at random would rarely meet.
        path = rng.choice(small if number % 2 else list(files(store)))
        whole = path.read_bytes()
        bit = rng.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert content(load_episodes(store)) == expected, (path, bit)
        except BagError as error:
            assert str(store) in str(error)
            refused += 1
        path.write_bytes(whole)
    assert refused > 60


@pytest.mark.parametrize("on_disk", [False, True])
def test_files_that_are_lost_or_cut_are_found(store: Path, tmp_path: Path, on_disk: bool) -> None:
    for path in list(files(store)):
        if path == store / "images" / "zarr.json":
            continue  # a group without content
        whole = path.read_bytes()
        for damaged in (None, b"", whole[: len(whole) // 2], bytes(len(whole))):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            with pytest.raises(BagError, match="training set"):
                load_episodes(store, on_disk=tmp_path if on_disk else None)
            path.write_bytes(whole)
    assert list(tmp_path.iterdir()) == [store]
    assert load_episodes(store).ends.tolist() == [40, 100]
