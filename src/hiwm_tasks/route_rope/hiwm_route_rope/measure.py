"""What frames show of the rope, and how far that is from the truth.

Colours find the rope and the clips. Pixels that an arm hides in either frame do not count. See
`hiwm_core.task_plugin.FrameMeasure`.
"""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.task_plugin import Differences, FrameColumn, Image, Sights
from hiwm_route_rope.names import Array
from hiwm_route_rope.shape import CLIP_LENGTH_M, RADIUS_M
from hiwm_route_rope.vision import clip_masks, clip_pose, rope_mask
from hiwm_yam_pair.pictures import hidden_by_arms, median, packed, share, unpacked
from hiwm_yam_pair.top_camera import to_pixels

# Distances are in pixels: 3.5 mm of the table in a picture of 128 px.
MOVED_PX = 2.0
BAD_PX = 3.0  # 10 mm: a hand that goes there misses the rope
PARTED_PX = 6.0
LEAST_PX = 20  # with fewer pixels of rope than this, a frame shows nothing
# A rope in a clip passes within this of the channel's middle, at three places along it [m].
_BESIDE_M, _ALONG_M = 0.008, 0.35 * CLIP_LENGTH_M


class RopeMeasure:
    """Errors of the rope's place, and of the clips in which it lies."""

    columns = (
        FrameColumn(key="rope_median_px", title="rope to rope, median, pixels", form=".2f"),
        FrameColumn(
            key="bad_share", title=f"rope off by more than {BAD_PX:g} pixels, share", form=".2f"
        ),
        FrameColumn(key="shown_median", title="rope shown, share of the true", form=".2f"),
        FrameColumn(key="clips_right_share", title="both clips as in truth, share", form=".2f"),
    )
    error_unit = "pixels"
    bad_error = BAD_PX
    parted_text = f"{PARTED_PX:g} pixels off"

    def look(self, frames: Image) -> Sights:
        """Return what is seen in frames [T, H, W, 3] of a camera that stands still.

        Returns:
            rope, hidden: where the rope and the arms are, as bits [T, H, W / 8];
            in_clips [T, 2]: 1 where the rope runs through the left and the right clip, 0 where it
            does not, NaN where an arm hides that or no clip is found.
        """
        rope, hidden = rope_mask(frames), hidden_by_arms(frames)
        clips = [_in_clip(rope, hidden, mask) for mask in clip_masks(frames)]
        return {"rope": packed(rope), "hidden": packed(hidden), "in_clips": np.stack(clips, axis=1)}

    def differences(self, seen: Sights, true: Sights, measured: Array) -> Differences:
        """Return the differences of sights [T] or [1] from true ones [T].

        Returns:
            rope_px [T], mean distance to the nearest pixel of the other rope, both ways; infinite
            where only the truth shows a rope, or the frame shows arms instead; NaN where the truth
            shows none. shown [T], the seen rope's pixels as a share of the true ones'. clips_wrong
            [T], how many clips are wrong, NaN where no clip is known.
        """
        count = len(true["rope"])
        rope, hidden = unpacked(seen["rope"]), unpacked(seen["hidden"])
        place, shown = np.full(count, np.nan), np.full(count, np.nan)
        for t, (true_rope, true_hidden) in enumerate(
            zip(unpacked(true["rope"]), unpacked(true["hidden"]), strict=True)
        ):
            at = min(t, len(rope) - 1)
            if (true_rope & ~true_hidden).sum() >= LEAST_PX:
                place[t], shown[t] = _apart(rope[at], true_rope, ~(hidden[at] | true_hidden))
        wrong = np.abs(seen["in_clips"] - true["in_clips"])
        known = ~np.isnan(wrong)
        return {
            "rope_px": place, "shown": shown,
            "clips_wrong": np.where(known.any(axis=1), np.nansum(wrong, axis=1), np.nan),
        }

    def verdicts(self, sights: Sights) -> Array:
        """Return 1 where the rope runs through both clips, 0 where it misses one, else NaN."""
        in_clips = sights["in_clips"]
        return np.where((in_clips == 0).any(axis=1), 0.0, in_clips.min(axis=1))

    def error(self, differences: Differences) -> Array:
        """Return the distance of the ropes."""
        return differences["rope_px"]

    def drift(self, differences: Differences) -> Array:
        """Return the distance of the ropes."""
        return differences["rope_px"]

    def moved(self, differences: Differences) -> NDArray[np.bool_]:
        """Return where the rope has moved."""
        return np.asarray(differences["rope_px"] >= MOVED_PX)

    def parted(self, differences: Differences) -> NDArray[np.bool_]:
        """Return where the distance is beyond what counts as parted."""
        return np.asarray(differences["rope_px"] > PARTED_PX)

    def summary(self, differences: Differences) -> dict[str, float | None]:
        """Return the number of each column over M rollouts."""
        place, wrong = differences["rope_px"], differences["clips_wrong"]
        return {
            "rope_median_px": median(place),
            "bad_share": share(place > BAD_PX, ~np.isnan(place)),
            "shown_median": median(differences["shown"]),
            "clips_right_share": share(wrong == 0, ~np.isnan(wrong)),
        }


def _apart(rope: NDArray[np.bool_], true: NDArray[np.bool_], clear: NDArray[np.bool_]) -> tuple[
    float, float
]:
    """Return the distance of two ropes [px], and the share of the true one that is shown."""
    one, other = (np.argwhere(mask & clear).astype(np.float32) for mask in (rope, true))
    if min(len(one), len(other)) < LEAST_PX:
        return np.inf, len(one) / max(len(other), LEAST_PX)
    # To all pixels of the other rope, as the nearest one may lie at an arm's border.
    ways = _nearest(one, np.argwhere(true)).mean(), _nearest(other, np.argwhere(rope)).mean()
    return float(sum(ways)) / 2, len(one) / len(other)


def _nearest(places: NDArray[np.float32], others: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the distance from each place [N, 2] to the nearest of the others [M, 2]."""
    to = others.astype(np.float32)
    squared = (
        (places**2).sum(axis=1)[:, None] + (to**2).sum(axis=1)[None] - 2.0 * places @ to.T
    )
    return np.sqrt(np.maximum(squared.min(axis=1), 0.0))


def _in_clip(
    rope: NDArray[np.bool_], hidden: NDArray[np.bool_], clip: NDArray[np.bool_]
) -> Array:
    """Return whether the rope runs through a clip, [T]; all masks are [T, H, W].

    Clips do not move: the frame that shows most of one tells where it is.
    """
    pose = clip_pose(clip[int(clip.sum(axis=(1, 2)).argmax())])
    if pose is None:
        return np.full(len(rope), np.nan)
    x, y, yaw = pose
    through, unknown = np.ones(len(rope), bool), np.zeros(len(rope), bool)
    for along in (-_ALONG_M, 0.0, _ALONG_M):
        across = np.linspace(-_BESIDE_M, _BESIDE_M, 9)
        places = np.stack([
            x + np.cos(yaw) * across - np.sin(yaw) * along,
            y + np.sin(yaw) * across + np.cos(yaw) * along,
        ], axis=1)
        pixels = np.rint(to_pixels(places, rope.shape[1], RADIUS_M)).astype(int)
        rows, columns = np.clip(pixels, 0, rope.shape[1] - 1).T
        there = rope[:, rows, columns].any(axis=1)
        unknown |= ~there & hidden[:, rows, columns].any(axis=1)
        through &= there
    return np.where(unknown, np.nan, through)
