"""Rewrites start frames of earlier versions; their frames stay as they are.

Used by ``scripts/migrate``. Tested by ``test_start_frames_upgrade.py``.
"""

import io

import numpy as np

from hiwm_core.array_files import read_arrays
from hiwm_core.errors import CheckpointError

# The name that the starts' values had in files of earlier versions.
EARLIER = "object_poses"


def upgraded_start_frames(content: bytes, where: str) -> bytes:
    """Return a start file whose values have today's name.

    Args:
        content: bytes of the .npz file.
        where: its path, for error messages.

    Raises:
        CheckpointError: not a start file.
    """
    try:
        arrays = read_arrays(content)
        if EARLIER in arrays:
            arrays["start_values"] = arrays.pop(EARLIER)
        if not {"names", "images", "proprioception", "start_values"} <= set(arrays):
            raise ValueError(f"it holds {', '.join(arrays)}")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"not a file of start frames: {error}", where=where,
            remedy="give a _starts.npz file written by the training scripts",
        ) from None
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()
