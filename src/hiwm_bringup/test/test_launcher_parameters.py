"""Strings that YAML or ROS could read as another type reach a node as strings."""

from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from hiwm_bringup.launcher.node_specs import NodeSpec

TEXTS = (
    "4e7", "0123", "0x1f", "1_000", "on", "yes", "no", "true", "1:30", "null", "~", ".5", "5.",
    "99999999999999999999", "-", "1e400", ".inf", "[1, 2]", "{a: 1}", "a: b", "# no comment",
    "with space", " edges ", "ümlaut/目录", "it's", 'a "quote"', "back\\slash", "$(var x)", "*",
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_parameter_reaches_ros_as_it_was_given(tmp_path: Path, text: str) -> None:
    spec = NodeSpec(
        package="p", executable="e", name="n", namespace="/", parameters=({"session_dir": text},)
    )
    words = spec.command("e", spec.write_parameters(tmp_path, "node"))[1:]
    context = Context()
    rclpy.init(args=words, context=context)
    try:
        node = Node("n", context=context)
        assert node.declare_parameter("session_dir", "").value == text
        node.destroy_node()
    finally:
        context.shutdown()
