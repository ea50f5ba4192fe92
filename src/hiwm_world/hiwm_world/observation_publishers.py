"""The topics of an imagined observation: images, joint states, poses, and the tick last."""

import array
from collections.abc import Sequence

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from hiwm_interfaces.msg import Tick
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState

from hiwm_core.embodiment import CameraSpec, Embodiment
from hiwm_core.frames import observation_streams, pose_stream
from hiwm_core.world_streams import WorldStreams
from hiwm_nodes import qos
from hiwm_nodes.late_subscribers import LateSubscribers
from hiwm_nodes.messages import (
    camera_info_message,
    image_message,
    joint_state_message,
    pose_message,
    stamp_tick,
)
from hiwm_world.imagined_world import PresentTick


class ObservationPublishers:
    """Publishes the observations of an imagined world.

    Args:
        node: creates the publishers.
        embodiment: joints and poses.
        cameras: those that the world model shows, its first one first.
        sender: of the ticks.

    Attributes:
        ticks: publisher of the ticks.
        late: tells of subscribers that missed the last observation.
    """

    def __init__(
        self, node: Node, embodiment: Embodiment, cameras: Sequence[CameraSpec], sender: str
    ) -> None:
        self._embodiment, self._cameras, self._sender = embodiment, cameras, sender
        names = [camera.name for camera in cameras]
        self._streams = observation_streams(names, embodiment.pose_names)
        self._robot_streams = WorldStreams(embodiment)
        self._images = [
            node.create_publisher(Image, f"cameras/{name}/image_raw", qos.IMAGE_PUB)
            for name in names
        ]
        self._infos = [
            node.create_publisher(CameraInfo, f"cameras/{name}/camera_info", qos.IMAGE_PUB)
            for name in names
        ]
        self._joints = node.create_publisher(JointState, "joint_states", qos.TICK_PUB)
        self._poses = {
            name: node.create_publisher(PoseStamped, pose_stream(name), qos.TICK_PUB)
            for name in embodiment.pose_names
        }
        self.ticks = node.create_publisher(Tick, "tick", qos.TICK_PUB)
        self.late = LateSubscribers(
            [*self._images, self._joints, *self._poses.values(), self.ticks]
        )

    def publish(self, present: PresentTick, stamp: Time) -> None:
        """Publish the present observation under a stamp, the tick last."""
        seen = present.observation
        for camera, images, infos in zip(self._cameras, self._images, self._infos, strict=True):
            frame = f"{camera.name}_camera"
            images.publish(image_message(seen.others.get(camera.name, seen.image), stamp, frame))
            if infos.get_subscription_count():
                infos.publish(camera_info_message(camera.width, camera.height, stamp, frame))
        joints = self._robot_streams.joints(seen.proprioception)
        self._joints.publish(joint_state_message(
            joints.name, joints.position, stamp, self._embodiment.frame,
            velocities=joints.velocity, efforts=joints.effort,
        ))
        for name, pose in self._robot_streams.poses(seen.proprioception).items():
            self._poses[name].publish(pose_message(pose, stamp, self._embodiment.frame))
        tick = Tick(
            epoch=present.epoch, step=present.step, episode_id=present.episode_id,
            branch_id=present.branch_id, started_from=present.started_from,
            state_id=present.state_id, trust=seen.trust, progress=seen.progress,
            success=seen.success, applied_source=present.applied_source,
            applied_device=present.applied_device, applied_note=present.applied_note,
            sender=self._sender,
        )
        if present.applied_action is not None:
            tick.applied_action = array.array("d", present.applied_action)
        stamp_tick(tick, stamp, self._streams)
        tick.header.frame_id = self._embodiment.frame
        self.ticks.publish(tick)
