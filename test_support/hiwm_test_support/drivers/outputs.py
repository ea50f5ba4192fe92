"""Controllers and servers behind the outputs of a robot file: one class per adapter.

`node` makes one for each output of a robot file.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from hiwm_core.embodiment import Embodiment
from hiwm_core.robots.outputs import Output
from hiwm_core.rotations import matrix_from_quaternion
from hiwm_core.stamps import stamp_ns
from hiwm_test_support.controllers.cartesian import ServoInput, TwistInput, moved
from hiwm_test_support.controllers.forward import ForwardController
from hiwm_test_support.controllers.gripper import Goal, GripperServer, Outcome
from hiwm_test_support.controllers.plant import Plant
from hiwm_test_support.controllers.trajectory import Point, Trajectory, TrajectoryController
from hiwm_test_support.controllers.vendors import SpeedCheck, XSeries
from hiwm_test_support.drivers.body import Body, to_driver, to_embodiment
from hiwm_test_support.drivers.chain import Chain

Array = NDArray[np.float64]
# Real ones run at 50 to 1000 Hz.
UPDATE_S = 0.01


class OutputModel(Protocol):
    """What receives one output's messages, and moves the body."""

    @property
    def active(self) -> bool:
        """Whether messages move the body."""

    def activate(self) -> None:
        """Let messages move the body."""

    def deactivate(self) -> None:
        """Let nothing move the body; messages are still received."""

    def update(self, now: float, dt: float) -> None:
        """Advance by dt [s]; `now` is the node's clock [s]."""


class Joints:
    """The joints of one output: a plant in the driver's units, and what it is told."""

    def __init__(
        self, output: Output, embodiment: Embodiment, body: Body, *, lag_s: float,
        dead_band: float, fastest: float,
    ) -> None:
        self.entries = output.entries
        self.names = tuple(entry.driver for entry in self.entries)
        self.body = body
        known = {entry.joint: entry for entry in embodiment.actions if entry.joint}
        self._actions = [known[entry.joint] for entry in self.entries]
        self._period_s = 1.0 / embodiment.rate_hz
        # Faster than the embodiment allows, so that only the bridge's limits keep the arm slow.
        speeds = [
            3.0 * action.max_velocity * abs(to_driver(e, 1.0) - to_driver(e, 0.0))
            for e, action in zip(self.entries, self._actions, strict=True)
        ]
        self._plant = Plant(self.measured, max_speed=speeds, lag_s=lag_s, dead_band=dead_band)
        self._last: Array | None = None
        self._fastest = fastest
        self.forget()

    @property
    def measured(self) -> Array:
        """Positions [J] in the driver's units."""
        return np.array([to_driver(e, self.body.positions[e.joint]) for e in self.entries])

    def received(self, names: tuple[str, ...], values: Array) -> None:
        """Note a target, for the largest step."""
        if set(names) != set(self.names) or values.shape != (len(names),):
            return
        order = [names.index(name) for name in self.names]
        target = self._ratios(values[order])
        if self._last is not None:
            # A target near the arm itself is not a jump: such as a hold where it was measured.
            leads = np.abs(target - self._ratios(self._plant.positions))
            steps = np.minimum(np.abs(target - self._last), leads)
            for action, step in zip(self._actions, steps, strict=True):
                allowed = action.max_velocity * self._period_s
                self.body.step = max(self.body.step, float(step / allowed))
        self._last = target

    def move(self, command: Array, dt: float) -> None:
        """Move towards a command [J] of the hardware, in the driver's units."""
        if not np.all(np.isfinite(command)):
            self.body.errors.append(f"the hardware was sent {command.tolist()}")
            return
        lead = np.abs(self._ratios(command) - self._ratios(self._plant.positions))
        for action, distance in zip(self._actions, lead, strict=True):
            self.body.lead = max(self.body.lead, float(distance / action.max_following_error))
        if self.body.frozen:
            return
        # Two updates may be late together; the hardware's own are not.
        if self._check is not None and self._check.accepted(command, max(dt, UPDATE_S)) is None:
            self.body.errors.append(f"too fast a target was ignored: {command.tolist()}")
            return
        for entry, value in zip(self.entries, self._plant.step(command, dt), strict=True):
            self.body.positions[entry.joint] = to_embodiment(entry, float(value))

    def forget(self) -> None:
        """The next target follows no other: the controller starts again."""
        self._last = None
        self._check = (
            SpeedCheck(max_speed=np.full(len(self.entries), self._fastest)) if self._fastest
            else None
        )

    def _ratios(self, values: Array) -> Array:
        return np.array([
            to_embodiment(e, float(value)) for e, value in zip(self.entries, values, strict=True)
        ])


