"""Observations as a server wants them. Tested by ``test_remote_requests.py``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_core.rotations import matrix_from_6d, vector_from_matrix
from hiwm_learning.policies.remote.layout import (
    CameraLeaf,
    PlainLeaf,
    PolicyLayout,
    StateLeaf,
    StatePart,
    ValueLeaf,
)

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PolicyObservation:
    """What one request is made of."""

    images: Mapping[str, NDArray[np.uint8]]  # of each camera, [S, H, W, 3], newest last
    proprio: NDArray[np.float32]  # [S, P], newest last
    seed: Sequence[int]
    session: str  # differs for each epoch and continuation


class RequestWriter:
    """Fills the observation tree of a layout.

    Args:
        layout: the server's.
        embodiment: the world's.
        instruction: the task in words.
        where: the layout's file, for messages.

    Raises:
        ConfigError: the layout names a camera, a group or an entry that the embodiment lacks.
    """

    def __init__(
        self, layout: PolicyLayout, embodiment: Embodiment, instruction: str, where: str
    ) -> None:
        self._layout = layout
        self._embodiment = embodiment
        self._instruction = instruction
        self._where = f"{where}: observation"
        self._entries = {entry.name: i for i, entry in enumerate(embodiment.proprioception)}
        self._measured: MeasuredFromProprioception | None = None
        self.cameras: tuple[str, ...] = ()  # that are sent
        self._check(layout.observation)
        self._check(layout.reset)

    def request(self, seen: PolicyObservation) -> Any:
        """Return an observation, ready to be packed."""
        return self._filled(self._layout.observation, seen)

    def reset(self, seen: PolicyObservation) -> Any:
        """Return the layout's reset request."""
        return self._filled(self._layout.reset, seen)

    def _check(self, tree: Any) -> None:
        if isinstance(tree, list):
            for each in tree:
                self._check(each)
        elif isinstance(tree, dict):
            for each in tree.values():
                self._check(each)
        elif isinstance(tree, CameraLeaf):
            known = [camera.name for camera in self._embodiment.cameras]
            self._known("camera", tree.camera, known)
            if tree.camera not in self.cameras:
                self.cameras += (tree.camera,)
        elif isinstance(tree, StateLeaf):
            for part in tree.parts:
                if part.group:
                    self._known("group", part.group, [g.name for g in self._embodiment.groups])
                    self._measured = (
                        self._measured or MeasuredFromProprioception(self._embodiment)
                    )
                for name in part.entries:
                    self._known("entry of proprioception", name, list(self._entries))
                self._part(part, np.zeros(self._embodiment.proprio_dim), checked=False)

    def _known(self, kind: str, name: str, known: Sequence[str]) -> None:
        if name not in known:
            raise ConfigError(
                f"embodiment {self._embodiment.name} has no {kind} {name!r}", where=self._where,
                remedy=f"use one of {', '.join(known)}, in a copy of the layout",
            )

    def _filled(self, tree: Any, seen: PolicyObservation) -> Any:
        match tree:
            case dict():
                return {key: self._filled(each, seen) for key, each in tree.items()}
            case list():
                return [self._filled(each, seen) for each in tree]
            case CameraLeaf():
                frames = seen.images[tree.camera][-self._layout.observation_steps :]
                return self._stacked([sized(frame, tree) for frame in frames])
            case StateLeaf():
                rows = seen.proprio[-self._layout.observation_steps :]
                return self._stacked([self._state(tree, row) for row in rows])
            case ValueLeaf():
                return tree.value
            case PlainLeaf(send="instruction"):
                return self._instruction
            case PlainLeaf(send="seed"):
                return [int(word) for word in seen.seed]
            case _:
                return seen.session

    def _stacked(self, each: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return each[-1] if self._layout.observation_steps == 1 else np.stack(each)

    def _state(self, leaf: StateLeaf, row: NDArray[np.float32]) -> NDArray[np.float32]:
        values = np.asarray(row, np.float64)
        if leaf.parts:
            values = np.concatenate([self._part(part, values) for part in leaf.parts])
        values = values[None] if leaf.row else values
        return np.ascontiguousarray(values, np.float32)

    def _part(self, part: StatePart, row: Array, *, checked: bool = True) -> Array:
        if part.entries:
            values = row[[self._entries[name] for name in part.entries]]
        else:
            group = self._embodiment.group(part.group)
            assert self._measured is not None  # since the constructor has met this part
            whole = self._measured.array(row) if checked else np.array(self._embodiment.home)
            values = sent_rotation(group, whole[group.slice], part.rotation)
        scale, offset = np.asarray(part.scale), np.asarray(part.offset)
        for name, given in (("scale", scale), ("offset", offset)):
            if given.ndim and len(given) != len(values):
                raise ConfigError(
                    f"{name} has {len(given)} numbers for {len(values)} values of "
                    f"{part.group or 'entries'}", where=self._where,
                    remedy="give one number, or one for each",
                )
        scaled: Array = values * scale + offset
        return scaled


def sent_rotation(group: ActionGroup, values: Array, rotation: str) -> Array:
    """Return a group's values [n] with its 6D rotation as an axis times an angle, if wanted."""
    if group.rotation != "6d" or rotation == "6d":
        return values
    return np.concatenate([values[:3], vector_from_matrix(matrix_from_6d(values[3:]))])


def sized(frame: NDArray[np.uint8], leaf: CameraLeaf) -> NDArray[np.uint8]:
    """Return an image [H, W, 3] in a leaf's size and layout."""
    height, width = leaf.height or frame.shape[0], leaf.width or frame.shape[1]
    if frame.shape[:2] != (height, width):
        inner = (height, width)
        if leaf.resize == "pad":
            ratio = max(frame.shape[0] / height, frame.shape[1] / width)
            inner = (int(frame.shape[0] / ratio), int(frame.shape[1] / ratio))
        small = np.asarray(
            Image.fromarray(frame).resize(inner[::-1], Image.Resampling.BILINEAR)
        )
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        frame = np.zeros((height, width, 3), np.uint8)
        frame[top : top + inner[0], left : left + inner[1]] = small
    return np.ascontiguousarray(frame.transpose(2, 0, 1) if leaf.layout == "CHW" else frame)
