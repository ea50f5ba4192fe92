"""Reads NumPy archives (.npz); a damaged one is one kind of error.

Each damage has its own exception in NumPy, zipfile and zlib. A single wrong bit can
raise any of them.
"""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DAMAGE = (
    ValueError, LookupError, EOFError, TypeError, AttributeError, RuntimeError, MemoryError,
    zipfile.BadZipFile, zlib.error, struct.error, OSError,  # the last one of bzip2
)


def read_arrays(file: Path | bytes) -> dict[str, NDArray[Any]]:
    """Return all arrays of an archive by name; their checksums are checked.

    Args:
        file: path or content of the archive.

    Raises:
        ValueError: the archive is damaged, or the file is not an archive.
        OSError: the file cannot be read.
    """
    content = file if isinstance(file, bytes) else file.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGE as error:
        raise ValueError(f"damaged: {error or type(error).__name__}") from error
