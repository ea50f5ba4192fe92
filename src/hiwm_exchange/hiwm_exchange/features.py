"""What hiwm records, as features of a LeRobot data set.

``observation.state`` is the proprioception, ``action`` the absolute target, both in the order and
units of the embodiment; each camera is a video. All else is ours: ``intervention``, which LeRobot's
own tools write too, and columns that start with ``hiwm.``: no trainer takes them for inputs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.control import Source
from hiwm_core.embodiment import Embodiment
from hiwm_core.provenance import Provenance
from hiwm_exchange.lerobot.episodes import Piece, Rows
from hiwm_exchange.lerobot.layout import ACTION, IMAGES, STATE
from hiwm_exchange.lerobot.video import pixel_format
from hiwm_learning.datasets.episodes import EpisodeInfo

INTERVENTION = "intervention"
# Name after "hiwm." and type; docs/exchange.md says what each means.
OUR_COLUMNS = {
    "provenance": "string", "source": "int64", "step": "int64", "action_known": "bool",
    "trust": "float32", "progress": "float32", "success": "float32", "weight": "float32",
    "session": "string", "episode": "string", "branch": "string", "parent": "string",
    "fork_step": "int64", "label": "string", "recorded_on": "string",
}
_NAMES = tuple(str(name) for name in Provenance)


def our(name: str) -> str:
    """Return the feature of one of `OUR_COLUMNS`."""
    return f"hiwm.{name}"


def policy_features(embodiment: Embodiment, fps: int, codec: str) -> dict[str, dict[str, Any]]:
    """Return the features that policies learn from: state, action and cameras."""
    features: dict[str, dict[str, Any]] = {
        STATE: _vector([entry.name for entry in embodiment.proprioception]),
        ACTION: _vector([entry.name for entry in embodiment.actions]),
    }
    for camera in embodiment.cameras:
        features[IMAGES + camera.name] = {
            "dtype": "video", "shape": [camera.height, camera.width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": camera.height, "video.width": camera.width, "video.codec": codec,
                "video.pix_fmt": pixel_format(camera.width, camera.height),
                "video.is_depth_map": False, "video.fps": fps, "video.channels": 3,
                "has_audio": False,
            },
        }
    return features


def our_features() -> dict[str, dict[str, Any]]:
    """Return our own columns as features."""
    types = {INTERVENTION: "bool"} | {our(name): kind for name, kind in OUR_COLUMNS.items()}
    return {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in types.items()}


def piece_of(
    info: EpisodeInfo, columns: dict[str, NDArray[Any]], images: dict[str, NDArray[np.uint8]],
    weights: NDArray[np.float32] | None = None,
) -> Piece:
    """Return frames of a segment as a piece of an episode.

    A frame without a known action, such as the last one of a segment, repeats the action before
    it, which holds the arms still; ``hiwm.action_known`` is false there.

    Args:
        info: of the segment.
        columns: `EpisodeWriter.add`'s columns but the images.
        images: [T, H, W, 3] of each camera.
        weights: [T] of a post-training set; 1 when None.
    """
    length = len(columns["steps"])
    known = np.isfinite(columns["actions"]).all(axis=1)
    source = columns["source"].astype(np.int64)
    rows: Rows = {
        STATE: columns["proprio"].astype(np.float32),
        ACTION: _held(columns["actions"], known),
        INTERVENTION: np.isin(source, (Source.HUMAN, Source.HANDBACK)),
        our("provenance"): _texts([_NAMES[code] for code in columns["provenance"]]),
        our("source"): source, our("step"): columns["steps"].astype(np.int64),
        our("action_known"): known,
        our("trust"): columns["trust"].astype(np.float32),
        our("progress"): columns["progress"].astype(np.float32),
        our("success"): columns["success"].astype(np.float32),
        our("weight"): np.ones(length, np.float32) if weights is None else weights,
        our("fork_step"): np.full(length, info.fork_step, np.int64),
    }
    texts = {
        "session": info.session_id, "episode": info.episode_id, "branch": info.branch_id,
        "parent": info.parent_branch_id, "label": info.label, "recorded_on": info.recorded_on,
    }
    rows |= {our(name): _texts([text] * length) for name, text in texts.items()}
    return Piece(rows=rows, images={IMAGES + name: pixels for name, pixels in images.items()})


def has_action(columns: dict[str, NDArray[Any]]) -> bool:
    """Return whether any action of a segment is known."""
    return bool(np.isfinite(columns["actions"]).all(axis=1).any())


def _held(actions: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return actions [T, A] with unknown ones replaced by the last known, or the first."""
    newest = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
    held: NDArray[np.float32] = actions[
        np.where(newest < 0, int(known.argmax()), newest)
    ].astype(np.float32)
    return held


def _vector(names: list[str]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [len(names)], "names": names}


def _texts(values: list[str]) -> NDArray[Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array