class TrajectoryOutput:
    """joint_trajectory_controller on a topic; its joints stand in another order than the file's."""

    def __init__(self, node: Node, output: Output, joints: Joints, *, desired: bool) -> None:
        from trajectory_msgs.msg import JointTrajectory

        self._joints = joints
        self._model = TrajectoryController(
            joints.names[::-1], period_s=UPDATE_S, from_desired=desired
        )
        self._node = node
        node.create_subscription(JointTrajectory, output.address, self._receive, 10)

    @property
    def active(self) -> bool:
        """Whether messages move the body."""
        return self._model.active

    def activate(self) -> None:
        """Hold the measured positions."""
        self._joints.forget()
        self._model.activate(self._joints.measured[::-1])

    def deactivate(self) -> None:
        """Swallow messages."""
        self._model.deactivate()

    def update(self, now: float, dt: float) -> None:
        """Follow the trajectory."""
        command = self._model.update(now, dt, self._joints.measured[::-1])
        if command is not None:
            self._joints.move(command[::-1], dt)

    def _receive(self, message: Any) -> None:
        points = tuple(
            Point(
                positions=tuple(point.positions), velocities=tuple(point.velocities),
                seconds=point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec,
            )
            for point in message.points
        )
        trajectory = Trajectory(
            joints=tuple(message.joint_names), points=points,
            stamp=1e-9 * stamp_ns(message.header.stamp),
        )
        now = 1e-9 * self._node.get_clock().now().nanoseconds
        problem = self._model.receive(trajectory, now)
        if problem:
            self._joints.body.errors.append(f"trajectory rejected: {problem}")
        elif self.active:
            self._joints.received(trajectory.joints, np.array(points[-1].positions))


class ForwardOutput:
    """forward_command_controller on a topic."""

    def __init__(self, node: Node, output: Output, joints: Joints) -> None:
        from std_msgs.msg import Float64MultiArray

        self._joints = joints
        self._model = ForwardController(joints.names)
        node.create_subscription(Float64MultiArray, output.address, self._receive, 10)

    @property
    def active(self) -> bool:
        """Whether messages move the body."""
        return self._model.active

    def activate(self) -> None:
        """Forget earlier messages."""
        self._joints.forget()
        self._model.activate()

    def deactivate(self) -> None:
        """Keep still."""
        self._model.deactivate()

    def update(self, now: float, dt: float) -> None:
        """Pass the newest message on."""
        command = self._model.update()
        if self._model.failed:
            self._joints.body.errors.append("a wrong length deactivated it")
        if command is not None:
            self._joints.move(command, dt)

    def _receive(self, message: Any) -> None:
        if not self._model.receive(message.data) and self.active:
            self._joints.received(self._joints.names, np.array(message.data))


class XSeriesOutput:
    """The joints of an Interbotix arm that one output commands."""

    active = True  # the driver has no controllers

    def __init__(self, node: Node, output: Output, joints: Joints, arm: XSeries) -> None:
        self._joints, self._arm = joints, arm
        if output.adapter == "joint_group_command":
            from interbotix_xs_msgs.msg import JointGroupCommand

            node.create_subscription(JointGroupCommand, output.address, self._group, 10)
        else:
            from interbotix_xs_msgs.msg import JointSingleCommand

            node.create_subscription(JointSingleCommand, output.address, self._single, 10)

    def activate(self) -> None:
        """Nothing to activate."""

    def deactivate(self) -> None:
        """Nothing to deactivate."""

    def update(self, now: float, dt: float) -> None:
        """Move to the last targets."""
        if self._arm.errors:
            self._joints.body.errors += self._arm.errors
            self._arm.errors.clear()
        targets = [self._arm.targets.get(name) for name in self._joints.names]
        if self._arm.torque and None not in targets:
            self._joints.move(np.array(targets, dtype=np.float64), dt)

    def _group(self, message: Any) -> None:
        self._arm.receive_group(message.name, list(message.cmd))
        self._joints.received(self._joints.names, np.array(message.cmd, dtype=np.float64))

    def _single(self, message: Any) -> None:
        self._arm.receive_single(message.name, message.cmd)
        self._joints.received((message.name,), np.array([message.cmd], dtype=np.float64))


