"""Whether cameras show now what a world model was trained on, before anyone relies on it.

The start frames beside a checkpoint tell what is usual. Four questions are asked of each camera:
has it moved, has the light changed, does the still part of the scene differ, and are there things
that the model cannot draw. Limits follow from how much the start frames differ among themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_learning.world_models.simulators import Images, WorldSimulator

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

# Longest shift that is looked for, of a picture that is thinned to about so many rows.
FARTHEST_PX, ROWS = 8, 160
# A shift is believed if it explains this share of the difference of the still pixels.
EXPLAINED = 0.15
STILL, STILL_QUANTILE = 0.06, 0.9  # a still pixel: so near to usual in so many start frames
# Least limits, so that equal start frames raise no false alarm: of brightness, of still
# pixels that differ, and of a patch's redrawing error.
LEAST_GAIN, LEAST_CHANGED, LEAST_ERROR = 0.06, 0.02, 0.04
BEYOND = 1.5  # limits lie this much beyond the start frames' own spread
PATCH = 8  # px
LEAST_STILL = 0.1  # share of still pixels without which a camera counts as a moving one
MOST_REFERENCES = 24


@dataclass(frozen=True, kw_only=True)
class CameraFinding:
    """What is unusual about one camera's picture."""

    camera: str
    seen: Picture  # [H, W, 3] rgb
    usual: Picture  # [H, W, 3] rgb, the median of the start frames
    redrawn: Picture  # [H, W, 3] rgb, by the model, after shift and light were undone
    unknown: NDArray[np.bool_]  # [H / 8, W / 8] patches of `redrawn` that the model cannot draw
    moved_px: tuple[int, int]  # of the scene, to the right and down
    problems: tuple[str, ...]  # in words, empty if nothing is unusual


class ViewCheck:
    """Knows what is usual, and compares pictures with it.

    Args:
        simulator: of the model.
        references: start frames, of each an image [H, W, 3] rgb, or one of each camera.
        proprioception: [N, P] of the start frames, in the embodiment's units.
    """

    def __init__(
        self, simulator: WorldSimulator[Any], references: Sequence[Images],
        proprioception: NDArray[Any],
    ) -> None:
        chosen = np.unique(
            np.linspace(0, len(references) - 1, min(MOST_REFERENCES, len(references))).astype(int)
        )
        frames = [_views(references[i]) for i in chosen]
        self._simulator = simulator
        self._cameras = [
            _Usual(name, np.stack([views[number] for views in frames]))
            for number, name in enumerate(simulator.cameras)
        ]
        for views, joints in zip(frames, proprioception[chosen], strict=True):
            for usual, place, drawn in self._redrawn(views, joints):
                usual.add_reference(place, drawn)

    def look(self, images: Images, proprioception: NDArray[Any]) -> list[CameraFinding]:
        """Return what is found in the pictures of all cameras, one [H, W, 3] rgb each."""
        views = _views(images)
        return [
            usual.finding(picture, place, drawn)
            for picture, (usual, place, drawn) in zip(
                views, self._redrawn(views, proprioception), strict=True
            )
        ]

    def _redrawn(
        self, views: Sequence[Picture], joints: NDArray[Any]
    ) -> list[tuple["_Usual", "_Place", Picture]]:
        """Return how each camera's picture lies on the usual one, and what the model draws of it.

        The model sees each picture as one that stands alone, with shift and light undone.
        """
        places = [
            usual.place(view) for usual, view in zip(self._cameras, views, strict=True)
        ]
        [[drawn]] = self._simulator.redraw([([[place.undone for place in places]], joints[None])])
        return [
            (usual, place, drawn.image if number == 0 else drawn.others[usual.camera])
            for number, (usual, place) in enumerate(zip(self._cameras, places, strict=True))
        ]


@dataclass(frozen=True, kw_only=True)
class _Place:
    """How a picture lies on the usual one."""

    right: int  # px that the scene has moved
    down: int
    gain: Array  # [3] brightness, of the usual
    changed: float  # share of still pixels that differ after shift and light are undone
    undone: Picture  # the picture with shift and light undone


