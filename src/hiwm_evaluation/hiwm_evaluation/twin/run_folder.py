"""Writes the folder of a twin; see `hiwm_core.twin_folder`."""

import csv
import io
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hiwm_core.atomic_files import replace_file
from hiwm_core.output_folders import check_output_folder, claim_folder, folder_mark
from hiwm_core.task_plugin import FrameMeasure
from hiwm_core.twin_folder import NUMBERS, TABLE, VIDEO, VIEWS, WHAT, view_path
from hiwm_evaluation.twin.lockstep import Twin, TwinStep
from hiwm_evaluation.twin.picture import TwinPicture, views
from hiwm_evaluation.twin.video import write_video

TELL_S = 0.5  # between two writings of the numbers so far


def claim(folder: Path, inputs: list[Path]) -> None:
    """Create the folder, or take over one of an earlier run. Raises ConfigError otherwise."""
    claim_folder(folder, WHAT, inputs=inputs)


def check(folder: Path, inputs: list[Path]) -> None:
    """Raise ConfigError if `claim` would."""
    check_output_folder(folder, WHAT, lambda path: folder_mark(path) == WHAT, inputs=inputs)


class TwinFiles:
    """The files of one run, written while it runs, so that people can watch it.

    Args:
        folder: claimed; files of an earlier run are deleted.
        twin: that the run fills.
        measure: of the frames of its first camera.
        about: what runs, JSON values.
        fps: of the video.
    """

    def __init__(
        self, folder: Path, twin: Twin, measure: FrameMeasure, about: Mapping[str, Any], fps: float
    ) -> None:
        self._folder, self._twin, self._measure, self._fps = folder, twin, measure, fps
        self._about = {
            **about, "cameras": list(twin.cameras), "fps": fps,
            "measure": {
                "error_unit": measure.error_unit, "bad_error": measure.bad_error,
                "columns": {column.key: column.title for column in measure.columns},
            },
        }
        self._rows: list[dict[str, float | None]] = []
        self._told = -math.inf  # steady clock
        for old in (NUMBERS, TABLE, VIDEO):
            (folder / old).unlink(missing_ok=True)
        (folder / VIEWS).mkdir(exist_ok=True)
        for picture in (folder / VIEWS).glob("*.png"):
            picture.unlink()

    def add(self, step: TwinStep) -> None:
        """Write the views of the twin's last step, and from time to time the numbers so far."""
        shown = np.concatenate(views(step, self._twin.cameras[0]), axis=1)
        Image.fromarray(shown).save(view_path(self._folder, len(self._twin.steps) - 1))
        if time.monotonic() - self._told >= TELL_S:
            self._rows += self._twin.rows(self._measure, len(self._rows))
            self._write(self._rows, running=True, interrupted=False)
            self._told = time.monotonic()

    def finish(self, *, interrupted: bool) -> dict[str, Any]:
        """Write table, all numbers and video; return the content of `twin.json`.

        The video takes longest, so it is last: whoever kills the run then loses nothing else.
        """
        rows = self._twin.rows(self._measure)
        table = io.StringIO()
        writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        replace_file(self._folder / TABLE, table.getvalue())
        self._write(rows, running=True, interrupted=interrupted)
        picture = TwinPicture(
            self._twin.cameras, rows, self._measure.error_unit, self._measure.bad_error
        )
        write_video(
            self._folder / VIDEO,
            (picture.draw(step, n) for n, step in enumerate(self._twin.steps)), self._fps,
        )
        return self._write(rows, running=False, interrupted=interrupted)

    def _write(
        self, rows: list[dict[str, float | None]], *, running: bool, interrupted: bool
    ) -> dict[str, Any]:
        numbers = {**self._about, "running": running, "interrupted": interrupted, "rows": rows}
        replace_file(self._folder / NUMBERS, json.dumps(numbers, indent=1) + "\n")
        return numbers
