"""Start frames of earlier versions keep their content under today's names."""

import io

import numpy as np
import pytest

from hiwm_core.errors import CheckpointError
from hiwm_learning.start_frames_upgrade import upgraded_start_frames

ARRAYS = {
    "names": np.array(["a"]), "images": np.zeros((1, 4, 4, 3), np.uint8),
    "proprioception": np.zeros((1, 4), np.float32),
}


def saved(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize("name", ["object_poses", "start_values"])
def test_values_get_todays_name(name: str) -> None:
    values = np.array([[0.1, 0.2, 0.3]])
    upgraded = upgraded_start_frames(saved(**ARRAYS, **{name: values}), "starts.npz")
    with np.load(io.BytesIO(upgraded)) as data:
        assert set(data.files) == {*ARRAYS, "start_values"}
        assert np.array_equal(data["start_values"], values)
        assert np.array_equal(data["images"], ARRAYS["images"])


@pytest.mark.parametrize("content", [b"text", saved(names=np.array(["a"]))])
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(CheckpointError, match="starts.npz"):
        upgraded_start_frames(content, "starts.npz")
