"""Strings that YAML or ROS could read as another type reach a node as strings."""

from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from hiwm_bringup.launcher.node_specs import NodeSpec

TEXTS = (
    "4e7", "0123", "0x1f", "1_000", "on", "yes", "no", "true", "1:30", "null", "~", ".5", "5.",
    "99999999999999999999", "-", "1e400", ".inf", "[1, 2]", "{a: 1}", "a: b", "# no comment",
    "with space", " edges ", "ümlaut/目录", "it's", 'a "quote"', "back\\slash", "$(var x)", "*",
)


def test_text_parameters_reach_ros_as_they_were_given(tmp_path: Path) -> None:
    given = {f"p{number}": text for number, text in enumerate(TEXTS)}
    spec = NodeSpec(package="p", executable="e", name="n", namespace="/", parameters=(given,))
    words = spec.command("e", spec.write_parameters(tmp_path, "node"))[1:]
    context = Context()
    rclpy.init(args=words, context=context)
    try:
        node = Node("n", context=context)
        assert {name: node.declare_parameter(name, "").value for name in given} == given
        node.destroy_node()
    finally:
        context.shutdown()
