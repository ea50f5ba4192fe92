"""One model open loop from held-out starts: what is drawn, seen and compared at every step.

`measure` gives all numbers of an evaluation; evaluate.py writes them down.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiwm_core.embodiment import Embodiment
from hiwm_core.limits import Limiter
from hiwm_core.table_vision import TableVision
from hiwm_core.task import Task
from hiwm_learning.world_model import scores
from hiwm_learning.world_model.comparison import (
    Comparison,
    Sights,
    Truth,
    compare,
    look_along,
    stack,
)
from hiwm_learning.world_model.latency import latency
from hiwm_learning.world_model.metrics import finite
from hiwm_learning.world_model.model import WorldModel
from hiwm_learning.world_model.recordings import Recording
from hiwm_learning.world_model.rollouts import (
    Start,
    draw,
    exchanged_targets,
    imagine,
    recorded_targets,
    start_poses,
    still_targets,
)
from hiwm_learning.world_model.tracking import track

HORIZONS = (1, 10, 25, 50, 100, 140, 190)
# What other actions do is told at these, what trust foretells at those.
ACTION_HORIZONS, TRUST_HORIZONS = (10, 50), (10, 25, 50, 100)
CURVE_STEPS = (1, *range(5, 141, 5))
IDLE_STARTS, IDLE_STEPS, IDLE_T = 60, 100, 0.04
T_UNITS = 4.0  # the T's size: the length of its bar
SHEET_ROWS, SHEET_STEP, SHEET_M = 6, 50, 0.03
LATENCY_REPEATS = 200


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A held-out recording as it is seen, and as it is registered and drawn again."""

    sights: Sights
    poses: Tensor  # [T, L, 4] registered
    redrawn: NDArray[np.uint8]  # [T, H, W, 3]
    redrawn_sights: Sights


