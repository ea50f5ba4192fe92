"""Start frames for imagined episodes, taken from recorded resets.

    python -m hiwm_learning.world_models.starts SESSION... --output FILE.npz

A session is a recorded evaluation on the robot: its trials' first frames, with the starts that the
trials asked for, so that imagined trials are paired with it, start by start. Recorded apart from
training data they are held out as well.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags import session_bags
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.output_folders import check_output_file
from hiwm_core.trial_lines import TRIALS_FILE, trial_lines
from hiwm_core.user_paths import path_argument
from hiwm_learning.checkpoints import write_file
from hiwm_learning.datasets.usable_segments import usable_segment
from hiwm_learning.training_command import is_start_file
from hiwm_learning.world_models.recordings import start_images


def first_frames(
    sessions: Sequence[Path], camera: str = "", report: Callable[[str], None] = print
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a start file, one row for each recorded trial.

    Args:
        sessions: session folders of evaluations.
        camera: the world model's only camera; all of the embodiment when empty.
        report: takes a line for each bag left out.

    Returns:
        names [N], images [N, H, W, 3] uint8 of the first camera, images_1 and so on of further
        ones, proprioception [N, P] and start_values [N, S] in the order of the task's start_names,
        as the trials asked for them.

    Raises:
        BagError: no bag of a trial.
    """
    names, states, values = [], [], []
    images: list[list[NDArray[np.uint8]]] = []
    for session in sessions:
        trials = _trials(session)
        for bag in session_bags(session):
            segment = usable_segment(bag, None, lambda text: report(f"left out {text}"))
            if segment is None:
                continue
            trial = trials.get(segment.lineage.episode_id)
            if trial is None or not segment.length or segment.steps[0] != 0:
                continue
            views = [camera] if camera else [one.name for one in segment.embodiment.cameras]
            names.append(f"{session.name}/{trial['trial']:04d}")
            images.append([segment.observations[view][0] for view in views])
            states.append(segment.proprio[0])
            values.append(trial["start"])
    if not names:
        raise BagError(
            "no bag of a trial", where=", ".join(map(str, sessions)),
            remedy="record an evaluation: launch/evaluate.launch.xml world:=hardware record:=true",
        )
    return {
        "names": np.array(names),
        **{start_images(i): np.stack(view) for i, view in enumerate(zip(*images, strict=True))},
        "proprioception": np.stack(states).astype(np.float32),
        "start_values": np.array(values, np.float64),
    }


def _trials(session: Path) -> dict[str, dict[str, Any]]:
    """Return the finished trials of an evaluation by episode."""
    path = session / TRIALS_FILE
    if not path.exists():
        return {}
    return {trial["episode_id"]: trial for trial in trial_lines(path).values()
            if trial["episode_id"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a start file from the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="starts", description=__doc__)
    parser.add_argument("sessions", nargs="+", type=path_argument)
    parser.add_argument(
        "--output", "-o", required=True, type=path_argument, help="start file, .npz"
    )
    parser.add_argument(
        "--camera", default="", help="of the world model, if it draws one; all by default"
    )
    options = parser.parse_args(arguments)
    try:
        check_output_file(
            options.output, "a start file", is_start_file, inputs=options.sessions
        )
        arrays = first_frames(options.sessions, options.camera)
        write_file(
            options.output,
            lambda file: np.savez_compressed(file, allow_pickle=False, **arrays),
        )
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {len(arrays['names'])} start frames")
    return 0


if __name__ == "__main__":
    sys.exit(main())
