"""Measuring a world model open loop on held-out recordings, by what can be seen in its frames.

    python -m hiwm_learning.world_model.evaluate models/world_push_t.safetensors DATA... -o FOLDER

From held-out starts the recorded actions are replayed in imagination; a colour segmentation finds
the T and the pushers in true and imagined frames alike, so that the model is judged by its pictures
and not by its own latents. Writes numbers, the model's card and contact sheets.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.push_t import wrap
from hiwm_core.table_vision import TableSight, TableVision
from hiwm_core.task import load_task
from hiwm_learning.model_card import write_card
from hiwm_learning.world_model.appearance import arm_poses
from hiwm_learning.world_model.contact_sheet import draw_contact_sheet
from hiwm_learning.world_model.layers import frames_to_bytes, frames_to_float
from hiwm_learning.world_model.model import WorldModel, load_world_model
from hiwm_learning.world_model.recordings import Recording, read_recordings
from hiwm_learning.world_model.registration import register

HORIZONS = (1, 10, 25, 50, 100)
IDLE_STEPS = 100
# The T counts as moving when it goes this far, or turns its rim this far, within the horizon.
MOVING_M = 0.01
ARC_M = 0.06
T_UNITS = 4.0  # the T's size: the length of its bar
WHOLE = 0.8  # overlap with the best-fitting rigid T above which the T is whole


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """True and imagined frames from one start."""

    true: NDArray[np.uint8]  # [T + 1, H, W, 3]
    imagined: NDArray[np.uint8]  # [T + 1, H, W, 3]
    pushers: NDArray[np.float32]  # [T + 1, P] recorded proprioception, m


def held_out_starts(
    recordings: Sequence[Recording], most: int, seed: int
) -> list[tuple[Recording, int]]:
    """Return starts drawn evenly over held-out recordings with 50 steps or more to go."""
    rng = np.random.default_rng(seed)
    pool = [
        (recording, int(t))
        for recording in recordings if recording.held_out
        for t in range(1, len(recording.frames) - 51, 12)
    ]
    return [pool[i] for i in rng.permutation(len(pool))[:most]]


@torch.no_grad()
def imagine(model: WorldModel, recording: Recording, start: int, steps: int) -> Rollout:
    """Return a rollout of recorded actions from one frame."""
    steps = min(steps, len(recording.frames) - 1 - start)
    window = slice(start, start + 1)
    poses, _ = register(
        model.decoder, frames_to_float(recording.frames[window]),
        arm_poses(model.decoder, recording.proprioception[window]), 0, keep=3,
    )
    targets = model.targets(recording.actions[start : start + steps])
    line = [poses]
    before = poses
    for k in range(steps):
        following, _ = model.dynamics.step(line[-1], before, targets[k : k + 1])
        before = line[-1]
        line.append(following)
    imagined = frames_to_bytes(model.decoder(torch.cat(line))).numpy()
    rows = slice(start, start + steps + 1)
    return Rollout(
        true=recording.frames[rows].numpy(), imagined=imagined,
        pushers=recording.proprioception[rows].numpy(),
    )


@torch.no_grad()
def idle_drift(
    model: WorldModel, vision: TableVision, starts: Sequence[tuple[Recording, int]]
) -> NDArray[np.float64]:
    """Return how far the seen T strays, m, when both arms stay where they are for 100 steps."""
    drifts = []
    for recording, start in starts:
        window = slice(start, start + 1)
        poses, _ = register(
            model.decoder, frames_to_float(recording.frames[window]),
            arm_poses(model.decoder, recording.proprioception[window]), 0, keep=3,
        )
        first = vision.look(frames_to_bytes(model.decoder(poses))[0].numpy())
        before, now = poses, poses
        for _ in range(IDLE_STEPS):
            following, _ = model.dynamics.step(now, before, now[:, 1:, :2])
            before, now = now, following
        last = vision.look(frames_to_bytes(model.decoder(now))[0].numpy())
        if first.object_pose is not None and last.object_pose is not None:
            stray = last.object_pose[:2] - first.object_pose[:2]
            drifts.append(float(np.linalg.norm(stray)))
        else:
            drifts.append(np.inf)
    return np.array(drifts)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of two frames, dB."""
    error = float(((a.astype(float) - b.astype(float)) ** 2).mean())
    return 99.0 if error == 0 else 10 * float(np.log10(255.0**2 / error))


