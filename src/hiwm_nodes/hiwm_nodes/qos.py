"""The QoS profiles of the graph, by what a topic is for."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

# Consumers of images and joint states: a lost frame is better than a late one.
SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
# Publishers of images: compatible with both reliable and best-effort consumers. As deep as a fifth
# of a second of an imagined world at its fastest, for a recorder that is held up as long.
IMAGE_PUB = QoSProfile(depth=60, reliability=ReliabilityPolicy.RELIABLE)
# Streams a node on the tick path must not miss. Images use it too where a lost one would stop a
# lock-step world: the policy and the operator. The recorder has deeper ones of its own.
TICK = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
# Publishers of ticks and joint states. What a consumer as deep has not taken yet is not overwritten
# (branch manager, recorder, evaluator): a lock-step world makes hundreds a second and waits for the
# policy alone.
TICK_PUB = QoSProfile(depth=500, reliability=ReliabilityPolicy.RELIABLE)
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# Things that happened, of which one that joins late wants all and not the last: segments recorded.
HISTORY = QoSProfile(
    depth=1000, reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
