"""Text as a parameter file has it, where ROS reads it as another type.

`ros2 launch` writes the text `4e7` into a parameter file without quotes: YAML takes it as text, but
ROS as a number. So does it with `089`, `nan`, `y` and a few more. Tested by
``test_parameter_files.py``.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from rclpy.node import Node

_FILE_OPTION = "--params-file"


def text_in_files(node: Node, name: str, words: Sequence[str] | None = None) -> str | None:
    """Return the text of a parameter in the parameter files of a command line.

    Args:
        node: the node that declares the parameter.
        name: of the parameter.
        words: the command line; that of this process if left out.

    Returns:
        The text that the last file has for this node or for all nodes, without quotes; None if no
        file has one.
    """
    words = sys.argv if words is None else words
    files = [file for option, file in zip(words, words[1:], strict=False) if option == _FILE_OPTION]
    text: str | None = None
    for file in files:
        # The base loader gives every scalar as text.
        content = yaml.load(Path(file).read_text(), Loader=yaml.BaseLoader)  # noqa: S506
        for key in ("/**", node.get_fully_qualified_name()):
            values = content.get(key, {}).get("ros__parameters", {})
            if isinstance(values.get(name), str):
                text = values[name]
    return text