class _Usual:
    """The usual picture of one camera and its limits."""

    def __init__(self, camera: str, pictures: Picture) -> None:
        self.camera = camera
        self._median = np.median(pictures, axis=0) / 255.0
        off = np.abs(pictures / 255.0 - self._median).max(axis=-1)
        self._still = np.quantile(off, STILL_QUANTILE, axis=0) < STILL
        self._moving_camera = bool(self._still.mean() < LEAST_STILL)
        places = [self.place(picture) for picture in pictures]
        self._gain_limit = LEAST_GAIN + max(float(np.abs(p.gain - 1.0).max()) for p in places)
        self._changed_limit = LEAST_CHANGED + BEYOND * max(p.changed for p in places)
        self._error_limit = LEAST_ERROR

    def add_reference(self, place: _Place, redrawn: Picture) -> None:
        """Learn from a start frame how far the model's picture of a usual scene may be off."""
        worst = float(patch_errors(place.undone, redrawn).max())
        self._error_limit = max(self._error_limit, BEYOND * worst)

    def place(self, picture: Picture) -> _Place:
        """Return how a picture lies on the usual one."""
        found = picture / 255.0
        if self._moving_camera:
            return _Place(right=0, down=0, gain=np.ones(3), changed=0.0, undone=picture)
        right, down = self._shift(found)
        moved = _shifted(found, -right, -down)
        gain = self._gain(moved)
        level = moved / gain
        changed = np.abs(level - self._median).max(axis=-1) > STILL
        undone = (np.clip(level, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        return _Place(
            right=right, down=down, gain=gain, changed=float(changed[self._still].mean()),
            undone=undone,
        )

    def finding(self, picture: Picture, place: _Place, redrawn: Picture) -> CameraFinding:
        """Return what is unusual about a picture that lies so and is redrawn so."""
        unknown = patch_errors(place.undone, redrawn) > self._error_limit
        problems = []
        if place.right or place.down:
            ways = [
                f"{abs(count)} px to the {names[count > 0]}"
                for count, names in (
                    (place.right, ("left", "right")), (place.down, ("top", "bottom")),
                ) if count
            ]
            problems.append(
                f"the scene has moved by {' and '.join(ways)}: move the camera back"
            )
        if float(np.abs(place.gain - 1.0).max()) > self._gain_limit:
            red, green, blue = (f"{value:.0%}" for value in place.gain)
            problems.append(
                f"red, green and blue are at {red}, {green} and {blue} of the usual brightness: "
                "restore light and exposure"
            )
        if place.changed > self._changed_limit:
            problems.append(
                f"{place.changed:.0%} of what stands still looks different: compare the scene and "
                "the camera's angle with the usual picture"
            )
        if unknown.any():
            problems.append(
                f"the model cannot draw what is in {int(unknown.sum())} of {unknown.size} patches: "
                "remove unknown objects, or record data with them"
            )
        return CameraFinding(
            camera=self.camera, seen=picture, redrawn=redrawn, unknown=unknown,
            moved_px=(place.right, place.down),
            usual=(self._median * 255.0 + 0.5).astype(np.uint8), problems=tuple(problems),
        )

    def _gain(self, found: Array) -> Array:
        """Return how bright the still pixels are, of the usual, [3]."""
        there = found[self._still].sum(axis=0) + 1e-6
        usual = self._median[self._still].sum(axis=0) + 1e-6
        return np.asarray(there / usual)

    def _shift(self, found: Array) -> tuple[int, int]:
        """Return by how many pixels the scene has moved to the right and down."""
        thin = max(1, found.shape[0] // ROWS)
        some = (slice(None, None, thin), slice(None, None, thin))
        gray = found[some].mean(axis=-1) / max(float(found[self._still].mean()), 1e-6)
        usual = self._median[some].mean(axis=-1) / max(
            float(self._median[self._still].mean()), 1e-6
        )
        far = FARTHEST_PX
        inner = (slice(far, -far), slice(far, -far))
        still = self._still[some][inner]
        if not still.any():
            return 0, 0
        height, width = gray.shape
        errors = {
            (right, down): float(np.abs(
                gray[far + down : height - far + down, far + right : width - far + right]
                - usual[inner]
            )[still].mean())
            for right in range(-far, far + 1) for down in range(-far, far + 1)
        }
        best = min(errors, key=lambda shift: (errors[shift], abs(shift[0]) + abs(shift[1])))
        if errors[best] >= (1.0 - EXPLAINED) * errors[0, 0]:
            return 0, 0
        return thin * best[0], thin * best[1]


def patch_errors(picture: Picture, redrawn: Picture) -> Array:
    """Return the mean difference of patches, 0..1, [H / 8, W / 8]; a rest at the rim is left out.

    A thing that covers part of a patch counts: the largest of the three colours is taken.
    """
    off = np.abs(picture.astype(np.float64) - redrawn.astype(np.float64)) / 255.0
    rows, columns = picture.shape[0] // PATCH, picture.shape[1] // PATCH
    tiles = off[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH, 3)
    return np.asarray(tiles.mean(axis=(1, 3)).max(axis=-1))


def _shifted(picture: Array, right: int, down: int) -> Array:
    """Return a picture moved by whole pixels; the rim repeats."""
    rows = np.clip(np.arange(picture.shape[0]) - down, 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(picture.shape[1]) - right, 0, picture.shape[1] - 1)
    return picture[rows][:, columns]


def _views(images: Images) -> list[Picture]:
    single = isinstance(images, np.ndarray) and images.ndim == 3
    return [np.asarray(images)] if single else [np.asarray(view) for view in images]
