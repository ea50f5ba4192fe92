"""The measure of imagined frames of a task whose plug-in has none: pixels, and nothing else."""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.task_plugin import Differences, FrameColumn, Image, Sights
from hiwm_learning.world_models.evaluation.metrics import rmse

Array = NDArray[np.float64]

# RMSE between two frames, in grey levels of 255: sensor noise and compression stay below the first.
MOVED_LEVELS = 3.0
BAD_LEVELS = 12.0


class PictureMeasure:
    """RMSE between frames; see `hiwm_core.task_plugin.FrameMeasure`."""

    columns = (FrameColumn(key="rmse_median", title="RMSE, median, grey levels", form=".1f"),)
    error_unit = "grey levels"
    bad_error = BAD_LEVELS
    parted_text = f"an RMSE above {BAD_LEVELS:g} grey levels"

    def look(self, frames: Image) -> Sights:
        """Return the frames themselves."""
        return {"frames": frames}

    def differences(self, seen: Sights, true: Sights, measured: Array) -> Differences:
        """Return the RMSE of each frame, grey levels."""
        frames = np.broadcast_to(seen["frames"], true["frames"].shape)
        return {"rmse": rmse(frames, true["frames"])}

    def verdicts(self, sights: Sights) -> Array:
        """Return NaN: pixels do not tell success."""
        return np.full(len(sights["frames"]), np.nan)

    def error(self, differences: Differences) -> Array:
        """Return the RMSE."""
        return differences["rmse"]

    def drift(self, differences: Differences) -> Array:
        """Return the RMSE."""
        return differences["rmse"]

    def moved(self, differences: Differences) -> NDArray[np.bool_]:
        """Return where the picture has changed by more than noise."""
        return np.asarray(differences["rmse"] >= MOVED_LEVELS)

    def parted(self, differences: Differences) -> NDArray[np.bool_]:
        """Return where the picture is bad."""
        return np.asarray(differences["rmse"] > BAD_LEVELS)

    def summary(self, differences: Differences) -> dict[str, float | None]:
        """Return the median RMSE."""
        return {"rmse_median": float(np.median(differences["rmse"]))}
