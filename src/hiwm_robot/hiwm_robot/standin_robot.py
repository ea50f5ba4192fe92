"""The stand-in as a robot in simulated time: its controllers, and the scene they move.

There is one controller for each output of the robot's file. The driver exposes them as topics and
actions. Rollouts call them directly, so both behave the same. Tested by `test_standin_robot.py`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.inverse_kinematics import TipSolver
from hiwm_core.kinematics import Pose, load_model
from hiwm_core.measured import MeasuredAction
from hiwm_core.robot_config import RobotConfig, load_robot
from hiwm_core.robots.outputs import Output
from hiwm_core.rotations import matrix_from_quaternion
from hiwm_core.task_plugin import Image, Scene, Values
from hiwm_core.tasks import Task
from hiwm_robot.joint_controller import JointController
from hiwm_robot.output_map import OutputMap

Array = NDArray[np.float64]

# Largest speed of a gripper's goal, ratios per s: open to shut in a quarter of a second.
GRIPPER_PER_S = 4.0


class OutputController:
    """The controller behind one output: joint trajectories, forward commands, poses or goals.

    A pose becomes a trajectory of the arm's joints to it, within one control step. A gripper's goal
    becomes a trajectory at the gripper's speed.

    Args:
        output: of the robot's file.
        embodiment: the action array.
        home: position of every joint by name.
    """

    def __init__(self, output: Output, embodiment: Embodiment, home: Mapping[str, float]) -> None:
        self.output = output
        self.map = OutputMap(embodiment, output)
        self._period_s = 1.0 / embodiment.rate_hz
        self._tip: TipSolver | None = None
        if output.group:
            group = embodiment.group(output.group)
            self._tip = _tip_solver(group, f"outputs: {output.address}")
            self.joints = group.measured.joints
        else:
            self.joints = tuple(entry.joint for entry in output.entries)
        self.follower = JointController(self.joints, [home[name] for name in self.joints])

    def take(self, action: Array, now: float) -> str:
        """Take this output's part of an action [A], as from the bridge; return a refusal."""
        values = action[self.map.entries]
        if self.output.drives == "pose":
            return self.pose(self.map.message_values(values, values, zero=False), now)
        if self.output.drives == "gripper":
            return self.goal(float(values[0]), now)
        if self.output.adapter == "joint_trajectory":
            seconds = self.output.point_seconds(self._period_s)
            return self.follower.follow(self.joints, [(values.tolist(), seconds)], now)
        return self.follower.jump(values.tolist(), now)

    def pose(self, values: ArrayLike, now: float) -> str:
        """Track a pose of the tip, position and quaternion [7]; return a refusal."""
        assert self._tip is not None
        given = np.asarray(values, dtype=np.float64)
        try:
            rotation = matrix_from_quaternion(given[3:])
        except ValueError as error:
            return str(error)
        if not np.isfinite(given).all():
            return f"pose is not finite: {given.tolist()}"
        goal = Pose(position=given[:3], rotation=rotation)
        joints = self._tip.solve(goal, self.follower.target(now))
        return self.follower.follow(self.joints, [(joints.tolist(), self._period_s)], now)

    def goal(self, ratio: float, now: float) -> str:
        """Move the gripper to a ratio, 0 shut, 1 open; return a refusal."""
        way = abs(ratio - float(self.follower.target(now)[0]))
        seconds = max(way / GRIPPER_PER_S, 1e-3)
        return self.follower.follow(self.joints, [([ratio], seconds)], now)


def _tip_solver(group: ActionGroup, where: str) -> TipSolver:
    """Return a Cartesian controller's inverse kinematics; raises ConfigError without a URDF."""
    if group.measured.source != "urdf":
        raise ConfigError(
            f"group {group.name} has no kinematics", where=where,
            remedy="measure it from a URDF: {source: urdf, ...}",
        )
    return TipSolver(
        load_model(group.measured.urdf, where), tip=group.measured.link,
        joints=group.measured.joints, frame=group.frame, where=where,
    )


def image_sizes(embodiment: Embodiment, render_size: int = 0) -> dict[str, int]:
    """Return the width and height of each camera's images, px.

    Args:
        embodiment: gives the cameras.
        render_size: of all images; 0: each camera's own.

    Raises:
        ConfigError: a camera whose images are not square.
    """
    for camera in embodiment.cameras:
        _check_square(f"camera {camera.name}", (camera.width, camera.height),
                      f"embodiment {embodiment.name}")
    return {camera.name: render_size or camera.width for camera in embodiment.cameras}


def view_sizes(robot: RobotConfig) -> dict[str, int]:
    """Return the width and height of each view's pictures, px.

    Raises:
        ConfigError: a view whose pictures are not square, or are compressed.
    """
    for name, view in robot.views.items():
        _check_square(f"view {name}", view.size, f"robot {robot.name}: views.{name}.size")
        if view.compressed:
            raise ConfigError(
                f"view {name} is compressed, and stand-ins publish raw images",
                where=f"robot {robot.name}: views.{name}.compressed", remedy="leave it out",
            )
    return {name: view.size[0] for name, view in robot.views.items()}


