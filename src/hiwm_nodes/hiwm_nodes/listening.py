"""A world's first tick waits for the nodes that it was launched with.

A node announces on `listening` that its subscriptions to a world's topics are connected. A world
sends its first tick when it has heard from every node that its parameter `wait_for` lists, and when
its own side of their connections is complete. Launch files list the nodes that they start. Tested
by ``test_listening.py``.
"""

import time
from collections.abc import Callable

from hiwm_interfaces.msg import Presence, WorldInfo
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from hiwm_core.errors import DeviceError
from hiwm_nodes import qos
from hiwm_nodes.messages import time_message
from hiwm_nodes.only_one import sender
from hiwm_nodes.parameters import parameter

TOPIC = "listening"
ROLE = "listener"
# A few look-ups in the node itself; only until it has announced itself.
_LOOK_S = 0.05
# Room for the announcements of all nodes of a graph.
_ALL = QoSProfile(
    depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# A start takes seconds, while torch is imported; after this time people want to know the cause.
_REPORT_S = 5.0


class Listening:
    """Announces that a node receives the topics of a world that it subscribes to.

    Args:
        node: the node; it calls `on_world`.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._topics: set[str] = set()
        self._publisher = node.create_publisher(Presence, TOPIC, qos.LATCHED)
        self._timer = node.create_timer(
            _LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._timer.cancel()

    def on_world(self, info: WorldInfo) -> None:
        """Begin to look, once the node has made its subscriptions for this world."""
        self._topics = {
            self._node.resolve_topic_name(name) for name in ("tick", *info.streams)
        }
        self._timer.reset()

    def _look(self) -> None:
        ours = [each for each in self._node.subscriptions if each.topic_name in self._topics]
        if all(each.get_publisher_count() for each in ours):
            self._timer.cancel()
            self._publisher.publish(Presence(
                role=ROLE, sender=sender(self._node), started=time_message(time.time_ns())
            ))


class AwaitedListeners:
    """The nodes that a world waits for before its first tick.

    Args:
        node: the world; it declares the parameters `wait_for` and `wait_timeout_s`.
        now: steady clock, s.

    Attributes:
        heard: names of the nodes that have announced themselves.
    """

    def __init__(self, node: Node, now: Callable[[], float] = time.monotonic) -> None:
        self._node = node
        self._now = now
        self._names = str(parameter(
            node, "wait_for", "", "nodes that the first tick waits for, separated by spaces"
        )).split()
        self._timeout_s = float(parameter(
            node, "wait_timeout_s", 120.0,
            "the world exits if one of them has not announced itself by then, s", 0.1, 36000.0,
        ))
        self.heard: set[str] = set()
        self._since: float | None = None  # the first call of `complete`
        self._reported = False
        self._complete = False
        if self._names:
            node.create_subscription(Presence, TOPIC, self._on_presence, _ALL)

    def _on_presence(self, message: Presence) -> None:
        self.heard.add(message.sender.partition("@")[0])

    def complete(self, ticks: Publisher) -> bool:
        """Return whether every node listens; call it some times a second until it does.

        Args:
            ticks: the world's publisher of ticks.

        Raises:
            DeviceError: one has not announced itself in time; names all that are missing.
        """
        if self._complete:
            return True
        now = self._now()
        self._since = now if self._since is None else self._since
        missing = [name for name in self._names if name not in self.heard]
        if not missing:
            self._complete = self._connected(ticks)
        elif now - self._since > self._timeout_s:
            raise DeviceError(
                f"{_joined(missing)} did not announce that the world's topics are connected "
                f"within {self._timeout_s:g} s", where=f"first tick of {self._node.get_name()}",
                remedy="see the output of the missing nodes; a larger wait_timeout_s gives them "
                "more time",
            )
        elif now - self._since > _REPORT_S and not self._reported:
            self._reported = True
            self._node.get_logger().info(f"the first tick waits for {_joined(missing)}")
        return self._complete

    def _connected(self, ticks: Publisher) -> bool:
        """Return whether ticks reach them: a node may see the world before the world sees it."""
        known = self._node.get_subscriptions_info_by_topic(ticks.topic_name)
        names = {each.node_name for each in known}
        return set(self._names) <= names and ticks.get_subscription_count() >= len(known)


def _joined(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
