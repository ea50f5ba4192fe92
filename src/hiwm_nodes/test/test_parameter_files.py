"""Text that `ros2 launch` writes without quotes reaches a node as it was given."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.node import Node

from hiwm_core.errors import ConfigError
from hiwm_nodes.parameters import parameter

# YAML takes all of them as text, or quotes them when it writes them; ROS takes the first ten as
# numbers or bools.
TEXTS = (
    "4e7", "1e3", "12e45", "089", "0x1p3", "1.e3", "nan", "inf", "y", "N",
    "yes", "007", "null", "1_000", "1:30", "~", "true", "12", "5.", "1e400", "[a, b]", " a ", "",
)


@contextmanager
def node_with(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    words = ["--ros-args", *words]
    monkeypatch.setattr(sys, "argv", ["node", *words])
    context = Context()
    rclpy.init(args=words, context=context)
    node = Node("n", namespace="here", context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        context.shutdown()


def file_of(path: Path, key: str, values: dict[str, str]) -> list[str]:
    """The words of a parameter file, written as `ros2 launch` writes it."""
    content = {key: {"ros__parameters": values}}
    path.write_text(yaml.dump(content, default_flow_style=False))
    return ["--params-file", str(path)]


def test_a_text_reaches_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {f"p{number}": text for number, text in enumerate(TEXTS)}
    words = file_of(tmp_path / "a.yaml", "/here/n", given)
    with node_with(words, monkeypatch) as node:
        assert {name: parameter(node, name, "", "what it is") for name in given} == given
        assert {name: node.get_parameter(name).value for name in given} == given


def test_the_last_file_counts_and_other_nodes_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        *file_of(tmp_path / "a.yaml", "/**", {"p": "1e1", "q": "1e1"}),
        *file_of(tmp_path / "b.yaml", "/here/n", {"p": "1e2"}),
        *file_of(tmp_path / "c.yaml", "/here/other", {"p": "1e3"}),
    ]
    with node_with(words, monkeypatch) as node:
        assert parameter(node, "p", "", "what it is") == "1e2"
        assert parameter(node, "q", "", "what it is") == "1e1"


def test_a_number_for_text_on_the_command_line_and_text_for_a_number_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["-p", "text:=4e7", *file_of(tmp_path / "a.yaml", "/here/n", {"number": "4x7"})]
    with node_with(words, monkeypatch) as node:
        with pytest.raises(ConfigError, match="it is text"):
            parameter(node, "text", "", "what it is")
        with pytest.raises(ConfigError, match="what it is"):
            parameter(node, "number", 3, "what it is")