class Evaluation:
    """One model, its held-out starts, and all that was measured.

    Args:
        model: ready to run.
        task: gives the T and what counts as success.
        recordings: those held out are used.
        starts: to imagine on from.
        report: takes progress lines.
    """

    def __init__(
        self, model: WorldModel, task: Task, recordings: Sequence[Recording],
        starts: Sequence[Start], report: Callable[[str], None],
    ) -> None:
        self._report = report
        self.model = model
        self.task = task
        self.size_m = T_UNITS * task.object_unit_m
        self.vision = TableVision(model.config.view_m, task.object_unit_m)
        self.recordings = [r for r in recordings if r.held_out]
        self.starts = starts
        self.steps = min(max(HORIZONS), max(start.ahead for start in starts))
        self.readings = self._read()
        self.poses = start_poses(model, starts)
        self.targets = recorded_targets(model, starts, self.steps)
        self.rollouts = imagine(model, self.poses, self.targets)

    @torch.no_grad()
    def _read(self) -> dict[str, Reading]:
        found = track(
            self.model.decoder, [(r.frames, r.proprioception) for r in self.recordings],
            self._report,
        )
        readings = {}
        for recording, (poses, _) in zip(self.recordings, found, strict=True):
            redrawn = draw(self.model, poses)
            readings[recording.name] = Reading(
                sights=look_along(self.vision, recording.frames.numpy()), poses=poses,
                redrawn=redrawn, redrawn_sights=look_along(self.vision, redrawn),
            )
        return readings

    def truth(self, start: Start, steps: int) -> Truth:
        """Return what was recorded for some steps from a start, or till the recording's end."""
        rows = slice(start.step, start.step + steps + 1)
        return Truth(
            frames=start.recording.frames[rows].numpy(),
            sights=_part(self.readings[start.recording.name].sights, rows),
            hands=start.recording.proprioception[rows].numpy().astype(np.float64),
        )

    def compared(self) -> dict[str, Comparison]:
        """Return imagined, redrawn and repeated frames against the recorded ones, every step."""
        rows: dict[str, list[dict[str, NDArray[np.float64]]]] = {
            "imagined": [], "bound": [], "copy": []
        }
        for number, start in enumerate(self.starts):
            truth = self.truth(start, self.steps)
            span = slice(start.step, start.step + len(truth.frames))
            reading = self.readings[start.recording.name]
            frames = draw(self.model, self.rollouts.poses[number, : len(truth.frames)])
            first = _part(truth.sights, slice(0, 1))
            for name, other, sights in (
                ("imagined", frames, look_along(self.vision, frames)),
                ("bound", reading.redrawn[span], _part(reading.redrawn_sights, span)),
                ("copy", truth.frames[:1], first),
            ):
                rows[name].append(compare(truth, other, sights, HORIZONS))
            if number % 40 == 39:
                self._report(f"compared {number + 1} of {len(self.starts)} rollouts")
        return {name: stack(found, self.steps) for name, found in rows.items()}

    def actions(self, copy: Comparison, imagined: Comparison) -> dict[str, Any]:
        """Return numbers with the true actions, another recording's, and none."""
        steps = max(ACTION_HORIZONS)
        told = {
            "shuffled": exchanged_targets(
                self.targets[:, :steps], self.poses, self.starts, self._reach_m(), seed=0
            ),
            "stay": still_targets(self.poses, steps),
        }
        compared = {"true": imagined}
        for name, targets in told.items():
            poses = imagine(self.model, self.poses, targets).poses[:, [0, *ACTION_HORIZONS]]
            rows = []
            for number, start in enumerate(self.starts):
                frames = draw(self.model, poses[number])
                truth = self.truth(start, steps)
                picked = [0, *ACTION_HORIZONS]
                chosen = Truth(
                    frames=truth.frames[picked], sights=_part(truth.sights, picked),
                    hands=truth.hands[picked],
                )
                row = compare(chosen, frames, look_along(self.vision, frames), range(1, 3))
                rows.append(_spread(row, picked, steps))
            compared[name] = stack(rows, steps)
        return scores.by_horizon(compared, copy, ACTION_HORIZONS, self.size_m)

    def _reach_m(self) -> float:
        return 0.5 * min(self.model.config.view_m)

    def idle_drift(self) -> dict[str, float | None]:
        """Return how far the seen T strays, in T sizes, while both arms stay for 100 steps."""
        poses = self.poses[:IDLE_STARTS]
        line = imagine(self.model, poses, still_targets(poses, IDLE_STEPS)).poses
        strays = []
        for first, last in zip(line[:, 0], line[:, -1], strict=True):
            seen = [
                look_along(self.vision, draw(self.model, pose[None])).poses[0, :2]
                for pose in (first, last)
            ]
            stray = float(np.linalg.norm(seen[1] - seen[0])) / self.size_m
            strays.append(stray if np.isfinite(stray) else np.inf)
        drift = np.array(strays)
        return {
            "n": float(len(drift)), "median": finite(float(np.median(drift))),
            "worst": finite(float(drift.max())),
            f"under_{IDLE_T:g}": float((drift < IDLE_T).mean()),
        }

    @torch.no_grad()
    def outcomes(self) -> dict[str, Any]:
        """Return how right the heads are on held-out frames and on rollouts' last frames."""
        wanted = self.task.success_coverage
        frames = torch.cat([self.readings[r.name].poses[:, 0] for r in self.recordings])
        labels = torch.cat([r.coverage for r in self.recordings])
        last = [min(self.steps, start.ahead) for start in self.starts]
        ends = self.rollouts.poses[torch.arange(len(last)), last, 0]
        end_labels = torch.stack([
            start.recording.coverage[start.step + steps]
            for start, steps in zip(self.starts, last, strict=True)
        ])
        table = {}
        for name, poses, label in (
            ("held_out_frames", frames, labels), ("last_imagined_frames", ends, end_labels)
        ):
            progress, logit = self.model.head(poses)
            table[name] = scores.outcome(
                progress.double().numpy(), torch.sigmoid(logit).double().numpy(),
                label.double().numpy(), wanted,
            )
        return table

    def measure(self, embodiment: Embodiment) -> tuple[dict[str, Any], dict[str, Comparison]]:
        """Return all numbers as JSON values, and the comparisons they come from."""
        compared = self.compared()
        imagined, copy = compared["imagined"], compared["copy"]
        first = self.starts[0]
        return {
            "starts": len(self.starts), "held_out_recordings": len(self.readings),
            "longest_recorded_steps": self.steps,
            "horizons": scores.by_horizon(compared, copy, HORIZONS, self.size_m),
            "curves": scores.by_horizon(
                compared, copy, [s for s in CURVE_STEPS if s <= self.steps], self.size_m
            ),
            "actions": self.actions(copy, imagined),
            "divergence": {
                name: scores.divergence(one, self.size_m) for name, one in compared.items()
            },
            "trust": scores.trust_scores(
                self.rollouts.trust, imagined, copy,
                [s for s in TRUST_HORIZONS if s <= self.steps], self.size_m,
            ),
            "heads": self.outcomes(), "idle_drift_T": self.idle_drift(),
            "latency": latency(
                self.model, Limiter(embodiment), first.recording.frames[first.step],
                first.recording.proprioception[first.step], LATENCY_REPEATS,
            ),
        }, compared

    def sheet(self, copy: Comparison) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Return true and imagined frames of the first rollouts in which the T goes far."""
        far = copy.pose_m[:, min(SHEET_STEP, self.steps)] > SHEET_M
        return [
            (truth.frames, draw(self.model, self.rollouts.poses[i, : len(truth.frames)]))
            for i in np.flatnonzero(far)[:SHEET_ROWS]
            for truth in (self.truth(self.starts[i], self.steps),)
        ]


def _part(sights: Sights, rows: slice | list[int]) -> Sights:
    return Sights(
        poses=sights.poses[rows], overlaps=sights.overlaps[rows], pushers=sights.pushers[rows]
    )


def _spread(
    row: dict[str, NDArray[np.float64]], steps: Sequence[int], last: int
) -> dict[str, NDArray[np.float64]]:
    """Return rows known at some steps as rows over all steps to the last, NaN between."""
    out = {name: np.full(last + 1, np.nan) for name in row}
    for name, values in row.items():
        out[name][list(steps)] = values
    return out
