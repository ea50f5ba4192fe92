"""What a robot's cameras and joints show now, for an imagined episode that begins there.

The robot runs in a graph of its own, in another namespace: its bridge publishes there what belongs
together at one tick. Nothing is subscribed to before a start is asked for, so a live robot costs an
imagined session nothing. Tested by `test_live_start.py`.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped
from hiwm_interfaces.msg import Tick, WorldInfo
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from hiwm_core.bags.lineage import recorded_on
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError, DeviceError
from hiwm_core.frames import (
    JOINT_STATES,
    Observation,
    ObservationAssembler,
    camera_stream,
    observation_streams,
    pose_stream,
    stream_stamps,
)
from hiwm_core.recorded_starts import ObservedStart
from hiwm_core.stamps import stamp_ns
from hiwm_nodes import qos
from hiwm_nodes.drained import Drained, messages

# A stream that lags further behind its tick shows another scene. Bridges hold ticks back earlier.
MOST_LAG_S = 1.0
_CHECK_S = 0.005  # between two looks for messages


def live_start(
    node: Node, namespace: str, embodiment: Embodiment, cameras: Sequence[str], timeout_s: float
) -> ObservedStart:
    """Return one complete tick of a robot's bridge. The node's other callbacks wait meanwhile.

    Args:
        node: subscribes.
        namespace: of the robot's graph; relative to the root.
        embodiment: of the world model; the robot's must match.
        cameras: names, in the order of the world model.
        timeout_s: longest wait for the bridge, and again for a tick.

    Raises:
        ConfigError: no other namespace, no robot there, one of another embodiment or without a
            camera, or an image or joint state that does not fit the embodiment.
        DeviceError: no bridge, no complete tick in time, or a stream that is stale.
    """
    graph = "/" + namespace.strip("/")
    where = f"start live, namespace {graph}"
    if graph == node.get_namespace() or graph == "/":
        raise ConfigError(
            "the robot must run in another namespace than this world", where=where,
            remedy="launch this session with ns:=imagined, or name the robot's with live_ns:=",
        )
    info = next(messages(node, WorldInfo, f"{graph}/world_info", qos.LATCHED, timeout_s), None)
    if info is None:
        raise DeviceError(
            f"no robot bridge within {timeout_s:g} s", where=where,
            remedy="start the robot's session (world:=hardware) in the same ROS_DOMAIN_ID, or name "
            "its namespace with live_ns:=",
        )
    _check(info, embodiment, cameras, where)
    tick, seen = _complete_tick(node, graph, embodiment, cameras, timeout_s, where)
    stamps = {name: stream_stamps(tick)[name] for name in _streams(embodiment, cameras)}
    for name, stamp in stamps.items():
        lag_s = 1e-9 * (seen.stamp_ns - stamp)
        if lag_s > MOST_LAG_S:
            raise DeviceError(
                f"{name} is {lag_s:.1f} s older than its tick: stale", where=where,
                remedy="check its driver",
            )
    robot = recorded_on(info.kind, info.robot, info.stand_in)
    listed = ", ".join(f"{name} {1e-9 * stamp:.3f}" for name, stamp in stamps.items())
    return ObservedStart(
        images=tuple(seen.images[name] for name in cameras), proprioception=seen.proprio,
        measured=seen.measured,
        started_from=f"live:{graph} at {1e-9 * seen.stamp_ns:.3f} (session "
        f"{info.session_id or 'unknown'}, {seen.branch_id}:{seen.step} on {robot}; {listed})",
    )


def _check(
    info: WorldInfo, embodiment: Embodiment, cameras: Sequence[str], where: str
) -> None:
    """Raise ConfigError unless a robot of this embodiment with these cameras runs there."""
    if info.kind != "hardware":
        raise ConfigError(
            f"the world there is {info.kind}, not a robot", where=where,
            remedy="begin at one of its states instead: session:PATH@NODE",
        )
    if info.embodiment_hash != embodiment.hash:
        raise ConfigError(
            f"robot {info.robot} is a {info.embodiment} {info.embodiment_hash[:12]}, the world "
            f"model is for {embodiment.name} {embodiment.hash[:12]}", where=where,
            remedy="give a world model that was trained for this robot's embodiment",
        )
    lacking = [name for name in cameras if name not in info.cameras]
    if lacking:
        raise ConfigError(
            f"robot {info.robot} has no camera {', '.join(lacking)}, which the world model draws",
            where=where, remedy="add it to the robot's file",
        )


def _streams(embodiment: Embodiment, cameras: Sequence[str]) -> list[str]:
    return observation_streams(cameras, embodiment.pose_names)


def _complete_tick(
    node: Node, graph: str, embodiment: Embodiment, cameras: Sequence[str], timeout_s: float,
    where: str,
) -> tuple[Tick, Observation]:
    """Return the first tick whose messages have all arrived, and what they say."""
    assembler = ObservationAssembler(
        replace(embodiment, cameras=tuple(embodiment.camera(name) for name in cameras))
    )
    ticks: dict[int, Tick] = {}

    def add_tick(message: Tick) -> Observation | None:
        ticks[stamp_ns(message.header.stamp)] = message
        return assembler.add_tick(message)

    takes: list[tuple[str, Any, Callable[[Any], Observation | None]]] = [
        *((camera_stream(name), Image, partial(assembler.add_image, name)) for name in cameras),
        *((pose_stream(name), PoseStamped, partial(assembler.add_pose, name))
          for name in embodiment.pose_names),
        (JOINT_STATES, JointState, assembler.add_joint_state), ("tick", Tick, add_tick),
    ]
    subscriptions = [
        node.create_subscription(
            kind, f"{graph}/{name}", lambda message: None, qos.TICK, callback_group=Drained()
        )
        for name, kind, _ in takes
    ]
    arrived: Counter[str] = Counter()
    end = time.monotonic() + timeout_s
    try:
        while time.monotonic() < end:
            for subscription, (name, kind, take) in zip(subscriptions, takes, strict=True):
                handle = subscription.handle
                with handle:
                    taken = handle.take_message(kind, False)
                if taken is None:
                    continue
                arrived[name] += 1
                if (seen := take(taken[0])) is not None:
                    return ticks[seen.stamp_ns], seen
            time.sleep(_CHECK_S)
    finally:
        for subscription in subscriptions:
            node.destroy_subscription(subscription)
    silent = [name for name, _, _ in takes if not arrived[name]]
    raise DeviceError(
        f"no complete tick within {timeout_s:g} s: "
        + (f"nothing arrives on {', '.join(silent)}" if silent else
           "ticks list other images or joint states than those that arrive"),
        where=where,
        remedy="check its cameras and drivers; its /diagnostics has the age of each stream",
    )
