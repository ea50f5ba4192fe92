"""What frames show of the towel, and how far that is from the truth.

Colours tell front, back and table apart. Pixels that an arm hides in either frame do not count. See
`hiwm_core.task_plugin.FrameMeasure`.
"""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.task_plugin import Differences, FrameColumn, Image, Sights
from hiwm_fold_towel.names import LENGTH_M, WIDTH_M, Array
from hiwm_fold_towel.vision import sides
from hiwm_yam_pair.pictures import hidden_by_arms, median, packed, share, unpacked
from hiwm_yam_pair.top_camera import metres_per_pixel

# A folded towel covers half of the flat one's area, and shows half of its back. Less than the least
# is a towel behind an arm.
FOLDED, FOLDED_BACK, LEAST_FOLDED = 0.6, 0.3, 0.3
# Areas are in shares of the flat towel's. The towel has moved if this much shows something else.
MOVED = 0.12
BAD = 0.15  # a corner is wrong by its own size: a hand that goes there may miss it
PARTED = 0.4
# With less of the towel in sight than this, a frame shows nothing.
LEAST = 0.1


class TowelMeasure:
    """Errors of the towel's outline and of the side that it shows."""

    columns = (
        FrameColumn(key="wrong_median", title="wrong area, median, towel areas"),
        FrameColumn(key="bad_share", title=f"wrong area above {BAD:g}, share", form=".2f"),
        FrameColumn(key="outline_iou_median", title="towel's outline, IoU, median"),
        FrameColumn(key="back_median", title="error of the back's area, median, towel areas"),
    )
    error_unit = "towel areas"
    bad_error = BAD
    parted_text = f"{PARTED:g} towel areas wrong"

    def look(self, frames: Image) -> Sights:
        """Return where frames [T, H, W, 3] show front, back and arms, as bits [T, H, W / 8]."""
        front, back = sides(frames)
        return {
            "front": packed(front), "back": packed(back), "hidden": packed(hidden_by_arms(frames)),
        }

    def differences(self, seen: Sights, true: Sights, measured: Array) -> Differences:
        """Return the differences of sights [T] or [1] from true ones [T].

        Returns:
            wrong [T], area that shows another side, or towel instead of table; outline_iou [T];
            back [T], error of the area of the back. NaN where the true frame shows no towel.
        """
        seen = {name: unpacked(bits) for name, bits in seen.items()}
        true = {name: unpacked(bits) for name, bits in true.items()}
        flat = LENGTH_M * WIDTH_M / metres_per_pixel(true["hidden"].shape[1]) ** 2
        there = (true["front"] | true["back"]) & ~true["hidden"]
        known = _count(there) >= LEAST * flat
        # A frame that shows arms instead of the whole towel has lost it.
        lost = _count(there & ~seen["hidden"]) < LEAST * flat
        clear = ~true["hidden"] & (~seen["hidden"] | lost[:, None, None])
        front, back, true_front, true_back = (
            sights[side] & clear for sights in (seen, true) for side in ("front", "back")
        )
        towel, true_towel = front | back, true_front | true_back
        union = _count(towel | true_towel)
        with np.errstate(invalid="ignore"):
            found = {
                "wrong": _count((front ^ true_front) | (back ^ true_back)) / flat,
                "outline_iou": _count(towel & true_towel) / union,
                "back": np.abs(_count(back) - _count(true_back)) / flat,
            }
        return {name: np.where(known, values, np.nan) for name, values in found.items()}

    def verdicts(self, sights: Sights) -> Array:
        """Return 1 where the towel covers as little as a folded one and shows its back, else 0.

        NaN where arms hide much of it, or no towel is seen.
        """
        front, back, hidden = (unpacked(sights[name]) for name in ("front", "back", "hidden"))
        flat = LENGTH_M * WIDTH_M / metres_per_pixel(hidden.shape[1]) ** 2
        towel = front | back
        covered, shown = _count(towel) / flat, _count(back) / flat
        folded = (covered <= FOLDED) & (shown >= FOLDED_BACK)
        return np.where(covered < LEAST_FOLDED, np.nan, folded.astype(np.float64))

    def error(self, differences: Differences) -> Array:
        """Return the wrong area."""
        return differences["wrong"]

    def drift(self, differences: Differences) -> Array:
        """Return the wrong area."""
        return differences["wrong"]

    def moved(self, differences: Differences) -> NDArray[np.bool_]:
        """Return where the towel shows something else."""
        return np.asarray(differences["wrong"] >= MOVED)

    def parted(self, differences: Differences) -> NDArray[np.bool_]:
        """Return where the area is beyond what counts as parted."""
        return np.asarray(differences["wrong"] > PARTED)

    def summary(self, differences: Differences) -> dict[str, float | None]:
        """Return the number of each column over M rollouts."""
        wrong = differences["wrong"]
        return {
            "wrong_median": median(wrong), "bad_share": share(wrong > BAD, ~np.isnan(wrong)),
            "outline_iou_median": median(differences["outline_iou"]),
            "back_median": median(differences["back"]),
        }


def _count(mask: NDArray[np.bool_]) -> Array:
    """Return the number of pixels of each frame [T]."""
    return mask.sum(axis=(1, 2)).astype(np.float64)
