"""The first tick waits for the nodes a world was launched with; those missing are named."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import rclpy
from hiwm_interfaces.msg import Tick, WorldInfo
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from hiwm_core.errors import DeviceError
from hiwm_core.ros_domains import domain_id
from hiwm_nodes import qos
from hiwm_nodes.listening import AwaitedListeners, Listening
from hiwm_test_support.nodes import spin_until

pytestmark = pytest.mark.nodes
PATIENCE_S = 30.0


@dataclass
class Rig:
    """A world that publishes ticks, and the nodes around it."""

    context: rclpy.Context
    executor: SingleThreadedExecutor
    clock: list[float] = field(default_factory=lambda: [100.0])

    def node(self, name: str, **parameters: Any) -> Node:
        node = rclpy.create_node(name, context=self.context, parameter_overrides=[
            Parameter(key, value=value) for key, value in parameters.items()
        ])
        self.executor.add_node(node)
        return node

    def listener(self, name: str) -> Listening:
        node = self.node(name)
        listening = Listening(node)
        node.create_subscription(Tick, "tick", lambda tick: None, qos.TICK)
        return listening

    def until(self, condition: Any, seconds: float = PATIENCE_S) -> bool:
        return spin_until(self.executor, condition, seconds)


@pytest.fixture
def rig() -> Iterator[Rig]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id())
    executor = SingleThreadedExecutor(context=context)
    made = Rig(context, executor)
    yield made
    for node in list(executor.get_nodes()):
        node.destroy_node()
    executor.shutdown()
    context.try_shutdown()


def test_the_first_tick_waits_until_every_node_listens(rig: Rig) -> None:
    world = rig.node("world", wait_for="policy recorder")
    ticks = world.create_publisher(Tick, "tick", qos.TICK_PUB)
    awaited = AwaitedListeners(world, lambda: rig.clock[0])
    rig.listener("policy").on_world(WorldInfo())
    assert not rig.until(lambda: awaited.complete(ticks), 1.0)
    rig.listener("recorder").on_world(WorldInfo())
    assert rig.until(lambda: awaited.complete(ticks))
    assert ticks.get_subscription_count() >= 2


def test_missing_nodes_are_named_when_the_time_is_over(rig: Rig) -> None:
    world = rig.node("world", wait_for="policy recorder teleop", wait_timeout_s=20.0)
    ticks = world.create_publisher(Tick, "tick", qos.TICK_PUB)
    awaited = AwaitedListeners(world, lambda: rig.clock[0])
    rig.listener("policy").on_world(WorldInfo())
    rig.until(lambda: "policy" in awaited.heard)
    assert not awaited.complete(ticks)
    rig.clock[0] += 20.1
    with pytest.raises(DeviceError, match="recorder and teleop did not announce"):
        awaited.complete(ticks)


def test_a_world_that_waits_for_nobody_starts_at_once(rig: Rig) -> None:
    world = rig.node("world")
    ticks = world.create_publisher(Tick, "tick", qos.TICK_PUB)
    assert AwaitedListeners(world).complete(ticks)


def test_a_node_without_the_world_s_topics_announces_nothing(rig: Rig) -> None:
    """Its subscription exists before the world does; only a connection counts."""
    world = rig.node("world", wait_for="policy")
    awaited = AwaitedListeners(world, lambda: rig.clock[0])
    rig.listener("policy").on_world(WorldInfo())
    assert not rig.until(lambda: bool(awaited.heard), 0.5)
    ticks = world.create_publisher(Tick, "tick", qos.TICK_PUB)
    assert rig.until(lambda: awaited.complete(ticks))
