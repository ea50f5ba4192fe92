"""evaluation.json of a result folder: the conditions of its trials, with their format.

The evaluator refuses a folder whose conditions differ from its own, and one of an earlier version.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hiwm_core.errors import StoreError
from hiwm_core.formats import MIGRATE

EVALUATION_FILE = "evaluation.json"
FORMAT = 2
_FORMAT_KEY = "format"
# Conditions that files of every version have.
_ALWAYS = {"world", "task_hash", "horizon", "success_threshold"}


def with_format(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return conditions as they are stored."""
    return {_FORMAT_KEY: FORMAT, **conditions}


def require_present_evaluation(stored: Mapping[str, Any], where: str) -> None:
    """Raise StoreError for stored conditions of an earlier version."""
    if _is_earlier(stored):
        raise StoreError(
            "contains an evaluation of an earlier version of hiwm", where=where, remedy=MIGRATE
        )


def is_earlier_evaluation(path: Path) -> bool:
    """Return whether a file is an evaluation.json of an earlier version."""
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(stored, dict) and _is_earlier(stored)


def upgraded_evaluation(text: str) -> str:
    """Return the text of an earlier file in today's form, with the hashes it has."""
    return json.dumps(with_format(json.loads(text)), indent=2) + "\n"


def _is_earlier(stored: Mapping[str, Any]) -> bool:
    return set(stored) >= _ALWAYS and _FORMAT_KEY not in stored
