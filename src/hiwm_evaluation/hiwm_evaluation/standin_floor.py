"""How far the stand-in's physics separates two almost equal starts, in what its frames show.

    python -m hiwm_evaluation.standin_floor TASK --output runs/floor.json

Contact bifurcates: near an edge, or at the rim of a grasp, the same motion goes one way or the
other. This command records what the task's behaviours do, and repeats their actions from a start in
which every length is off by 1 mm and every angle by 0.7 degrees. The task's own measure compares
the frames. A model that knows the start no better cannot have a smaller error. The evaluation of
world models reads the file with --floor.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.atomic_files import replace_file
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import HiwmError
from hiwm_core.limits import Limiter
from hiwm_core.number_arguments import seed_number, whole_number
from hiwm_core.output_folders import check_output_file, json_with
from hiwm_core.task_plugin import ROBOT_DATA, FrameMeasure, Values
from hiwm_core.tasks import Task, load_task
from hiwm_core.user_paths import path_argument
from hiwm_learning.world_models.evaluation.comparison import Shown, Truth, compare, stack
from hiwm_learning.world_models.evaluation.picture_measure import PictureMeasure
from hiwm_learning.world_models.evaluation.scores import at_horizon, counted
from hiwm_robot.standin_robot import StandinRobot

Array = NDArray[np.float64]

OFF_M, OFF_DEG = 0.001, 0.7
STEPS = (1, *range(5, 151, 5))  # at which frames are compared


@dataclass(frozen=True, kw_only=True)
class Run:
    """An episode on the stand-in."""

    frames: NDArray[np.uint8]  # [K, H, W, 3] at steps 0 and STEPS, as far as it went
    measured: Array  # [K, A] likewise
    actions: list[Array]  # [A] each, after limits


class Floor:
    """The stand-in of a task, run twice from almost the same start."""

    def __init__(self, task: Task) -> None:
        self.task, self.plugin = task, task.stand_in()
        self.embodiment = load_embodiment(task.embodiment)
        camera = self.embodiment.cameras[0]
        self.measure: FrameMeasure = (
            self.plugin.frame_measure(self.embodiment, camera.name) or PictureMeasure()
        )
        self._camera = camera.name
        self.robot = StandinRobot(task, self.embodiment)
        self._limiter = Limiter(self.embodiment)

    def pair(self, number: int, seed: int) -> tuple[Run, Run]:
        """Return an episode of the behaviours, which take turns, and its repetition."""
        kinds = [kind for kind in self.plugin.data_kinds if kind != ROBOT_DATA]
        behaviour = self.plugin.behaviour(kinds[number % len(kinds)], self.embodiment, seed)

        def behave(measured: Array) -> Array | None:
            truth = self.robot.scene.truth
            return None if behaviour.finished(truth) else behaviour.targets(truth, measured)

        start = behaviour.start()
        plain = self._run(start, behave, seed)
        repeated = iter(plain.actions)
        moved = moved_start(start, np.random.default_rng([seed, 3]))
        return plain, self._run(moved, lambda _: next(repeated, None), seed)

    def compared(self, plain: Run, other: Run) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return the errors of the repetition, and of the first frame, against the plain run."""
        count = min(len(plain.frames), len(other.frames))
        sights = self.measure.look(plain.frames[:count])
        truth = Truth(
            frames=plain.frames[:count], sights=sights, others={}, measured=plain.measured[:count]
        )
        repeated = Shown(
            frames=other.frames[:count], sights=self.measure.look(other.frames[:count]), others={}
        )
        first = Shown(
            frames=plain.frames[:1], others={},
            sights={name: values[:1] for name, values in sights.items()},
        )
        looked_at = range(count)
        return (
            compare(self.measure, truth, repeated, looked_at),
            compare(self.measure, truth, first, ()),
        )

    def close(self) -> None:
        """Free the renderer."""
        self.robot.close()

    def _run(self, start: Values, act: Callable[[Array], Array | None], seed: int) -> Run:
        self.robot.place(start, seed)
        limits = self._limiter.initial_state()
        frames, positions, actions = [self._frame()], [self.robot.measured], []
        for step in range(1, max(STEPS) + 1):
            measured = self.robot.measured
            target = act(measured)
            if target is None:
                break
            allowed = self._limiter.limit(target, measured, limits)
            limits = allowed.state
            actions.append(allowed.action)
            self.robot.take(allowed.action)
            self.robot.advance()
            if step in STEPS:
                frames.append(self._frame())
                positions.append(self.robot.measured)
        return Run(frames=np.stack(frames), measured=np.stack(positions), actions=actions)

    def _frame(self) -> NDArray[np.uint8]:
        return self.robot.images[self._camera]


def moved_start(start: Values, rng: np.random.Generator) -> dict[str, float]:
    """Return a start with every length off by 1 mm and every angle by 0.7 degrees, either way.

    Units are the ends of names, `_m` and `_rad`. Values of other units stay.
    """
    off = {"m": OFF_M, "rad": float(np.radians(OFF_DEG))}
    return {
        name: value + off.get(name.rsplit("_", 1)[-1], 0.0) * float(rng.choice([-1.0, 1.0]))
        for name, value in start.items()
    }


def table_of(
    measure: FrameMeasure, pairs: Sequence[tuple[dict[str, Array], dict[str, Array]]]
) -> dict[str, dict[str, float | None]]:
    """Return for each step the numbers over the pairs in which the object has moved by then."""
    repeated = stack([one for one, _ in pairs], len(STEPS))
    copied = stack([other for _, other in pairs], len(STEPS))
    table = {}
    for place, step in enumerate(STEPS, start=1):
        rows = counted(measure, copied, place)
        if rows.any():
            table[str(step)] = {
                "n": int(rows.sum()), **at_horizon(measure, repeated, rows, place)
            }
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure from the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="standin_floor", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", help="name or path of a task with a stand-in")
    parser.add_argument("--output", "-o", type=path_argument, required=True, help="JSON to write")
    parser.add_argument("--episodes", type=whole_number(1), default=80)
    parser.add_argument("--seed", type=seed_number, default=2000, help="of the first episode")
    options = parser.parse_args(arguments)
    try:
        check_output_file(
            options.output, "a physical floor", json_with("start_off_by", "steps"), inputs=[]
        )
        floor = Floor(load_task(options.task))
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    compared = []
    for number in range(options.episodes):
        compared.append(floor.compared(*floor.pair(number, options.seed + number)))
        if number % 10 == 9:
            print(f"{number + 1} of {options.episodes} episodes", file=sys.stderr, flush=True)
    floor.close()
    numbers = {
        "start_off_by": {"place_m": OFF_M, "angle_deg": OFF_DEG}, "task": floor.task.name,
        "episodes": options.episodes, "seed": options.seed,
        "steps": table_of(floor.measure, compared),
    }
    replace_file(options.output, json.dumps(numbers, indent=1) + "\n")
    print(json.dumps(numbers["steps"]))
    return 0


if __name__ == "__main__":
    # MuJoCo selects its renderer at import.
    os.environ.setdefault("MUJOCO_GL", "egl")
    sys.exit(main())
