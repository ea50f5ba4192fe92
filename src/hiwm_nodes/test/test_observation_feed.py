"""An observation is complete with its tick; where messages come later, they wake the executor."""

from typing import Any

import numpy as np
import pytest
from hiwm_interfaces.msg import Tick
from sensor_msgs.msg import Image, JointState

from hiwm_core.embodiment import load_embodiment
from hiwm_core.frames import Observation, observation_streams
from hiwm_nodes.messages import image_message, joint_state_message, stamp_tick, time_message
from hiwm_nodes.observation_feed import PUNCTUAL_TICKS, ObservationFeed

EMBODIMENT = load_embodiment("planar_bimanual")
CAMERA = EMBODIMENT.cameras[0]


class Handle:
    """Messages that the middleware has received."""

    def __init__(self) -> None:
        self.queue: list[Any] = []

    def take_message(self, kind: Any, raw: bool) -> tuple[Any, None] | None:
        return (self.queue.pop(0), None) if self.queue else None

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class Subscription:
    def __init__(self, kind: Any, callback: Any, group: Any) -> None:
        self.handle = Handle()
        self.msg_type = kind
        self.callback = callback
        self.callback_group = group


class FakeNode:
    """A node and its executor."""

    def __init__(self) -> None:
        self.subscriptions: dict[Any, Subscription] = {}
        self.wakes = 0
        self.executor = self

    def wake(self) -> None:
        self.wakes += 1

    def create_subscription(
        self, kind: Any, topic: str, callback: Any, profile: Any, *, callback_group: Any
    ) -> Subscription:
        self.subscriptions[kind] = Subscription(kind, callback, callback_group)
        return self.subscriptions[kind]

    @property
    def waits_on_images(self) -> bool:
        images = self.subscriptions[Image]
        return bool(images.callback_group.can_execute(images))

    def arrive(self, message: Any) -> None:
        """Deliver as the executor does: by a callback only if it waits on the subscription."""
        subscription = self.subscriptions[type(message)]
        if subscription.callback_group.can_execute(subscription):
            subscription.callback(message)
        else:
            subscription.handle.queue.append(message)


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def seen() -> list[Observation]:
    return []


@pytest.fixture
def feed(node: Any, seen: list[Observation]) -> ObservationFeed:
    return ObservationFeed(node, EMBODIMENT, seen.append)


def messages(step: int) -> tuple[Image, JointState, Tick]:
    stamp = time_message(1 + step)
    pixels = np.full((CAMERA.height, CAMERA.width, 3), step, np.uint8)
    tick = Tick(epoch=1, step=step, applied_action=list(EMBODIMENT.home))
    stamp_tick(tick, stamp, observation_streams([CAMERA.name]))
    joints = joint_state_message(EMBODIMENT.joint_names, EMBODIMENT.home, stamp)
    return image_message(pixels, stamp, "camera"), joints, tick


def test_the_tick_completes_its_observation_without_another_wake(
    node: FakeNode, feed: ObservationFeed, seen: list[Observation]
) -> None:
    for step in range(3):
        image, joints, tick = messages(step)
        node.arrive(image)
        node.arrive(joints)
        assert len(seen) == step
        feed.tick(tick)
    assert [one.step for one in seen] == [0, 1, 2]
    assert [int(one.images[CAMERA.name][0, 0, 0]) for one in seen] == [0, 1, 2]
    assert node.wakes == 0 and not node.waits_on_images


def test_a_message_after_its_tick_completes_the_observation(
    node: FakeNode, feed: ObservationFeed, seen: list[Observation]
) -> None:
    image, joints, tick = messages(0)
    node.arrive(joints)
    feed.tick(tick)
    assert seen == [] and node.waits_on_images and node.wakes == 1
    node.arrive(image)
    assert [one.step for one in seen] == [0]
    feed.tick(tick)  # repeated for somebody else
    assert len(seen) == 1 and node.waits_on_images and node.wakes == 1


def test_messages_wake_the_executor_until_ticks_come_last_again(
    node: FakeNode, feed: ObservationFeed, seen: list[Observation]
) -> None:
    image, joints, tick = messages(0)
    feed.tick(tick)
    node.arrive(image)
    node.arrive(joints)
    for step in range(1, PUNCTUAL_TICKS + 2):
        assert node.waits_on_images is (step <= PUNCTUAL_TICKS)
        image, joints, tick = messages(step)
        node.arrive(image)
        node.arrive(joints)
        feed.tick(tick)
    assert [one.step for one in seen] == list(range(PUNCTUAL_TICKS + 2))
    assert node.wakes == 2


def test_a_lost_image_costs_its_tick_only(
    node: FakeNode, feed: ObservationFeed, seen: list[Observation]
) -> None:
    _, joints, tick = messages(0)
    node.arrive(joints)
    feed.tick(tick)
    image, joints, tick = messages(1)
    node.arrive(image)
    node.arrive(joints)
    feed.tick(tick)
    assert [one.step for one in seen] == [1] and feed.dropped == 1
