"""A world's observations, with one wake of the executor for each.

A world sends images, joint states and poses first and the tick last. A node subscribes to the tick
and passes it here. The other messages have usually arrived, and are taken at once. After a tick
without all of its messages, each message wakes the executor, until ticks come last again. Tested by
``test_observation_feed.py``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image, JointState

from hiwm_core.embodiment import Embodiment
from hiwm_core.frames import (
    JOINT_STATES,
    Observation,
    ObservationAssembler,
    camera_stream,
    pose_stream,
)
from hiwm_nodes import qos
from hiwm_nodes.drained import Drained, waiting

# Ticks in a row that come last before their other messages no longer wake the executor. A change
# costs about as much as several wakes.
PUNCTUAL_TICKS = 20


class ObservationFeed:
    """Collects the messages of each tick.

    Args:
        node: creates the subscriptions, with names relative to it.
        embodiment: cameras and joints of a complete observation.
        on_observation: called with each complete observation.
    """

    def __init__(
        self, node: Node, embodiment: Embodiment, on_observation: Callable[[Observation], None]
    ) -> None:
        self._node = node
        self._on_observation = on_observation
        self._assembler = ObservationAssembler(embodiment)
        self._group = Drained()
        self._punctual = 0  # ticks in a row
        # Subscriptions with their callbacks.
        self._streams: list[tuple[Subscription, Callable[[Any], None]]] = []
        for camera in embodiment.cameras:
            self._listen(
                Image, camera_stream(camera.name), partial(self._assembler.add_image, camera.name)
            )
        for name in embodiment.pose_names:
            self._listen(PoseStamped, pose_stream(name), partial(self._assembler.add_pose, name))
        self._listen(JointState, JOINT_STATES, self._assembler.add_joint_state)

    @property
    def dropped(self) -> int:
        """Ticks that never became complete."""
        return self._assembler.dropped

    def tick(self, message: Any) -> None:
        """Take a tick, and what has arrived of its observation.

        Raises:
            ConfigError: a message does not fit the embodiment.
        """
        for subscription, receive in self._streams:
            for each in waiting(subscription):
                receive(each)
        self._deliver(self._assembler.add_tick(message))
        late = self._assembler.incomplete
        self._punctual = 0 if late else self._punctual + 1
        awake = late or (self._group.awake and self._punctual < PUNCTUAL_TICKS)
        if awake != self._group.awake:
            self._group.awake = awake
            if self._node.executor is not None:
                self._node.executor.wake()

    def close(self) -> None:
        """End the subscriptions."""
        for subscription, _ in self._streams:
            self._node.destroy_subscription(subscription)
        self._streams.clear()

    def _listen(
        self, kind: Any, topic: str, add: Callable[[Any], Observation | None]
    ) -> None:
        def receive(message: Any) -> None:
            self._deliver(add(message))

        subscription = self._node.create_subscription(
            kind, topic, receive, qos.TICK, callback_group=self._group
        )
        self._streams.append((subscription, receive))

    def _deliver(self, seen: Observation | None) -> None:
        if seen is not None:
            self._on_observation(seen)
