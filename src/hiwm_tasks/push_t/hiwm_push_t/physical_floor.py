"""How far the stand-in's physics separates two almost equal starts.

    python -m hiwm_push_t.physical_floor DATA... --output runs/floor.json

Contact bifurcates: near an edge of the T the same push goes one way or the other. This command
replays recorded actions twice from steps of recordings, once with the T moved by 1 mm and turned by
0.7 degrees, and compares the two. A model that knows the start no better cannot have a smaller
error. The result also gives the error of the replay against the recording.
The world model's evaluation reads the file with --floor.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiwm_core.atomic_files import replace_file
from hiwm_core.bags.reader import read_segment
from hiwm_core.bags.task_of_data import task_of
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.output_folders import check_output_file, json_with
from hiwm_core.user_paths import path_argument
from hiwm_push_t.goal import ARC_M, POSE_NAMES, goal_of, pose_gap
from hiwm_push_t.measure import BAD_T, MOVING_M
from hiwm_push_t.scene import StandinScene

Array = NDArray[np.float64]

OFF_M, OFF_DEG = 0.001, 0.7
STEPS = (1, *range(5, 191, 5))
EVERY_STEPS, LEAST_STEPS = 12, 50  # between starts in a recording, and after the last start


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What to replay from one step of a recording."""

    object_poses: Array  # [T + 1, 3] recorded x, y, yaw
    arms: Array  # [4] m
    actions: Array  # [T, 4] m


def read_replays(folders: Sequence[Path], embodiment: Embodiment) -> list[Replay]:
    """Return replays from all recordings in folders that have ground-truth labels.

    Unreadable bags are left out and named.

    Raises:
        BagError: no usable recording.
    """
    replays = []
    for path in sorted(p.parent for folder in folders for p in folder.glob("**/metadata.yaml")):
        try:
            segment = read_segment(path, embodiment)
        except BagError as error:
            print(f"left out {path.name}: {error}", file=sys.stderr)
            continue
        if segment.labels is None:
            continue
        for step in range(1, segment.length - LEAST_STEPS - 1, EVERY_STEPS):
            poses = segment.labels.columns(POSE_NAMES)[step:]
            if np.isfinite(poses).all():
                replays.append(Replay(
                    object_poses=poses, arms=segment.measured[step].astype(float),
                    actions=segment.actions[step : segment.length - 1].astype(float),
                ))
    if not replays:
        raise BagError(
            f"no labelled recording with {LEAST_STEPS + 3} frames or more",
            where=", ".join(map(str, folders)),
            remedy="record some on the stand-in with scripts/collect_data",
        )
    return replays


def run(scene: StandinScene, replay: Replay, pose: Array, seconds: float) -> Array:
    """Return the T's poses [T + 1, 3] under a replay's actions, from a given pose.

    Args:
        scene: the scene to step.
        replay: gives arms and actions.
        pose: [3], initial pose of the T.
        seconds: duration of one action.
    """
    scene.arrange(pose, replay.arms)
    poses = [scene.object_pose]
    for action in replay.actions[: max(STEPS)]:
        scene.set_target(action)
        scene.advance(seconds)
        poses.append(scene.object_pose)
    return np.array(poses)


def moved_start(pose: Array, rng: np.random.Generator) -> Array:
    """Return a pose [3] moved 1 mm in a random direction, turned by 0.7 degrees either way."""
    direction = rng.uniform(0, 2 * np.pi)
    turn = np.radians(OFF_DEG) * rng.choice([-1.0, 1.0])
    offset = np.array([OFF_M * np.cos(direction), OFF_M * np.sin(direction), turn])
    return np.asarray(pose + offset)


def summarise(pairs: Sequence[tuple[Array, Array]], size_m: float) -> dict[str, dict[str, float]]:
    """Return for each step the number of pairs and the medians of their difference.

    Args:
        pairs: poses [T + 1, 3] of two runs each. A step counts the pairs whose first run has moved
            the T's edge by 10 mm by then; the first step counts all.
        size_m: size of the T.
    """
    table = {}
    for step in STEPS:
        rows = []
        for plain, other in pairs:
            if min(len(plain), len(other)) <= step:
                continue
            if step == 1 or _edge(plain[0], plain[step]) >= MOVING_M:
                rows.append(pose_gap(plain[step], other[step]))
        if rows:
            place, angle = np.array(rows).T
            bad = np.maximum(place, ARC_M * angle) > BAD_T * size_m
            table[str(step)] = {
                "n": len(rows), "place_median_T": float(np.median(place) / size_m),
                "angle_median_deg": float(np.degrees(np.median(angle))),
                "bad_pose_share": float(bad.mean()),
            }
    return table


def _edge(a: Array, b: Array) -> float:
    place, angle = pose_gap(a, b)
    return max(place, ARC_M * angle)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure from the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="physical_floor", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="+", type=path_argument, help="folders of recordings")
    parser.add_argument("--output", "-o", type=path_argument, required=True, help="JSON to write")
    parser.add_argument("--task", help="name or path of the task (default: that of the bags)")
    parser.add_argument("--starts", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        check_output_file(
            options.output, "a physical floor", json_with("start_off_by", "steps"),
            inputs=options.data,
        )
        task, embodiment = task_of(options.data, options.task)
        replays = read_replays(options.data, embodiment)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rng = np.random.default_rng(options.seed)
    chosen = [replays[i] for i in rng.permutation(len(replays))[: options.starts]]
    goal = goal_of(task)
    scene = StandinScene(goal, embodiment)
    seconds = 1.0 / embodiment.rate_hz
    plain = [run(scene, replay, replay.object_poses[0], seconds) for replay in chosen]
    other = [
        run(scene, replay, moved_start(replay.object_poses[0], rng), seconds)
        for replay in chosen
    ]
    recorded = [replay.object_poses for replay in chosen]
    numbers = {
        "start_off_by": {"place_m": OFF_M, "angle_deg": OFF_DEG}, "starts": len(chosen),
        "steps": summarise(list(zip(plain, other, strict=True)), goal.size_m),
        "replay_against_recording": summarise(list(zip(recorded, plain, strict=True)), goal.size_m),
    }
    replace_file(options.output, json.dumps(numbers, indent=1) + "\n")
    print(json.dumps(numbers["steps"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
