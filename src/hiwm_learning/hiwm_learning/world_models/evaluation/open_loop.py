"""Measures one world model open loop, from held-out starts and at every step.

`measure` returns all numbers of an evaluation; evaluate.py writes them to files. Only
`WorldSimulator` is used, so that layered and latent models are measured alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.json_files import finite
from hiwm_core.task_plugin import FrameMeasure, Sights
from hiwm_core.tasks import Task
from hiwm_learning.world_models.evaluation import scores
from hiwm_learning.world_models.evaluation.comparison import (
    Comparison,
    Shown,
    Truth,
    compare,
    part,
    stack,
)
from hiwm_learning.world_models.evaluation.latency import latency
from hiwm_learning.world_models.evaluation.rollouts import (
    Start,
    exchanged_actions,
    imagine,
    recorded_actions,
    still_actions,
)
from hiwm_learning.world_models.recordings import Recording
from hiwm_learning.world_models.simulators import Reading, WorldSimulator

HORIZONS = (1, 10, 25, 50, 100, 140, 190)
# What other actions do is told at these, what trust foretells at those.
ACTION_HORIZONS, TRUST_HORIZONS = (10, 50), (10, 25, 50, 100)
CURVE_STEPS = (1, *range(5, 141, 5))
IDLE_STARTS, IDLE_STEPS = 60, 100
SHEET_ROWS, SHEET_STEP = 6, 50
REPLAYS = 50
LATENCY_REPEATS = 200

Images = NDArray[np.uint8]
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """All rollouts of an evaluation beside what was recorded."""

    comparisons: dict[str, Comparison]  # imagined, bound, copy
    heads: dict[str, Any]  # how right they are, on held-out frames and on rollouts' last ones
    trust: Array  # [N, T + 1]
    sheet: list[tuple[Images, Images]]  # true and imagined frames of some in which much moves


class Evaluation:
    """One model, its held-out starts, and all that was measured.

    Args:
        simulator: of the model, ready to run.
        measure: of its first camera's frames; other cameras are compared by pixels.
        task: gives what counts as success.
        recordings: those held out are used.
        starts: to imagine on from.
        report: takes progress lines.
    """

    def __init__(
        self, simulator: WorldSimulator[Any], measure: FrameMeasure, task: Task,
        recordings: Sequence[Recording], starts: Sequence[Start], report: Callable[[str], None],
    ) -> None:
        self._report = report
        self.simulator = simulator
        self.task = task
        self.measured_by = measure
        self.recordings = [r for r in recordings if r.held_out]
        self.starts = starts
        self.steps = min(max(HORIZONS), max(start.ahead for start in starts))
        self.actions = recorded_actions(starts, self.steps)
        self.sights = {
            r.name: measure.look(r.frames.numpy()) for r in self.recordings
        }

    def truth(self, start: Start, steps: int) -> Truth:
        """Return what was recorded for some steps from a start, or till the recording's end."""
        recording, rows = start.recording, slice(start.step, start.step + steps + 1)
        return Truth(
            frames=recording.frames[rows].numpy(),
            sights=part(self.sights[recording.name], rows),
            others={name: frames[rows].numpy() for name, frames in recording.others.items()},
            proprioception=recording.proprioception[rows].double().numpy(),
            measured=recording.measured[rows].numpy().astype(np.float64),
        )

    def compared(self) -> "Compared":
        """Return imagined, redrawn and repeated frames against the recorded ones, every step."""
        measure = self.measured_by
        heads, ends, trust = [], [], []
        sheet: list[tuple[Images, Images]] = []
        bound = self._redrawn()
        for recording in self.recordings:
            heads += [
                (one.progress, one.success, float(label))
                for one, label in zip(
                    bound[recording.name].readings, recording.progress_labels, strict=True
                )
            ]
        rows: dict[str, list[dict[str, Array]]] = {"imagined": [], "bound": [], "copy": []}
        rollouts = imagine(self.simulator, self.starts, self.actions, range(self.steps + 1))
        for number, (start, rollout) in enumerate(zip(self.starts, rollouts, strict=True)):
            truth = self.truth(start, self.steps)
            count = len(truth.frames)
            span = slice(start.step, start.step + count)
            frames = rollout.frames[:count]
            copied = compare(measure, truth, _first(truth), HORIZONS)
            rows["copy"].append(copied)
            rows["imagined"].append(compare(measure, truth, Shown(
                frames=frames, sights=measure.look(frames),
                others={name: view[:count] for name, view in rollout.others.items()},
                proprioception=rollout.proprioception[:count],
            ), HORIZONS))
            rows["bound"].append(compare(measure, truth, bound[start.recording.name].at(span),
                                         HORIZONS))
            trust.append(rollout.trust)
            ends.append((
                rollout.progress[count - 1], rollout.success[count - 1],
                float(start.recording.progress_labels[start.step + count - 1]),
            ))
            far = measure.error(copied)[min(SHEET_STEP, count - 1)]
            if far > measure.bad_error and len(sheet) < SHEET_ROWS:
                sheet.append((truth.frames, frames))
            if number % 40 == 39:
                self._report(f"compared {number + 1} of {len(self.starts)} rollouts")
        return Compared(
            comparisons={name: stack(found, self.steps) for name, found in rows.items()},
            heads={
                "held_out_frames": self._heads(np.array(heads)),
                "last_imagined_frames": self._heads(np.array(ends)),
            },
            trust=np.stack(trust), sheet=sheet,
        )

    def _redrawn(self) -> "dict[str, _Redrawn]":
        """Return the held-out recordings as the model encodes and draws them, by name."""
        lines = self.simulator.redraw([
            (
                [r.views(step) for step in range(len(r.frames))],
                r.proprioception.double().numpy(),
            )
            for r in self.recordings
        ])
        found = {}
        for recording, line in zip(self.recordings, lines, strict=True):
            images = np.stack([one.image for one in line])
            found[recording.name] = _Redrawn(
                readings=line, frames=images, sights=self.measured_by.look(images),
                others={
                    name: np.stack([one.others[name] for one in line])
                    for name in self.simulator.cameras[1:]
                },
            )
        self._report(f"redrew {len(self.recordings)} recordings")
        return found

    def replays(self) -> dict[str, Any]:
        """Return how often the last imagined frame of a whole episode shows what the true one does.

        The recorded actions are replayed from a recording's first step. Success is read from both
        last frames by the task's measure; the success head's word is counted beside it.
        """
        seen: list[tuple[float, float, float]] = []
        chosen = [
            Start(recording=r, step=0) for r in self.recordings[:REPLAYS] if len(r.frames) > 1
        ]
        for start in chosen:
            [rollout] = imagine(
                self.simulator, [start], recorded_actions([start], start.ahead), [start.ahead]
            )
            imagined = self.measured_by.verdicts(self.measured_by.look(rollout.frames))
            true = self.measured_by.verdicts(self.sights[start.recording.name])
            seen.append((float(true[-1]), float(imagined[-1]), float(rollout.success[-1])))
        self._report(f"replayed {len(chosen)} episodes")
        return scores.agreement(np.array(seen).reshape(-1, 3))

    def _heads(self, rows: Array) -> dict[str, Any]:
        """Return how right the heads are in rows of progress, success and label, [N, 3]."""
        return scores.outcome(rows[:, 0], rows[:, 1], rows[:, 2], self.task.success_progress)

    def other_actions(self, copy: Comparison, imagined: Comparison) -> dict[str, Any]:
        """Return numbers with the true actions, another recording's, and none."""
        steps = min(max(ACTION_HORIZONS), self.steps)
        told = {
            "shuffled": exchanged_actions(self.actions[:, :steps], self.starts, seed=0),
            "stay": still_actions(self.starts, steps),
        }
        compared = {"true": imagined}
        looked_at = [0, *(step for step in ACTION_HORIZONS if step <= steps)]
        for name, actions in told.items():
            rows = []
            rollouts = imagine(self.simulator, self.starts, actions, looked_at)
            for start, rollout in zip(self.starts, rollouts, strict=True):
                truth = self.truth(start, steps)
                picked = [step for step in looked_at if step < len(truth.frames)]
                chosen = Truth(
                    frames=truth.frames[picked], sights=part(truth.sights, picked), others={},
                    measured=truth.measured[picked],
                )
                frames = rollout.frames[: len(picked)]
                shown = Shown(frames=frames, sights=self.measured_by.look(frames), others={})
                row = compare(self.measured_by, chosen, shown, range(1, len(picked)))
                rows.append(_spread(row, picked, steps))
            compared[name] = stack(rows, steps)
        return scores.by_horizon(self.measured_by, compared, copy, ACTION_HORIZONS)

    def idle_drift(self) -> dict[str, float | None]:
        """Return how far the object strays in the frames while all arms stay for 100 steps."""
        starts = self.starts[:IDLE_STARTS]
        rollouts = imagine(
            self.simulator, starts, still_actions(starts, IDLE_STEPS), (0, IDLE_STEPS)
        )
        strays = []
        for start, rollout in zip(starts, rollouts, strict=True):
            first, last = (self.measured_by.look(frame[None]) for frame in rollout.frames)
            gone = self.measured_by.differences(last, first, start.measured[None])
            stray = float(self.measured_by.drift(gone)[0])
            strays.append(stray if np.isfinite(stray) else np.inf)
        drift = np.array(strays)
        return {
            "n": float(len(drift)), "median": finite(float(np.median(drift))),
            "worst": finite(float(drift.max())),
        }

    def _units(self) -> dict[str, list[int]]:
        """Return the places in proprioception of each unit."""
        entries = self.recordings[0].embodiment.proprioception
        return {
            unit: [i for i, entry in enumerate(entries) if entry.unit == unit]
            for unit in dict.fromkeys(entry.unit for entry in entries)
        }

    def measure(self) -> tuple[dict[str, Any], list[tuple[Images, Images]]]:
        """Return all numbers as JSON values, and frames worth a look: true and imagined ones."""
        found = self.compared()
        compared = found.comparisons
        imagined, copy = compared["imagined"], compared["copy"]
        measure = self.measured_by
        return {
            "measure": {
                "columns": [asdict(column) for column in measure.columns],
                "error_unit": measure.error_unit, "bad_error": measure.bad_error,
            },
            "starts": len(self.starts), "held_out_recordings": len(self.recordings),
            "longest_recorded_steps": self.steps,
            "horizons": scores.by_horizon(measure, compared, copy, HORIZONS),
            "all_starts": scores.over_all(compared, self._units(), HORIZONS),
            "replays": self.replays(),
            "curves": scores.by_horizon(
                measure, compared, copy, [s for s in CURVE_STEPS if s <= self.steps]
            ),
            "actions": self.other_actions(copy, imagined),
            "divergence": {
                name: scores.divergence(measure, one) for name, one in compared.items()
            },
            "trust": scores.trust_scores(
                measure, found.trust, imagined, copy,
                [s for s in TRUST_HORIZONS if s <= self.steps],
            ),
            "heads": found.heads, "idle_drift": self.idle_drift(),
            "latency": latency(self.simulator, self.starts[0], LATENCY_REPEATS),
        }, found.sheet


@dataclass(frozen=True, kw_only=True)
class _Redrawn:
    """A recording, encoded and drawn again."""

    readings: Sequence[Reading]
    frames: Images
    sights: Sights
    others: dict[str, Images]

    def at(self, rows: slice) -> Shown:
        """Return some of its frames."""
        return Shown(
            frames=self.frames[rows], sights=part(self.sights, rows),
            others={name: frames[rows] for name, frames in self.others.items()},
        )


def _first(truth: Truth) -> Shown:
    """Return the first frame, which stands for all."""
    one = slice(0, 1)
    return Shown(
        frames=truth.frames[one], sights=part(truth.sights, one),
        others={name: frames[one] for name, frames in truth.others.items()},
        proprioception=None if truth.proprioception is None else truth.proprioception[one],
    )


def _spread(row: dict[str, Array], steps: Sequence[int], last: int) -> dict[str, Array]:
    """Return rows known at some steps as rows over all steps to the last, NaN between."""
    out = {name: np.full((last + 1, *values.shape[1:]), np.nan) for name, values in row.items()}
    for name, values in row.items():
        out[name][list(steps)] = values
    return out
