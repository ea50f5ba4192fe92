"""An image that waits for joint states is looked after until they come, and no longer."""

from collections.abc import Iterator

import pytest
import rclpy
from rclpy.node import Node

from hiwm_core.ros_domains import domain_id
from hiwm_nodes.executor import KeptWaitSetExecutor
from hiwm_robot.pairing import PairTimer
from hiwm_test_support.nodes import spin_until

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(60)]


@pytest.fixture
def node() -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id())
    made = rclpy.create_node("bridge", context=context)
    yield made
    made.destroy_node()
    context.try_shutdown()


def test_it_looks_while_an_image_waits(node: Node) -> None:
    executor = KeptWaitSetExecutor(context=node.context)
    executor.add_node(node)
    looks: list[int] = []

    def look() -> None:
        looks.append(len(looks))
        timer.wait(len(looks) % 3 != 0)  # the third look finds the joint states

    timer = PairTimer(node, look)
    assert not spin_until(executor, lambda: bool(looks), 0.05)
    for image in (1, 2):
        timer.wait(True)
        assert spin_until(executor, lambda: len(looks) >= 3 * image, 30.0)  # noqa: B023
        assert not spin_until(executor, lambda: len(looks) > 3 * image, 0.05)  # noqa: B023
    executor.shutdown()
