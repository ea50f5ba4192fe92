"""The QoS profiles of the graph, by purpose of the topic."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

# Subscribers to images and joint states: a lost frame is better than a late one.
SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
# Publishers of images: compatible with reliable and best-effort subscribers. The depth covers a
# fifth of a second of the fastest imagined world, in case the recorder stalls that long.
IMAGE_PUB = QoSProfile(depth=60, reliability=ReliabilityPolicy.RELIABLE)
# Streams that a node on the tick path must not miss. The policy and the operator also use it for
# images, where a lost one would stop a lock-step world. The recorder has its own, deeper profiles.
TICK = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
# Publishers of ticks and joint states. A lock-step world makes hundreds per second and waits only
# for the policy. The depth keeps messages for subscribers of equal depth that fall behind (branch
# manager, recorder, evaluator).
TICK_PUB = QoSProfile(depth=500, reliability=ReliabilityPolicy.RELIABLE)
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# Events of which a late subscriber needs all, not only the last: recorded segments.
HISTORY = QoSProfile(
    depth=1000, reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
