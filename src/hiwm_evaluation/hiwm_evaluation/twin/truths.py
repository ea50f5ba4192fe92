"""The true side of a twin: a recorded bag, or the stand-in in simulated time."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags import Segment
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError
from hiwm_core.frames import JointValues, RobotReader
from hiwm_core.limits import Limiter
from hiwm_core.task_plugin import Values
from hiwm_core.tasks import Task
from hiwm_evaluation.rollout.pilot import Pilot
from hiwm_learning.policies.planning import Planner
from hiwm_robot.standin_robot import StandinRobot

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TrueStep:
    """One observation, and the command that follows it."""

    step: int  # control steps since the episode began
    images: Mapping[str, NDArray[np.uint8]]  # by camera, [H, W, 3] rgb
    proprioception: NDArray[np.float32]  # [P] in the embodiment's units
    measured: Array  # [A] measured counterpart of the action
    action: Array | None  # [A] after limits, that leads to the next one; None at the end


def recorded_truth(segment: Segment, step: int) -> Generator[TrueStep, None, None]:
    """Return a segment's observations from a step on, to its end or the first unknown command.

    Raises:
        BagError: no such step, or none after it.
    """
    places = np.flatnonzero(segment.steps == step)
    if not len(places) or not np.isfinite(segment.actions[places[0]]).all():
        raise BagError(
            f"no step {step} with a command after it: it has steps {segment.steps[0]} to "
            f"{segment.steps[-1]}", where=str(segment.path), remedy="name an earlier step",
        )
    return _recorded(segment, int(places[0]))


def _recorded(segment: Segment, first: int) -> Generator[TrueStep, None, None]:
    for t in range(first, segment.length):
        known = bool(np.isfinite(segment.actions[t]).all())
        yield TrueStep(
            step=int(segment.steps[t]),
            images={name: frames[t] for name, frames in segment.observations.items()},
            proprioception=segment.proprio[t], measured=segment.measured[t].astype(np.float64),
            action=segment.actions[t].astype(np.float64) if known else None,
        )
        if not known:
            return


class Driver:
    """Whoever commands the stand-in."""

    def start(self) -> Values | None:
        """Return the start; None draws one."""
        raise NotImplementedError

    def action(self, step: int, seen: TrueStep, truth: Values) -> Array | None:
        """Return the next action [A]; None ends the run."""
        raise NotImplementedError


class Expert(Driver):
    """The task's scripted expert, which reads ground truth."""

    def __init__(self, task: Task, embodiment: Embodiment, seed: int) -> None:
        plugin = task.stand_in()
        self._behaviour = plugin.behaviour(plugin.data_kinds[0], embodiment, seed)

    def start(self) -> Values | None:
        """Return the expert's start."""
        return self._behaviour.start()

    def action(self, step: int, seen: TrueStep, truth: Values) -> Array | None:
        """Return the expert's targets, until it has finished."""
        if self._behaviour.finished(truth):
            return None
        return self._behaviour.targets(truth, seen.measured)


class PolicyDriver(Driver):
    """A policy, which sees what it would see on the robot."""

    def __init__(self, planner: Planner, seed: int) -> None:
        self._pilot, self._planner = Pilot(planner, seed, 1), planner

    def start(self) -> Values | None:
        """Draw the start."""
        return None

    def action(self, step: int, seen: TrueStep, truth: Values) -> Array | None:
        """Return the next action of the present plan; a plan that is not finite ends the run."""
        if self._pilot.looks(step):
            self._pilot.see(dict(seen.images), seen.proprioception)
        if self._pilot.plans(step) and not self._pilot.follow(
            self._planner.plan(*self._pilot.question())
        ):
            return None
        return self._pilot.action(step)


def standin_truth(
    task: Task, embodiment: Embodiment, drive: Callable[[], Driver], seed: int,
    cameras: Sequence[str],
) -> Generator[TrueStep, None, None]:
    """Yield the stand-in's observations, under the limits of the bridge.

    Args:
        task: gives the scene.
        embodiment: of the stand-in.
        drive: returns who commands it.
        seed: of the start.
        cameras: to render.
    """
    body = StandinRobot(task, embodiment, seed=seed)
    try:
        driver, limiter, robot = drive(), Limiter(embodiment), RobotReader(embodiment)
        body.place(driver.start(), seed)
        limits, step = limiter.initial_state(), 0
        while True:
            joints = JointValues(
                name=embodiment.joint_names, position=body.scene.joint_positions.tolist(),
                velocity=body.scene.joint_velocities.tolist(),
            )
            images = body.images
            seen = TrueStep(
                step=step, images={name: images[name] for name in cameras},
                proprioception=robot.read(joints).proprio, measured=body.measured, action=None,
            )
            wanted = driver.action(step, seen, body.scene.truth)
            if wanted is None:
                yield seen
                return
            allowed = limiter.limit(wanted, seen.measured, limits)
            limits = allowed.state
            yield TrueStep(**{**vars(seen), "action": allowed.action})
            body.take(allowed.action)
            body.advance()
            step += 1
    finally:
        body.close()
