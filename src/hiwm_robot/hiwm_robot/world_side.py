"""The bridge's world side: observations and ticks as every world publishes them.

Each image, joint state and pose keeps the stamp that its driver gave; the tick lists them.
"""

import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from hiwm_interfaces.msg import Command, Tick
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image, JointState

from hiwm_core.embodiment import Embodiment
from hiwm_core.frames import JOINT_STATES, camera_stream, pose_stream
from hiwm_nodes import qos
from hiwm_nodes.late_subscribers import LateSubscribers
from hiwm_nodes.messages import camera_info_message, time_message
from hiwm_robot.bridge_state import TickPlan
from hiwm_robot.robot_outputs import QUIET
from hiwm_robot.robot_side import RobotSide


class WorldSide:
    """Publishes what a robot's world shows.

    Args:
        node: creates the publishers.
        embodiment: cameras and frame.
        side: newest images and states.
        sender: the bridge, for ticks.
    """

    def __init__(
        self, node: LifecycleNode, embodiment: Embodiment, side: RobotSide, *, sender: str
    ) -> None:
        self._side = side
        self._frame = embodiment.frame
        names = [camera.name for camera in embodiment.cameras]

        def publisher(kind: Any, topic: str, profile: Any) -> Publisher:
            return node.create_publisher(kind, topic, profile, event_callbacks=QUIET)

        self._images = {
            name: publisher(Image, camera_stream(name), qos.IMAGE_PUB) for name in names
        }
        self._infos = {
            name: publisher(CameraInfo, f"cameras/{name}/camera_info", qos.IMAGE_PUB)
            for name in names
        }
        self._sizes = {
            camera.name: camera_info_message(
                camera.width, camera.height, Time(), f"{camera.name}_camera"
            )
            for camera in embodiment.cameras
        }
        self._joints = publisher(JointState, JOINT_STATES, qos.TICK_PUB)
        self._poses = {
            name: publisher(PoseStamped, pose_stream(name), qos.TICK_PUB)
            for name in side.streams.pose_names
        }
        self.ticks = publisher(Tick, "tick", qos.TICK_PUB)
        self.late = LateSubscribers(
            [*self._images.values(), self._joints, *self._poses.values(), self.ticks]
        )
        self._published: dict[str, int] = {}  # newest stamp of each stream
        self._tick = Tick(
            trust=1.0, progress=float("nan"), success=float("nan"), sender=sender
        )
        self._tick.header.frame_id = embodiment.frame

    @property
    def episode_id(self) -> str:
        """Name of the present episode."""
        return str(self._tick.episode_id)

    def publish(self, plan: TickPlan, *, again: bool = False) -> None:
        """Publish an observation, the tick last.

        Args:
            plan: the tick.
            again: repeat every message, for subscribers that have joined.
        """
        stamps = self._side.streams.stamps()
        joints = self._joint_message(stamps, again)
        for name, image in self._side.images.items():
            if self._is_new(camera_stream(name), stamps, again):
                self._images[name].publish(image)
                if self._infos[name].get_subscription_count():
                    info = self._side.infos.get(name, self._sizes[name])
                    info.header.stamp = image.header.stamp
                    self._infos[name].publish(info)
        self._joints.publish(joints)
        for name, pose in self._side.poses.items():
            if self._is_new(pose_stream(name), stamps, again):
                self._poses[name].publish(pose)
        self._fill_tick(plan, stamps)
        self.ticks.publish(self._tick)

    def _is_new(self, stream: str, stamps: dict[str, int], again: bool) -> bool:
        """Return whether a slow stream has a message that was not published yet."""
        new = self._published.get(stream) != stamps[stream]
        self._published[stream] = stamps[stream]
        return new or again

    def _joint_message(self, stamps: dict[str, int], again: bool) -> JointState:
        """Return the newest joints of every source, under a stamp of their own."""
        joints = self._side.streams.joints
        message = JointState(name=joints.names, position=array.array("d", joints.position))
        # Empty unless a driver gives them; NaN for joints whose driver does not.
        if not np.isnan(joints.velocity).all():
            message.velocity = array.array("d", joints.velocity)
        if not np.isnan(joints.effort).all():
            message.effort = array.array("d", joints.effort)
        stamp = stamps[JOINT_STATES]
        before = self._published.get(JOINT_STATES)
        if before is not None and not again and before - 1000 < stamp <= before:
            # An older part has changed and the newest has not: two messages, two stamps.
            stamp = before + 1
        self._published[JOINT_STATES] = stamps[JOINT_STATES] = stamp
        message.header.stamp = time_message(stamp)
        message.header.frame_id = self._frame
        return message

    def _fill_tick(self, plan: TickPlan, stamps: dict[str, int]) -> None:
        tick = self._tick
        tick.header.stamp = time_message(plan.stamp_ns)
        tick.streams = list(stamps)
        tick.stream_stamps = [time_message(stamp) for stamp in stamps.values()]
        tick.epoch = plan.epoch
        tick.step = plan.step
        tick.control_period_s = plan.period_s
        if plan.applied is None:
            tick.episode_id = f"ep_{plan.episode:04d}"
            tick.branch_id = f"{tick.episode_id}-b000"
            tick.applied_action = array.array("d")
            tick.applied_source = Command.SOURCE_NONE
            tick.applied_device = tick.applied_note = ""
        else:
            tick.applied_action = array.array("d", plan.applied.action)
            tick.applied_source = plan.applied.source
            tick.applied_device = plan.applied.device
            tick.applied_note = plan.applied.note
