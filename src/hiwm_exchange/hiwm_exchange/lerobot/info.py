"""Reads a data set's info.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiwm_core.errors import BagError
from hiwm_exchange.lerobot import layout as places
from hiwm_exchange.lerobot.layout import INDEX_FEATURES
from hiwm_exchange.lerobot.tables import is_video

VERSIONS = ("v3.0", "v2.1")


@dataclass(frozen=True, kw_only=True)
class SetInfo:
    """The parts of info.json that reading a data set needs."""

    path: Path  # of info.json
    version: str  # one of VERSIONS
    fps: float
    robot_type: str
    episodes: int
    frames: int
    features: dict[str, dict[str, Any]]  # without those of INDEX_FEATURES
    data_path: str
    video_path: str

    @property
    def videos(self) -> list[str]:
        """Features that are videos."""
        return [name for name, feature in self.features.items() if is_video(feature)]


def read_info(folder: Path) -> SetInfo:
    """Return the info.json of a data set.

    Raises:
        BagError: it is missing, damaged, or of another version; names the field.
    """
    path = folder / places.INFO
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = str(data["codebase_version"])
    except FileNotFoundError:
        raise BagError(
            "no LeRobot data set there", where=str(path),
            remedy="give the folder that contains meta/info.json",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BagError(
            f"cannot be read: {error}", where=str(path), remedy="download the data set again"
        ) from None
    if version not in VERSIONS:
        raise BagError(
            f"a data set of version {version}", where=f"{path}: codebase_version",
            remedy=f"this reads {' and '.join(VERSIONS)}; convert it with lerobot's own script",
        )
    try:
        features = {
            name: {**feature, "shape": [int(side) for side in feature["shape"]]}
            for name, feature in data["features"].items() if name not in INDEX_FEATURES
        }
        return SetInfo(
            path=path, version=version, fps=float(data["fps"]),
            robot_type=str(data.get("robot_type") or ""), episodes=int(data["total_episodes"]),
            frames=int(data["total_frames"]), features=features,
            data_path=str(data["data_path"]), video_path=str(data.get("video_path") or ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BagError(
            f"field missing or wrong: {error}", where=str(path),
            remedy="download the data set again",
        ) from None
