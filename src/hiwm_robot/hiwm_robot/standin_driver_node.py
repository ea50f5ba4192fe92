"""The stand-in's driver: a robot's controllers and sensors as topics, simulated by MuJoCo.

It runs *below* the bridge and knows nothing about ticks, epochs or policies. The robot's file
names its topics and actions. In real time it follows the wall clock. In fast mode it owns /clock
and takes one control step once every controller has its command, so that a graph runs as fast as
its slowest node and repeats exactly.
"""

import array
import os
import time
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from hiwm_interfaces.msg import GroundTruth
from hiwm_interfaces.srv import PlaceScene
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image, JointState

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.named_values import named_values
from hiwm_core.robot_config import load_robot
from hiwm_core.tasks import load_task
from hiwm_nodes import diagnostics, qos
from hiwm_nodes.messages import (
    camera_info_message,
    image_message,
    joint_state_message,
    time_message,
)
from hiwm_nodes.parameters import parameter
from hiwm_nodes.running import run

# Fast mode publishes the same observation again after this time without a command, so that a bridge
# that starts later finds it. The simulated time stands still: what a session records must not
# depend on how long its nodes take.
IDLE_PERIOD_S = 0.2
# Real time: a process suspended for longer than this does not catch up.
LONGEST_ADVANCE_S = 0.5


def quiet_publisher(node: Node, kind: Any, topic: str, profile: QoSProfile) -> Publisher:
    """Return a publisher without the default callbacks, which log a QoS mismatch.

    Each of these adds an entity to every wait.
    """
    quiet = PublisherEventCallbacks(use_default_callbacks=False)
    return node.create_publisher(kind, topic, profile, event_callbacks=quiet)


class _Camera:
    """One camera: its image and calibration, from a topic `FOLDER/image_raw`."""

    def __init__(self, node: Node, name: str, size: int, topic: str) -> None:
        self.name, self.size = name, size
        frame = f"{name}_camera"
        self._image = image_message(np.zeros((size, size, 3), np.uint8), Time(), frame)
        self._info = camera_info_message(size, size, Time(), frame)
        folder = topic.rpartition("/")[0]
        self._images = quiet_publisher(node, Image, topic, qos.IMAGE_PUB)
        self._infos = quiet_publisher(node, CameraInfo, f"{folder}/camera_info", qos.IMAGE_PUB)

    @property
    def watched(self) -> bool:
        """Whether anyone has subscribed to the images."""
        return bool(self._images.get_subscription_count())

    def publish(self, pixels: NDArray[np.uint8], stamp: Time) -> None:
        """Publish an image [H, W, 3], and the calibration if anyone listens."""
        if self._infos.get_subscription_count():
            self._info.header.stamp = stamp
            self._infos.publish(self._info)
        self._image.header.stamp = stamp
        self._image.data = array.array("B", pixels.tobytes())
        self._images.publish(self._image)


