"""The stand-in's controllers on ROS: topics and actions, as the robot's file names them.

Each takes what a real one takes, in the driver's names and units, and refuses what that refuses.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionServer
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from hiwm_core.robots.outputs import Output
from hiwm_nodes import qos
from hiwm_robot.interface_types import interface_type
from hiwm_robot.standin_robot import StandinRobot

# Called before a command is taken, and with the output's name and the refusal after it.
Before = Callable[[], None]
After = Callable[[str, str], None]

# A gripper is at its goal within this ratio, and stalls if it moves by less in a check.
_AT_GOAL, _STILL = 0.02, 1e-3
_STALL_CHECKS = 5
# How long an ended goal is kept for a client that asks for its result late. Each goal's changes are
# told with the whole list of those that are kept, and lock-step sends a goal with every tick: with
# the default of 15 minutes the bridge soon does nothing but read these lists.
RESULT_S = 1


class JointInputs:
    """A joint trajectory controller and a forward command controller of the same joints.

    A trajectory is refused as a whole for other joints, no points, times that do not increase, or
    values that are not finite. The newest one replaces the others, and starts at the last target.
    """

    def __init__(
        self, node: Node, name: str, output: Output, robot: StandinRobot, before: Before,
        after: After,
    ) -> None:
        self._name, self._robot, self._before, self._after = name, robot, before, after
        self._joints = {entry.driver: entry.joint for entry in output.entries}
        folder = output.address.rpartition("/")[0]
        for kind, topic, callback in (
            (JointTrajectory, "joint_trajectory", self._on_trajectory),
            (Float64MultiArray, "commands", self._on_commands),
        ):
            node.create_subscription(kind, f"{folder}/{topic}", callback, qos.TICK)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        points = [
            (point.positions, point.time_from_start.sec + point.time_from_start.nanosec * 1e-9)
            for point in message.points
        ]
        names = [self._joints.get(joint, joint) for joint in message.joint_names]
        self._before()
        self._after(self._name, self._robot.follow(self._name, names, points))

    def _on_commands(self, message: Float64MultiArray) -> None:
        self._before()
        self._after(self._name, self._robot.jump(self._name, message.data))


class PoseInput:
    """A Cartesian controller. A pose in another frame is dropped; there is no time-out."""

    def __init__(
        self, node: Node, name: str, output: Output, robot: StandinRobot, before: Before,
        after: After,
    ) -> None:
        self._name, self._robot, self._before, self._after = name, robot, before, after
        self._frame = output.frame
        node.create_subscription(PoseStamped, output.address, self._on_pose, qos.TICK)

    def _on_pose(self, message: PoseStamped) -> None:
        self._before()
        point, turn = message.pose.position, message.pose.orientation
        if message.header.frame_id != self._frame:
            problem = f"frame {message.header.frame_id!r} is not {self._frame!r}"
        else:
            problem = self._robot.pose(
                self._name, [point.x, point.y, point.z, turn.x, turn.y, turn.z, turn.w]
            )
        self._after(self._name, problem)


class GripperInput:
    """An action server of a gripper: a new goal preempts, and a stall on an object succeeds."""

    def __init__(
        self, node: Node, name: str, output: Output, robot: StandinRobot, before: Before,
        after: After,
    ) -> None:
        self._name, self._robot, self._before, self._after = name, robot, before, after
        (self._entry,) = output.entries
        self._place = robot.joint_names.index(self._entry.joint)
        self._kind = interface_type(output.interface, f"outputs.{name}.adapter")
        self._parallel = output.adapter == "parallel_gripper_command"
        self._goal = np.nan  # ratio
        # Of the goal being executed. Its result: whether it was reached, and whether it stalled.
        self._ended: Future | None = None
        self._before_check, self._still = np.nan, 0
        ActionServer(
            node, self._kind, output.address, self._execute,
            handle_accepted_callback=self._accepted, result_timeout=RESULT_S,
        )

    def _accepted(self, handle: Any) -> None:
        command = handle.request.command
        (position,) = command.position if self._parallel else (command.position,)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result((False, False))
        self._ended, self._still = Future(), 0
        self._goal = self._entry.embodied(position)
        handle.execute()
        self._before()
        problem = (
            self._robot.goal(self._name, self._goal) if np.isfinite(self._goal)
            else f"position {position} is not finite"
        )
        self._after(self._name, problem)

    async def _execute(self, handle: Any) -> Any:
        ended = self._ended
        assert ended is not None
        reached, stalled = await ended
        result = self._kind.Result(stalled=stalled, reached_goal=reached)
        if reached or stalled:
            handle.succeed()
        else:
            handle.abort()
        return result

    def check(self) -> None:
        """End the goal if it is reached, or if the fingers stand still on an object."""
        if self._ended is None or self._ended.done():
            return
        position = float(self._robot.scene.joint_positions[self._place])
        moved, self._before_check = abs(position - self._before_check), position
        self._still = self._still + 1 if moved < _STILL else 0
        reached = abs(position - self._goal) < _AT_GOAL
        if reached or self._still >= _STALL_CHECKS:
            self._ended.set_result((reached, not reached))


def make_inputs(
    node: Node, robot: StandinRobot, before: Before, after: After
) -> list[GripperInput]:
    """Create the topics and actions of every output; return the grippers'."""
    grippers: list[GripperInput] = []
    for name, output in robot.config.outputs.items():
        if output.drives == "gripper":
            grippers.append(GripperInput(node, name, output, robot, before, after))
        elif output.drives == "pose":
            PoseInput(node, name, output, robot, before, after)
        else:
            JointInputs(node, name, output, robot, before, after)
    return grippers