def measure(
    rollouts: Sequence[Rollout], vision: TableVision, size_m: float
) -> dict[str, dict[str, float]]:
    """Return numbers by horizon, over rollouts in which the T moves within that horizon.

    Args:
        rollouts: true and imagined frames.
        vision: finds the T and the pushers.
        size_m: of the T, for errors in T sizes.
    """
    table: dict[str, dict[str, float]] = {}
    for horizon in HORIZONS:
        rows: list[tuple[float, ...]] = []
        for rollout in rollouts:
            if len(rollout.true) <= horizon:
                continue
            first, true = vision.look(rollout.true[0]), vision.look(rollout.true[horizon])
            if first.object_pose is None or true.object_pose is None:
                continue
            if horizon > 1 and _distance(first, true) < MOVING_M:
                continue
            seen = vision.look(rollout.imagined[horizon])
            rows.append((
                psnr(rollout.imagined[horizon], rollout.true[horizon]),
                psnr(rollout.true[0], rollout.true[horizon]),
                _place_error(seen, true), _place_error(first, true),
                _angle_error(seen, true), _angle_error(first, true),
                _pusher_error(seen, rollout.pushers[horizon]), seen.overlap, true.overlap,
            ))
        if not rows:
            continue
        a = np.array(rows)
        table[str(horizon)] = {
            "rollouts": float(len(a)),
            "psnr_db": float(a[:, 0].mean()), "psnr_copy_db": float(a[:, 1].mean()),
            "place_median_T": float(np.median(a[:, 2]) / size_m),
            "place_copy_median_T": float(np.median(a[:, 3]) / size_m),
            "angle_median_deg": float(np.degrees(np.median(a[:, 4]))),
            "angle_copy_median_deg": float(np.degrees(np.median(a[:, 5]))),
            "pushers_median_mm": float(np.median(a[:, 6]) * 1e3),
            "pushers_within_10mm": float((a[:, 6] < 0.01).mean()),
            "overlap_median": float(np.median(a[:, 7])),
            "whole_share": float((a[:, 7] >= WHOLE).mean()),
            "whole_share_true": float((a[:, 8] >= WHOLE).mean()),
        }
    return table


def _distance(a: TableSight, b: TableSight) -> float:
    return max(_place_error(a, b), ARC_M * _angle_error(a, b))


def _place_error(a: TableSight, b: TableSight) -> float:
    if a.object_pose is None or b.object_pose is None:
        return float("inf")
    return float(np.linalg.norm(a.object_pose[:2] - b.object_pose[:2]))


def _angle_error(a: TableSight, b: TableSight) -> float:
    if a.object_pose is None or b.object_pose is None:
        return float(np.pi)
    return abs(wrap(float(a.object_pose[2] - b.object_pose[2])))


