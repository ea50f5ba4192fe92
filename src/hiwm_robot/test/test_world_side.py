"""What a robot's world publishes for a tick: every stream with its own stamp, the tick last."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from hiwm_core.embodiment import load_embodiment
from hiwm_core.robot_config import load_robot
from hiwm_core.stamps import stamp_ns
from hiwm_nodes.messages import time_message
from hiwm_robot.bridge_state import Applied, TickPlan
from hiwm_robot.streams import Streams
from hiwm_robot.world_side import WorldSide

EMBODIMENT = load_embodiment("planar_bimanual")
NAMES = list(EMBODIMENT.joint_names)
S = 10**9


class Published:
    """A node that keeps what its publishers get, as topic and stamp, in order."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []

    def create_publisher(self, kind: Any, topic: str, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(
            publish=lambda message: self.messages.append((topic, message)),
            get_subscription_count=lambda: 1,
        )

    def take(self) -> list[tuple[str, int]]:
        taken = [(topic, stamp_ns(message.header.stamp)) for topic, message in self.messages]
        self.messages.clear()
        return taken


class Robot:
    """A robot side with one camera and one source, and the world side above it."""

    def __init__(self) -> None:
        self.streams = Streams(EMBODIMENT, load_robot("standin"))
        self.node = Published()
        self.side = SimpleNamespace(streams=self.streams, images={}, infos={}, poses={})
        self.world = WorldSide(self.node, EMBODIMENT, self.side, sender="bridge")

    def image(self, stamp: int) -> None:
        self.streams.image("top", stamp, stamp / S)
        message = Image(width=96, height=96)
        message.header.stamp = time_message(stamp)
        self.side.images["top"] = message

    def joints(self, stamp: int) -> None:
        self.streams.joint_state("arms", NAMES, [0.1] * 4, stamp, stamp / S, [0.0] * 4)

    def tick(self, stamp: int, applied: Applied | None = None, again: bool = False) -> Any:
        self.world.publish(TickPlan(
            stamp_ns=stamp, epoch=1, step=2, episode=3, applied=applied, hold=None, shifted=False,
            period_s=0.1,
        ), again=again)
        return self.node.messages[-1][1]


def test_streams_keep_their_stamps_and_the_tick_comes_last_and_lists_them() -> None:
    robot = Robot()
    robot.image(5 * S)
    robot.joints(6 * S)
    tick = robot.tick(7 * S)
    assert list(tick.streams) == ["cameras/top/image_raw", "joint_states"]
    assert [stamp_ns(stamp) for stamp in tick.stream_stamps] == [5 * S, 6 * S]
    assert (tick.episode_id, tick.branch_id) == ("ep_0003", "ep_0003-b000")
    assert robot.node.take() == [
        ("cameras/top/image_raw", 5 * S), ("cameras/top/camera_info", 5 * S),
        ("joint_states", 6 * S), ("tick", 7 * S),
    ]


def test_an_image_of_several_ticks_is_published_once_unless_it_is_asked_for_again() -> None:
    robot = Robot()
    robot.image(5 * S)
    robot.joints(6 * S)
    robot.tick(7 * S)
    robot.node.take()
    robot.joints(7 * S)
    robot.tick(8 * S)
    assert [topic for topic, _ in robot.node.take()] == ["joint_states", "tick"]
    robot.tick(8 * S, again=True)
    assert robot.node.take() == [
        ("cameras/top/image_raw", 5 * S), ("cameras/top/camera_info", 5 * S),
        ("joint_states", 7 * S), ("tick", 8 * S),
    ]


def test_two_joint_states_never_share_a_stamp() -> None:
    robot = Robot()
    robot.image(5 * S)
    robot.joints(6 * S)
    stamps = []
    for i in range(4):
        tick = robot.tick((7 + i) * S)
        stamps.append(stamp_ns(tick.stream_stamps[1]))
    assert len(set(stamps)) == 4 and stamps[-1] - stamps[0] < 10


def test_the_joint_state_has_the_embodiments_names_and_no_effort_that_was_not_given() -> None:
    robot = Robot()
    robot.image(5 * S)
    robot.joints(6 * S)
    robot.tick(7 * S)
    message = next(message for topic, message in robot.node.messages if topic == "joint_states")
    assert list(message.name) == NAMES
    assert (len(message.velocity), len(message.effort)) == (4, 0)


def test_the_tick_says_what_was_applied_and_why_it_was_changed() -> None:
    robot = Robot()
    robot.image(5 * S)
    robot.joints(6 * S)
    applied = Applied(action=np.full(4, 0.1), source=1, device="test", note="limited by box")
    tick = robot.tick(7 * S, applied)
    assert list(tick.applied_action) == [0.1] * 4
    assert (tick.applied_source, tick.applied_device) == (1, "test")
    assert tick.applied_note == "limited by box"
    assert abs(tick.control_period_s - 0.1) < 1e-6
