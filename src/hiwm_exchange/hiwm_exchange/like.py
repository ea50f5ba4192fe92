"""Writes episodes with exactly the features of another data set, so that both can be merged.

LeRobot merges sets of equal features, rate and robot only. Our own columns go beside the set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiwm_core.errors import ConfigError
from hiwm_exchange.features import our_features
from hiwm_exchange.lerobot.info import SetInfo
from hiwm_exchange.lerobot.layout import ACTION, IMAGES, STATE
from hiwm_exchange.lerobot.tables import is_video
from hiwm_exchange.lerobot.video import CODECS
from hiwm_exchange.lerobot.writer import Piece, SetSpec


@dataclass(frozen=True)
class LikeAnother:
    """The features of another set, filled with ours."""

    spec: SetSpec
    _cameras: Mapping[str, str]  # their feature -> ours
    _orders: Mapping[str, NDArray[np.intp]]  # state and action: our place of each of their entries

    def piece(self, piece: Piece) -> Piece:
        """Return frames of ours with their features, and our columns for the sidecar."""
        rows = {name: piece.rows[name] for name in self.spec.sidecar}
        for name, feature in self.spec.features.items():
            if name in self._orders:
                rows[name] = piece.rows[name][:, self._orders[name]].astype(feature["dtype"])
            elif not is_video(feature):
                rows[name] = piece.rows[name]
        images = {
            theirs: _resized(piece.images[ours], self.spec.features[theirs]["shape"])
            for theirs, ours in self._cameras.items()
        }
        return Piece(rows=rows, images=images)


def like_another(
    info: SetInfo, ours: Mapping[str, Mapping[str, Any]], fps: int, cameras: Mapping[str, str]
) -> LikeAnother:
    """Return the features of another set, filled with ours.

    Args:
        info: of the other set.
        ours: our state, action and cameras.
        fps: of our episodes.
        cameras: our camera -> their feature; those of equal names need no line.

    Raises:
        ConfigError: another rate, or a feature that we cannot fill; names it.
    """
    if info.fps != fps:
        raise ConfigError(
            f"{info.fps:g} fps, ours has {fps}", where=f"{info.path}: fps",
            remedy=f"export with --resample-to {info.fps:g}",
        )
    own = {
        name.removeprefix(IMAGES): name for name, feature in ours.items() if is_video(feature)
    }
    wanted = {theirs: name for name, theirs in cameras.items()}
    filled: dict[str, str] = {}
    orders: dict[str, NDArray[np.intp]] = {}
    for name, feature in info.features.items():
        where = f"{info.path}: features.{name}"
        if is_video(feature):
            camera = wanted.get(name, name.removeprefix(IMAGES))
            if camera not in own:
                raise ConfigError(
                    "no camera of ours for this feature", where=where,
                    remedy=f"give --camera NAME={name}, with NAME one of {', '.join(own)}",
                )
            _check_codec(feature, where)
            filled[name] = own[camera]
        elif name in (STATE, ACTION):
            orders[name] = _order(feature, ours[name], where)
        elif feature["dtype"] != our_features().get(name, {}).get("dtype"):
            raise ConfigError(
                f"a feature of type {feature['dtype']} that hiwm does not record", where=where,
                remedy="remove it from a copy of the other set, or export without --like and merge "
                "after removing ours there",
            )
    lacking = [name for name in (STATE, ACTION) if name not in orders]
    if lacking:
        raise ConfigError(
            f"no {' and no '.join(lacking)}", where=f"{info.path}: features",
            remedy="give a data set of robot episodes",
        )
    return LikeAnother(
        SetSpec(
            features=dict(info.features), fps=fps, robot_type=info.robot_type,
            sidecar=our_features(),
        ),
        filled, orders,
    )


def _check_codec(feature: Mapping[str, Any], where: str) -> None:
    codec = (feature.get("info") or {}).get("video.codec")
    if codec not in CODECS:
        raise ConfigError(
            f"video codec {codec!r}", where=f"{where}.info.video.codec",
            remedy=f"encode the other set's videos in one of {', '.join(CODECS)}",
        )


def _order(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], where: str
) -> NDArray[np.intp]:
    """Return our place of each of their entries: by name if all names agree, else in order."""
    if list(theirs["shape"]) != list(ours["shape"]):
        raise ConfigError(
            f"{theirs['shape'][0]} entries, ours has {ours['shape'][0]}: "
            f"{', '.join(ours['names'])}",
            where=f"{where}.shape", remedy="use an embodiment with the other set's entries",
        )
    names = theirs.get("names")
    if isinstance(names, list) and sorted(names) == sorted(ours["names"]):
        return np.array([ours["names"].index(name) for name in names])
    return np.arange(len(ours["names"]))


def _resized(images: NDArray[np.uint8], shape: list[int]) -> NDArray[np.uint8]:
    height, width = shape[:2]
    if images.shape[1:3] == (height, width):
        return images
    return np.stack([
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
        for image in images
    ])