class StandinDriver(Node):
    """Connects the controllers and the scene to a robot's topics."""

    def __init__(self) -> None:
        super().__init__("standin_driver")
        task = load_task(parameter(self, "task", default_task(), "name or path of the task"))
        robot = load_robot(parameter(
            self, "robot", task.stand_in().stand_in_robot, "name or path of the robot's file"
        ))
        embodiment = load_embodiment(robot.embodiment)
        seed = parameter(self, "seed", 0, "seed of sampled starts", 0, 2**31 - 1)
        size = parameter(self, "render_size", 0, "size of images, px; 0: as embodied", 0, 512)
        self._fast = parameter(self, "fast", False, "step on command, own /clock")
        camera_rate = parameter(
            self, "camera_rate", embodiment.rate_hz, "images per second", 0.1, 100.0
        )
        joint_rate = parameter(
            self, "joint_rate", camera_rate, "joint states per second in real time", 0.1, 1000.0
        )
        # Default offscreen renderer; mujoco reads the variable on import.
        os.environ.setdefault("MUJOCO_GL", "egl")
        from hiwm_robot.standin_controllers import make_inputs
        from hiwm_robot.standin_robot import StandinRobot, image_sizes, view_sizes

        self._task = task
        self._robot = StandinRobot(task, embodiment, robot, seed=seed, render_size=size)
        self._scene = self._robot.scene
        self._clock_ns = self._robot.period_ns  # fast: simulated time; 0 would mean no stamp
        self._last_wall = time.monotonic()
        self._observed_wall = -1e9
        self._counts = {"observations": 0, "commands": 0, "rejected": 0, "resets": 0}
        self._rate = diagnostics.RateMeter()
        self._heard: set[str] = set()  # fast: outputs with a command since the last step

        self._cameras = [
            _Camera(self, name, side, robot.cameras[name].image)
            for name, side in image_sizes(embodiment, size).items()
        ]
        # Nobody needs a view's picture for a tick: it is drawn only if somebody watches.
        self._views = [
            _Camera(self, name, side, robot.views[name].image)
            for name, side in view_sizes(robot).items()
        ]
        places = {name: i for i, name in enumerate(embodiment.joint_names)}
        self._sources = [
            (
                self._publisher(JointState, source.topic, qos.TICK),
                joint_state_message(
                    [entry.driver for entry in source.entries], [0.0] * len(source.entries),
                    Time(), embodiment.frame,
                ),
                [(places[entry.joint], entry) for entry in source.entries],
            )
            for source in robot.joint_states.values()
        ]
        self._truth = GroundTruth(names=task.stand_in().truth_names)
        self._truth.header.frame_id = embodiment.frame
        self._truth_pub = self._publisher(GroundTruth, robot.ground_truth, qos.TICK)
        self._grippers = make_inputs(self, self._robot, self._catch_up, self._commanded)
        self.create_service(PlaceScene, robot.reset_service, self._on_place)
        self._diagnostics = diagnostics.Diagnostics(self, self._values)
        # Steady clock on purpose, whatever use_sim_time is: these timers drive the simulated time.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        if self._fast:
            self._clock_pub = self._publisher(ClockMessage, "/clock", qos.TICK)
            self.create_timer(IDLE_PERIOD_S, self._on_idle, clock=steady)
        else:
            self.create_timer(1.0 / camera_rate, self._observe_now, clock=steady)
            if joint_rate > camera_rate:
                self.create_timer(1.0 / joint_rate, self._show_joints, clock=steady)
        self.get_logger().info(
            f"stand-in ready: task {task.name}, robot {robot.name}, "
            + ("fast, stepping on command" if self._fast else f"real time, {camera_rate:g} Hz")
        )

    def _publisher(self, kind: Any, topic: str, profile: QoSProfile) -> Publisher:
        return quiet_publisher(self, kind, topic, profile)

    # Commands

    def _commanded(self, name: str, problem: str) -> None:
        if problem:
            self._counts["rejected"] += 1
            self.get_logger().error(
                f"command of {name} refused: {problem}; holding the last target",
                throttle_duration_sec=5.0,
            )
            return
        self._counts["commands"] += 1
        if self._fast:
            self._heard.add(name)
            if self._heard >= set(self._robot.controllers):
                self._step()

    # Time

    def _step(self) -> None:
        """Fast: advance one control period, and publish the observation."""
        self._heard.clear()
        self._robot.advance()
        self._clock_ns += self._robot.period_ns
        self._observe(self._clock_ns)

    def _on_idle(self) -> None:
        if time.monotonic() - self._observed_wall >= IDLE_PERIOD_S:
            self._observe(self._clock_ns)

    def _catch_up(self) -> None:
        """Real time: advance the physics to the wall clock."""
        if self._fast:
            return
        behind = time.monotonic() - self._last_wall
        steps = int(behind / self._scene.timestep_s)
        if behind > LONGEST_ADVANCE_S:
            steps = int(LONGEST_ADVANCE_S / self._scene.timestep_s)
            self._last_wall = time.monotonic()
        else:
            self._last_wall += steps * self._scene.timestep_s
        self._robot.advance(steps * self._scene.timestep_s)

    # Observations

    def _observe_now(self) -> None:
        self._catch_up()
        self._observe(self.get_clock().now().nanoseconds)

    def _observe(self, stamp_ns: int) -> None:
        """Publish the sensor data, images last, then the ground truth, which no node waits for."""
        stamp = time_message(stamp_ns)
        if self._fast:
            self._clock_pub.publish(ClockMessage(clock=stamp))
        self._publish_joints(stamp)
        for view in [view for view in self._views if view.watched]:
            self._show_view(view, stamp)
        # The first camera paces the bridge, so its image comes last.
        for camera in reversed(self._cameras):
            camera.publish(self._scene.render(camera.size, camera.name), stamp)
        self._truth.header.stamp = stamp
        truth = self._scene.truth
        self._truth.values = array.array("d", [truth[name] for name in self._truth.names])
        self._truth_pub.publish(self._truth)
        for gripper in self._grippers:
            gripper.check()
        self._observed_wall = time.monotonic()
        self._counts["observations"] += 1
        self._rate.count()

    def _show_view(self, view: _Camera, stamp: Time) -> None:
        try:
            view.publish(self._scene.render(view.size, view.name), stamp)
        except ValueError as error:  # the scene has no such camera
            self._views.remove(view)
            self.get_logger().error(
                f"views.{view.name} is not drawn: {error}; correct its name in the robot's file"
            )

    def _show_joints(self) -> None:
        self._catch_up()
        self._publish_joints(self.get_clock().now().to_msg())

    def _publish_joints(self, stamp: Time) -> None:
        positions, velocities = self._scene.joint_positions, self._scene.joint_velocities
        for publisher, message, entries in self._sources:
            message.header.stamp = stamp
            message.position = array.array("d", [
                entry.of_driver(positions[i]) for i, entry in entries
            ])
            message.velocity = array.array("d", [
                velocities[i] * (entry.gripper.span if entry.gripper else 1.0)
                for i, entry in entries
            ])
            publisher.publish(message)

    # Reset

    def _on_place(
        self, request: PlaceScene.Request, response: PlaceScene.Response
    ) -> PlaceScene.Response:
        where = "start of place_scene"
        try:
            values = named_values(request.start_names, request.start_values, where)
            response.message = self._task.start_problem(values) if values else ""
        except ConfigError as error:
            response.message = str(error)
        if response.message:
            return response
        placed = self._robot.place(values or None, int(request.seed))
        self._heard.clear()
        self._last_wall = time.monotonic()
        self._counts["resets"] += 1
        if self._fast:
            self._clock_ns += self._robot.period_ns
            stamp_ns = self._clock_ns
        else:
            stamp_ns = self.get_clock().now().nanoseconds
        self._observe(stamp_ns)
        response.ok = True
        response.message = "placed"
        response.start_names = list(placed)
        response.start_values = list(placed.values())
        response.header.stamp = time_message(stamp_ns)
        return response

    def close(self) -> None:
        """Free the renderer while its display still exists."""
        self._scene.close()

    def _values(self) -> dict[str, Any]:
        return {
            "mode": "fast" if self._fast else "real time",
            "observations_per_s": f"{self._rate.rate:.1f}", **self._counts,
        }


def main() -> None:
    """Run the driver."""
    raise SystemExit(run(StandinDriver))
