"""One training set of an earlier version, converted in a copy."""

import shutil
from pathlib import Path
from typing import Any, cast

import zarr

from hiwm_core.migration.messages import LABELS
from hiwm_core.migration.texts import Texts
from hiwm_learning.datasets.episodes import FORMAT, is_training_set

# Arrays of ground truth, which no training read.
_REMOVED = ("object_pose", "coverage")


def is_earlier_set(path: Path) -> bool:
    """Return whether a folder is a training set of an earlier version."""
    if not (path / "zarr.json").is_file() or not is_training_set(path):
        return False
    version = zarr.open_group(str(path), mode="r").attrs.get("format")
    return isinstance(version, int) and version < FORMAT


def migrate_set(source: Path, target: Path, texts: Texts) -> None:
    """Write a training set of an earlier version as a new one.

    Raises:
        ConfigError: its embodiment is of no known form.
        OSError: the disk refuses.
    """
    shutil.copytree(source, target)
    root = zarr.open_group(str(target), mode="r+")
    attributes = cast(dict[str, Any], dict(root.attrs))
    embodiment = texts.embodiment(attributes["embodiment_text"], str(source))
    episodes = [
        {
            **episode, "label": LABELS[episode.get("label", 0)],
            "task_hash": texts.hash(episode["task_hash"]),
        }
        for episode in attributes["episodes"]
    ]
    for name in _REMOVED:
        if name in root:
            del root[name]
    root.attrs.update({
        "format": FORMAT, "embodiment_hash": embodiment.hash, "embodiment_text": embodiment.text,
        "episodes": episodes,
    })