def _check_square(what: str, size: tuple[int, int], where: str) -> None:
    if size[0] != size[1]:
        raise ConfigError(
            f"{what} is {size[0]} x {size[1]}, and stand-ins draw square images",
            where=where, remedy="give it equal width and height",
        )


class StandinRobot:
    """Controllers and scene.

    Args:
        task: gives the scene and the starts.
        embodiment: gives joints, limits, home and rate.
        robot: its outputs; the task's stand-in if not given.
        seed: of the start that it begins with.
        render_size: width and height of all camera images, px; 0: each camera's own, as embodied.

    Raises:
        ConfigError: the task has no stand-in, or a camera's images are not square.
    """

    def __init__(
        self, task: Task, embodiment: Embodiment, robot: RobotConfig | None = None, *,
        seed: int = 0, render_size: int = 0,
    ) -> None:
        self._task = task
        plugin = task.stand_in()
        self.config = load_robot(plugin.stand_in_robot) if robot is None else robot
        self._image_sizes = image_sizes(embodiment, render_size)
        self.scene: Scene = plugin.scene(
            embodiment, render_size=next(iter(self._image_sizes.values()))
        )
        self.scene.place(task.sample_start(np.random.default_rng(seed)))
        self.period_ns = round(1e9 / embodiment.rate_hz)  # of one control step
        self.joint_names = embodiment.joint_names
        home = dict(zip(self.joint_names, self.scene.joint_positions.tolist(), strict=True))
        home |= {
            name: value for name, value in zip(
                embodiment.action_joints, embodiment.home, strict=True
            ) if name
        }
        self.controllers = {
            name: OutputController(output, embodiment, home)
            for name, output in self.config.outputs.items()
        }
        self._places = {
            name: [self.joint_names.index(joint) for joint in controller.joints]
            for name, controller in self.controllers.items()
        }
        self._hold = np.array([home[name] for name in self.joint_names])
        self._measured = MeasuredAction(embodiment)
        self._elapsed = 0.0  # physics time of the controllers [s]

    @property
    def measured(self) -> Array:
        """Measured counterpart of the action [A]."""
        positions = self.scene.joint_positions.tolist()
        return self._measured.array(dict(zip(self.joint_names, positions, strict=True)))

    @property
    def images(self) -> dict[str, Image]:
        """The cameras' images."""
        return {name: self.scene.render(size, name) for name, size in self._image_sizes.items()}

    def place(self, start: Values | None, seed: int) -> dict[str, float]:
        """Set a start, drawn with the seed if None, and hold the arms at home; return it."""
        if start is None:
            start = self._task.sample_start(np.random.default_rng(seed))
        placed = self.scene.place(start)
        for controller in self.controllers.values():
            controller.follower.reset()
        self._elapsed = 0.0  # so that an episode repeats in every bit
        return placed

    def take(self, action: Array) -> str:
        """Take an action [A] at every controller, as from the bridge; return refusals."""
        answers = [
            controller.take(action, self._elapsed) for controller in self.controllers.values()
        ]
        return "; ".join(filter(None, answers))

    def follow(
        self, output: str, joints: Sequence[str],
        points: Sequence[tuple[Sequence[float], float]],
    ) -> str:
        """Follow a trajectory from now on; return a refusal. See `JointController.follow`."""
        return self.controllers[output].follower.follow(joints, points, self._elapsed)

    def jump(self, output: str, values: Sequence[float]) -> str:
        """Set targets at once; return a refusal. See `JointController.jump`."""
        return self.controllers[output].follower.jump(values, self._elapsed)

    def pose(self, output: str, values: ArrayLike) -> str:
        """Track a pose; return a refusal. See `OutputController.pose`."""
        return self.controllers[output].pose(values, self._elapsed)

    def goal(self, output: str, ratio: float) -> str:
        """Move a gripper; return a refusal. See `OutputController.goal`."""
        return self.controllers[output].goal(ratio, self._elapsed)

    def advance(self, seconds: float | None = None) -> None:
        """Advance the time by `seconds`; None is one control step."""
        end = self._elapsed + (self.period_ns * 1e-9 if seconds is None else seconds)
        if end <= self._elapsed:
            return
        followers = {name: each.follower for name, each in self.controllers.items()}
        bends = {end, *(time for each in followers.values() for time in each.bends(
            self._elapsed, end, self.scene.timestep_s
        ))}
        target, start = self._hold.copy(), self._elapsed
        for time in sorted(bends):
            for name, follower in followers.items():
                target[self._places[name]] = follower.target(time)
            self.scene.set_target(target)
            self.scene.advance(
                time - start, ramp=not all(each.jumps for each in followers.values())
            )
            start = time
        self._elapsed = end

    def close(self) -> None:
        """Free the renderer while its display still exists."""
        self.scene.close()