def _pusher_error(seen: TableSight, true: NDArray[np.float32]) -> float:
    """Return the larger of both pushers' errors, m; infinite where one is not in sight."""
    error = np.linalg.norm((seen.pushers - true).reshape(2, 2), axis=1).max()
    return float(error) if np.isfinite(error) else float("inf")


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate from the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="evaluate_world_model", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", nargs="+", type=Path, help="the folders it was trained from")
    parser.add_argument("--output", "-o", type=Path, help="folder for pictures and numbers")
    parser.add_argument("--task", default="push_t")
    parser.add_argument("--starts", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        return _evaluate(options)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _evaluate(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    task = load_task(options.task)
    embodiment = load_embodiment(task.embodiment)
    model, checkpoint = load_world_model(options.checkpoint, embodiment.hash)
    config = model.config
    vision = TableVision(config.view_m, task.object_unit_m)
    recordings = read_recordings(options.data, config.camera, embodiment, print)
    starts = held_out_starts(recordings, options.starts, options.seed)
    if not starts:
        raise BagError(
            "no held-out segment of 60 frames or more", where=str(options.data[0]),
            remedy="record ten or more episodes of each kind",
        )
    rollouts = []
    for number, (recording, start) in enumerate(starts):
        rollouts.append(imagine(model, recording, start, max(HORIZONS)))
        if number % 40 == 39:
            print(f"imagined {number + 1} of {len(starts)} rollouts", flush=True)
    size = T_UNITS * task.object_unit_m
    table = measure(rollouts, vision, size)
    drift = idle_drift(model, vision, starts[:60]) / size
    numbers = {
        "checkpoint": checkpoint.hash, "starts": len(starts), "horizons": table,
        "idle_drift_T": {
            "median": float(np.median(drift)), "worst": float(drift.max()),
            "under_0.04": float((drift < 0.04).mean()), "n": len(drift),
        },
    }
    folder = options.output or options.checkpoint.parent
    folder.mkdir(parents=True, exist_ok=True)
    stem = options.checkpoint.stem
    (folder / f"{stem}.evaluation.json").write_text(json.dumps(numbers, indent=1) + "\n")
    moving = [
        r for r in rollouts
        if len(r.true) > 50 and _distance(vision.look(r.true[0]), vision.look(r.true[50])) > 0.03
    ]
    draw_contact_sheet(
        [(r.true, r.imagined) for r in moving[:6]], folder / f"{stem}.contact_sheet.png"
    )
    lines = _table_lines(table)
    print("\n".join(lines))
    print("idle drift, T sizes:", numbers["idle_drift_T"])
    write_card(
        options.checkpoint, checkpoint.info, checkpoint.hash,
        title=f"World model {checkpoint.label}",
        paragraphs=[
            "A layered world model: learned canvases of a background, one rigid object and the "
            "arms, moved by a learned ensemble from pose to pose. The object's rigidity is built "
            "in: its pose, found by registering frames to its canvas, is the explicit state, and "
            "nothing but that pose is predicted. It is trained from images, joint states and "
            "commands; ground truth labels the progress head and the start frames alone.",
            f"Held out: every tenth bag. Open loop from {len(starts)} starts with the recorded "
            "actions, the T found by colour segmentation in true and imagined frames; a horizon "
            "counts the rollouts in which the T moves 10 mm or more within it.",
        ],
        numbers={
            "Episodes by kind": str(checkpoint.info.data.get("episodes_by_kind")),
            "Frames by kind": str(checkpoint.info.data.get("frames_by_kind")),
            **{f"{h} steps": _horizon_line(row) for h, row in table.items()},
            "100 idle steps": (
                f"T strays {np.median(drift):.4f} T (median), {drift.max():.4f} T (worst of "
                f"{len(drift)})"
            ),
        },
    )
    return 0


def _horizon_line(row: dict[str, float]) -> str:
    return (
        f"PSNR {row['psnr_db']:.1f} dB, T off by {row['place_median_T']:.3f} T and "
        f"{row['angle_median_deg']:.1f} degrees (medians), pushers within 10 mm in "
        f"{100 * row['pushers_within_10mm']:.0f} %, T whole in {100 * row['whole_share']:.0f} %, "
        f"n = {row['rollouts']:.0f}"
    )


def _table_lines(table: dict[str, dict[str, float]]) -> list[str]:
    keys = list(next(iter(table.values())))
    lines = ["steps".ljust(24) + "".join(h.rjust(10) for h in table)]
    return lines + [
        key.ljust(24) + "".join(f"{row[key]:10.3f}" for row in table.values()) for key in keys
    ]


if __name__ == "__main__":
    sys.exit(main())
