"""One world and one arbiter per namespace: the second one exits and names the first.

On one machine a lock decides before the node has any publisher. Across machines and containers the
nodes announce themselves, and the newcomer exits. A node is established after its first seconds,
by its steady clock. It announces that too, with a start time before that of any newcomer, so a slow
system clock lets no newcomer stop it. Start times decide between two newcomers, and between two
established nodes that meet when their networks join; if they are equal, the node whose name sorts
last exits. Each node compares its own newest announcement with the other's, so that exactly one
stays. Tested by ``test_only_one.py`` and ``test_one_arbiter.py``.
"""

import os
import secrets
import socket
import tempfile
import time
from pathlib import Path
from typing import Final

from hiwm_interfaces.msg import Presence
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from hiwm_core.errors import BusyError
from hiwm_core.launch_identity import launch_id
from hiwm_core.session_lock import Owner, hold_until_end
from hiwm_nodes import qos
from hiwm_nodes.messages import time_message

WORLD: Final = "world"
ARBITER: Final = "arbiter"
# Containers on the host's network may share host name and process id.
_TAIL: Final = secrets.token_hex(2)
# Room for all nodes that may meet in a namespace before all but one have exited.
_ALL: Final = QoSProfile(
    depth=20, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# Counted while the node's callbacks run: a node that took long to load must first hear the others.
_NEWCOMER_PERIODS: Final = 3
_PERIOD_S: Final = 1.0
_ESTABLISHED_SEC: Final = -(2**31)  # added to the start time of an established node


class OnlyOne:
    """Stops a node if another node in the namespace already has its role.

    Args:
        node: the node, before it publishes anything.
        role: WORLD or ARBITER.
        session: its session folder, named in messages to others.

    Attributes:
        sender: sender field of the node's ticks or commands.

    Raises:
        BusyError: another node on this machine has the role.
    """

    def __init__(self, node: Node, role: str, session: Path | None = None) -> None:
        self.sender = sender(node)
        self._node = node
        self._started_ns = time.time_ns()
        of_session = f" of {session}" if session else ""
        owner = hold_until_end(
            _lock_path(node, role),
            Owner(
                role=f"{node.get_name()}{of_session}", pid=os.getpid(), host=socket.gethostname(),
                launch=launch_id(), since=time.strftime("%Y-%m-%d %H:%M:%S"),
            ),
        )
        if owner is not None:
            raise _second(node, role, str(owner))
        self._mine = Presence(
            role=role, sender=self.sender, session=str(session or ""),
            started=time_message(self._started_ns),
        )
        self._publisher = node.create_publisher(Presence, "presence", qos.LATCHED)
        node.create_subscription(Presence, "presence", self._on_presence, _ALL)
        self._periods_left = _NEWCOMER_PERIODS
        self._timer = node.create_timer(
            _PERIOD_S, self._count_period, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._publisher.publish(self._mine)

    def _count_period(self) -> None:
        """Count a period without a rival; after the last one this node is established."""
        self._periods_left -= 1
        if self._periods_left == 0:
            self._timer.cancel()
            self._mine.started.sec += _ESTABLISHED_SEC
            self._publisher.publish(self._mine)

    def _on_presence(self, other: Presence) -> None:
        if other.role != self._mine.role or other.sender == self.sender:
            return
        of_session = f" of {other.session}" if other.session else ""
        if _order(other) < _order(self._mine):
            raise _second(self._node, other.role, other.sender + of_session)
        if self._periods_left > 0:
            self._periods_left = _NEWCOMER_PERIODS
        self._node.get_logger().warning(
            f"a second {other.role} joined the namespace and has to stop: {other.sender}"
            f"{of_session}"
        )


def sender(node: Node) -> str:
    """Return a name unique among all nodes that ever join a graph: node@host:pid-tail."""
    return f"{node.get_name()}@{socket.gethostname()}:{os.getpid()}-{_TAIL}"


def _order(presence: Presence) -> tuple[int, int, str]:
    return presence.started.sec, presence.started.nanosec, presence.sender


def _second(node: Node, role: str, other: str) -> BusyError:
    return BusyError(
        f"{role} already running in namespace {node.get_namespace()}: {other}",
        where=f"{node.get_name()}, ROS_DOMAIN_ID {os.environ.get('ROS_DOMAIN_ID', '0')}",
        remedy="stop that one, or give this launch another ns:= or ROS_DOMAIN_ID",
    )


def _lock_path(node: Node, role: str) -> Path:
    """Return the lock file of this user, network namespace, domain, namespace and role."""
    network = os.stat("/proc/self/ns/net").st_ino
    folder = Path(tempfile.gettempdir()) / f"hiwm_graphs_{os.getuid()}"
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    namespace = node.get_namespace().strip("/").replace("/", ".")
    return folder / f"{network}_{domain}_{namespace}_{role}.lock"
