"""JSON: files that must hold an object, with one clear error, and numbers that it can hold."""

import json
import math
from pathlib import Path
from typing import Any

from hiwm_core.errors import StoreError, reason


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: of the file.
        remedy: what the person can do if the file is damaged.

    Raises:
        StoreError: the file cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(
            f"cannot be read: {reason(error)}", where=str(path), remedy=remedy
        ) from error
    if not isinstance(content, dict):
        raise StoreError("holds no JSON object", where=str(path), remedy=remedy)
    return content


def finite(value: float) -> float | None:
    """Return a number for JSON, which has no others: None where it is not finite."""
    return float(value) if math.isfinite(value) else None
