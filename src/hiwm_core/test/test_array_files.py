"""A damaged archive of arrays is one kind of error, whatever the damage."""

import io
import random
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.array_files import read_arrays


def archive() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(
        file, names=np.array(["a", "b"]), images=np.arange(2000, dtype=np.uint8).reshape(2, -1)
    )
    return file.getvalue()


def test_all_arrays_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(archive())
    assert {name: array.shape for name, array in read_arrays(path).items()} == {
        "names": (2,), "images": (2, 1000),
    }


def test_single_wrong_bits_are_found_or_change_nothing() -> None:
    """A wrong bit in a date or in the padding changes no array."""
    whole, rng = archive(), random.Random(1)
    expected = read_arrays(whole)
    refused = 0
    for _ in range(300):
        content = bytearray(whole)
        bit = rng.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        try:
            found = read_arrays(bytes(content))
        except ValueError as error:
            assert "damaged" in str(error)
            refused += 1
            continue
        for name, array in found.items():
            # A name may be wrong: its reader misses it. No content is.
            assert any(np.array_equal(array, one) for one in expected.values()), name
    assert refused > 200


@pytest.mark.parametrize("cut", [0, 1, 30, 200, -1, -30])
def test_a_file_that_was_cut_short_is_damaged(cut: int) -> None:
    with pytest.raises(ValueError, match="damaged"):
        read_arrays(archive()[:cut])


def test_a_single_array_and_other_files_are_damaged() -> None:
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    for content in (single.getvalue(), b"text", bytes(100)):
        with pytest.raises(ValueError, match="damaged"):
            read_arrays(content)


def test_a_missing_file_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "a.npz")
