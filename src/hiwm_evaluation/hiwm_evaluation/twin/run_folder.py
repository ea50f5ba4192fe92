"""Writes the folder of a twin; see `hiwm_core.twin_folder`."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hiwm_core.atomic_files import replace_file
from hiwm_core.output_folders import check_output_folder, claim_folder, folder_mark
from hiwm_core.task_plugin import FrameMeasure
from hiwm_core.twin_folder import NUMBERS, TABLE, VIDEO, VIEWS, WHAT, view_path
from hiwm_evaluation.twin.lockstep import Twin
from hiwm_evaluation.twin.picture import TwinPicture, views
from hiwm_evaluation.twin.video import write_video


def claim(folder: Path, inputs: list[Path]) -> None:
    """Create the folder, or take over one of an earlier run. Raises ConfigError otherwise."""
    claim_folder(folder, WHAT, inputs=inputs)


def check(folder: Path, inputs: list[Path]) -> None:
    """Raise ConfigError if `claim` would."""
    check_output_folder(folder, WHAT, lambda path: folder_mark(path) == WHAT, inputs=inputs)


def write(
    folder: Path, twin: Twin, measure: FrameMeasure, about: Mapping[str, Any], fps: float,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Write a twin's files; return the content of `twin.json`.

    Args:
        folder: claimed.
        twin: with at least one step.
        measure: of the frames of its first camera.
        about: what ran, JSON values.
        fps: of the video.
        report: takes progress lines.
    """
    rows = twin.rows(measure)
    numbers = {
        **about, "cameras": list(twin.cameras), "fps": fps,
        "measure": {
            "error_unit": measure.error_unit, "bad_error": measure.bad_error,
            "columns": {column.key: column.title for column in measure.columns},
        },
        "rows": rows,
    }
    (folder / NUMBERS).unlink(missing_ok=True)  # until all files are those of this run
    (folder / VIEWS).mkdir(exist_ok=True)
    for old in (folder / VIEWS).glob("*.png"):
        old.unlink()
    for number, step in enumerate(twin.steps):
        shown = np.concatenate(views(step, twin.cameras[0]), axis=1)
        Image.fromarray(shown).save(view_path(folder, number))
    report(f"wrote {len(rows)} views")
    picture = TwinPicture(twin.cameras, rows, measure.error_unit, measure.bad_error)
    write_video(
        folder / VIDEO, (picture.draw(step, n) for n, step in enumerate(twin.steps)), fps
    )
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(folder / TABLE, table.getvalue())
    replace_file(folder / NUMBERS, json.dumps(numbers, indent=1) + "\n")
    return numbers
