"""Whether a world model stays itself for ten minutes without a reset.

    python -m hiwm_evaluation.world_endurance models/world_TASK.safetensors DATA... -o runs/long

The task's scripted operator, which sees only imagined images, drives the world. Between its turns
the robot repeats recorded motions, so that the object is moved again when the task is solved. The
report tells how much of every hundred ticks moved the object, which share of the last frames is
known (see `Reading.strangeness`), and how far the object drifts while all arms stay, at the start
and at the end. Writes numbers as JSON and a strip of frames as PNG.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hiwm_core.atomic_files import replace_file
from hiwm_core.bags.task_of_data import task_of
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.number_arguments import seed_number, thread_count, whole_number
from hiwm_core.output_folders import check_output_file, json_with
from hiwm_core.task_plugin import FrameMeasure, Operator
from hiwm_core.user_paths import path_argument
from hiwm_learning.action_gate import ActionGate
from hiwm_learning.checkpoints import write_file
from hiwm_learning.world_models.evaluation.picture_measure import PictureMeasure
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.recordings import Recording, read_recordings
from hiwm_learning.world_models.simulators import WorldSimulator

Array = NDArray[np.float64]

WINDOW = 100  # ticks in which the object has to move
WORK = 60  # of them, those of the operator; the rest repeats recorded motions
LAST = 100  # ticks at the end whose frames must be known
IDLE_STEPS, IDLE_STARTS = 100, 12
STRIP = 12  # frames of the picture


@dataclass(kw_only=True)
class Endurance:
    """One world, and who drives it.

    Args:
        simulator: of the world model.
        embodiment: of the world.
        operator: of the task.
        measure: of the first camera's frames.
        recordings: held-out ones give starts; all give motions to repeat.
        seed: of all choices.
    """

    simulator: WorldSimulator[Any]
    embodiment: Embodiment
    operator: Operator
    measure: FrameMeasure
    recordings: Sequence[Recording]
    seed: int = 0

    def run(self, ticks: int, report: Callable[[str], None]) -> tuple[dict[str, Any], list[Any]]:
        """Drive for some ticks; return the numbers and frames of the picture."""
        held_out = [one for one in self.recordings if one.held_out]
        if not held_out:
            raise BagError(
                "no held-out recording to start from", where="the data",
                remedy="give all folders that the model was trained from",
            )
        gate, drawn = ActionGate(self.embodiment), np.random.default_rng(self.seed)
        state = self._begin(held_out[0])
        begun = time.monotonic()
        correction, motion = self.operator.correction(self.seed, 0.0), np.zeros((0, 0))
        frames, strange, states = [], [], []
        for tick in range(ticks):
            seen = self.simulator.observe(state)
            frames.append(seen.image)
            strange.append(seen.strangeness)
            measured = gate.measured(seen.proprioception)
            within = tick % WINDOW
            if within == 0:
                correction = self.operator.correction(int(drawn.integers(1 << 31)), 0.0)
                motion = self._motion(drawn)
            images = {self.simulator.cameras[0]: seen.image, **seen.others}
            sight = self.operator.look(images, measured, jumped=within == 0)
            if within < WORK:
                done = not sight.visible or correction.done(sight)
                target = measured if done else correction.targets(sight, measured)
            else:
                target = motion[within - WORK] if within - WORK < len(motion) else measured
            state, _ = self.simulator.step(state, target)
            if ticks - tick <= IDLE_STARTS * 40 and (ticks - tick) % 40 == 1:
                states.append(state)
            if tick % 500 == 499:
                left = (time.monotonic() - begun) / (tick + 1) * (ticks - tick - 1)
                report(f"tick {tick + 1} of {ticks}, {left:.0f} s left")
        fresh = self._idle([self._begin(one) for one in held_out[:IDLE_STARTS]])
        late = self._idle(states)
        last = np.array(strange[-LAST:])
        return {
            "ticks": ticks, "windows": ticks // WINDOW,
            "windows_moved_share": self._moved(frames),
            "last_frames_known_share": (
                None if np.isnan(last).all() else float((last <= 1.0).mean())
            ),
            "known_share": None if np.isnan(last).all() else float(
                (np.array(strange) <= 1.0).mean()
            ),
            "idle_drift_fresh": fresh, "idle_drift_late": late,
            "idle_drift_ratio": late / fresh if fresh > 0 else None,
            "error_unit": self.measure.error_unit,
        }, frames[:: max(1, ticks // STRIP)]

    def _begin(self, recording: Recording) -> Any:
        return self.simulator.begin(
            recording.views(0), recording.proprioception[0].double().numpy(), self.seed
        )

    def _motion(self, drawn: np.random.Generator) -> Array:
        """Return the actions [T, A] of a stretch of a drawn recording in which the object moves."""
        for _ in range(20):
            recording = self.recordings[int(drawn.integers(len(self.recordings)))]
            length = WINDOW - WORK
            if len(recording.frames) <= length + 1:
                continue
            first = int(drawn.integers(len(recording.frames) - length - 1))
            ends = self.measure.look(recording.frames[[first, first + length]].numpy())
            one, other = ({k: v[i:i + 1] for k, v in ends.items()} for i in (0, 1))
            measured = recording.measured[first:first + 1].double().numpy()
            if self.measure.moved(self.measure.differences(one, other, measured)).any():
                return recording.actions[first:first + length].double().numpy()
        return np.zeros((0, self.embodiment.action_dim))

    def _idle(self, states: Sequence[Any]) -> float:
        """Return the median drift while all arms stay, `measure.drift`."""
        gate, strays = ActionGate(self.embodiment), []
        for begun in states:
            state, first = begun, self.simulator.observe(begun)
            held = gate.measured(first.proprioception)
            for _ in range(IDLE_STEPS):
                state, _ = self.simulator.step(state, held)
            pair = [
                self.measure.look(picture[None])
                for picture in (self.simulator.observe(state).image, first.image)
            ]
            gone = self.measure.differences(pair[0], pair[1], held[None])
            strays.append(float(self.measure.drift(gone)[0]))
        return float(np.nanmedian(strays))

    def _moved(self, frames: Sequence[NDArray[np.uint8]]) -> float:
        """Return the share of windows in which some frame differs from the window's first."""
        moved = []
        for first in range(0, len(frames) - WINDOW + 1, WINDOW):
            sights = self.measure.look(np.stack(frames[first:first + WINDOW:5]))
            start = {name: values[:1] for name, values in sights.items()}
            measured = np.zeros((len(next(iter(sights.values()))), self.embodiment.action_dim))
            moved.append(bool(self.measure.moved(
                self.measure.differences(start, sights, measured)
            ).any()))
        return float(np.mean(moved)) if moved else float("nan")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure from the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="world_endurance", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=path_argument)
    parser.add_argument("data", nargs="+", type=path_argument, help="folders of recordings")
    parser.add_argument("--output", "-o", type=path_argument, required=True, help="folder")
    parser.add_argument("--task", help="name or path of the task (default: that of the bags)")
    parser.add_argument("--ticks", type=whole_number(1), default=6000)
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--threads", type=thread_count, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        return _measure(options)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _measure(options: argparse.Namespace) -> int:
    numbers = options.output / f"{options.checkpoint.stem}.endurance.json"
    picture = numbers.with_suffix(".png")
    check_output_file(
        numbers, "a report on endurance", json_with("ticks", "idle_drift_late"),
        inputs=[options.checkpoint, *options.data], companions=[picture],
    )
    task, embodiment = task_of(options.data, options.task)
    plugin = task.stand_in()
    simulator, checkpoint = load_simulator(options.checkpoint, embodiment)
    measure = plugin.frame_measure(embodiment, simulator.cameras[0]) or PictureMeasure()
    recordings = read_recordings(
        options.data, simulator.cameras, embodiment, task,
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    found, frames = Endurance(
        simulator=simulator, embodiment=embodiment, operator=plugin.operator(embodiment),
        measure=measure, recordings=recordings, seed=options.seed,
    ).run(options.ticks, lambda line: print(line, file=sys.stderr, flush=True))
    options.output.mkdir(parents=True, exist_ok=True)
    replace_file(
        numbers, json.dumps({"checkpoint": checkpoint.hash, **found}, indent=1) + "\n"
    )
    strip = Image.fromarray(np.concatenate(frames, axis=1))
    write_file(picture, lambda file: strip.save(file, format="PNG"))
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