class GripperOutput:
    """An action server of a gripper."""

    active = True

    def __init__(
        self, node: Node, output: Output, joints: Joints, *, allow_stalling: bool
    ) -> None:
        from control_msgs.action import GripperCommand, ParallelGripperCommand
        from rclpy.action import ActionServer

        self._joints, self._body = joints, joints.body
        self._entry = joints.entries[0]
        span = abs(self._entry.gripper.span) if self._entry.gripper else 1.0
        self.model = GripperServer(
            position=float(joints.measured[0]), speed=2.0 * span, tolerance=0.01 * span,
            stall_timeout_s=0.3, allow_stalling=allow_stalling,
        )
        self._parallel = output.adapter == "parallel_gripper_command"
        self._kind = ParallelGripperCommand if self._parallel else GripperCommand
        self._waiting: list[tuple[Goal, Any]] = []
        self._server = ActionServer(
            node, self._kind, output.address, self._execute,
            handle_accepted_callback=self._accepted,
        )
        self.goals = 0

    def activate(self) -> None:
        """Accept goals from now on."""

    def deactivate(self) -> None:
        """Grippers stay as they are."""

    def update(self, now: float, dt: float) -> None:
        """Move towards the goal, and finish those that have ended."""
        if not self._body.frozen:
            self._body.positions[self._entry.joint] = to_embodiment(
                self._entry, self.model.update(dt)
            )
        for goal, future in self._waiting:
            if goal.outcome is not Outcome.EXECUTING and not future.done():
                future.set_result(None)
        self._waiting = [pair for pair in self._waiting if not pair[1].done()]

    def _accepted(self, handle: Any) -> None:
        command = handle.request.command
        positions = tuple(command.position) if self._parallel else (command.position,)
        goal = self.model.receive(positions)
        self.goals += 1
        if goal is None or not np.all(np.isfinite(positions)):
            self._body.errors.append(f"gripper goal {positions}")
        handle.hiwm_goal = goal
        handle.execute()

    async def _execute(self, handle: Any) -> Any:
        from rclpy.task import Future

        goal, future = handle.hiwm_goal, Future()
        if goal is not None:
            self._waiting.append((goal, future))
            await future
        result = self._kind.Result()
        if goal is not None and goal.outcome is Outcome.SUCCEEDED:
            handle.succeed()
            result.reached_goal = not goal.stalled
        else:
            handle.abort()
        result.stalled = goal is not None and goal.stalled
        return result

    def put_object(self, ratios: tuple[float, float]) -> None:
        """Put an object where the gripper cannot be between two ratios."""
        lower, upper = sorted(to_driver(self._entry, ratio) for ratio in ratios)
        self.model.object_between = (lower, upper)

    def take_object(self) -> None:
        """Take the object away."""
        self.model.object_between = None


class TwistOutput:
    """A tool moved by twists: through MoveIt Servo, or a controller without a time-out."""

    def __init__(
        self, node: Node, output: Output, embodiment: Embodiment, body: Body, servo: ServoInput,
        *, tool_axes: bool,
    ) -> None:
        from geometry_msgs.msg import Twist, TwistStamped

        self._body, self._group = body, output.group
        self._servo, self._plain = servo, TwistInput()
        self._stamped = output.adapter == "twist_stamped"
        group = embodiment.group(output.group)
        self._chain = Chain(group) if group.measured.source == "urdf" else None
        if self._chain is not None:
            self._chain.place(body)
        # What the controller does, whatever the robot file says of it.
        self._tool_axes = tool_axes
        self.active = False
        speeds = embodiment.max_velocity[embodiment.group(output.group).slice]
        self._most = (float(speeds[:3].min()), float(speeds[3:].min()) if speeds.size > 3 else 1.0)
        if self._stamped:
            node.create_subscription(TwistStamped, output.address, self._receive_stamped, 10)
        else:
            node.create_subscription(Twist, output.address, self._receive, 10)

    def activate(self) -> None:
        """Let twists move the tool."""
        self.active = True
        self._plain.activate()

    def deactivate(self) -> None:
        """Stop the tool."""
        self.active = False
        self._plain.deactivate()

    def update(self, now: float, dt: float) -> None:
        """Move the tool by the speed in force."""
        speed = self._servo.update(now) if self._stamped else self._plain.update()
        self._body.errors += self._servo.warnings
        self._servo.warnings.clear()
        if not self.active:
            return
        self._body.step = max(
            self._body.step, float(np.linalg.norm(speed[:3])) / self._most[0],
            float(np.linalg.norm(speed[3:])) / self._most[1],
        )
        if not self._body.frozen:
            self._move(speed, dt)

    def _move(self, speed: Array, dt: float) -> None:
        position, quaternion = self._body.poses[self._group]
        axes = matrix_from_quaternion(quaternion)
        if self._chain is not None:
            turn = np.eye(3) if self._tool_axes else axes.T
            self._chain.move(self._body, np.concatenate([turn @ speed[:3], turn @ speed[3:]]), dt)
            return
        turn = axes if self._tool_axes else np.eye(3)
        twist = np.concatenate([turn @ speed[:3], turn @ speed[3:]])
        self._body.poses[self._group] = moved(position, quaternion, twist, dt)

    def _receive_stamped(self, message: Any) -> None:
        self._servo.receive(
            stamp=1e-9 * stamp_ns(message.header.stamp), frame=message.header.frame_id,
            twist=_six(message.twist),
        )

    def _receive(self, message: Any) -> None:
        self._plain.receive(_six(message))


def _six(twist: Any) -> Array:
    linear, angular = twist.linear, twist.angular
    return np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])


