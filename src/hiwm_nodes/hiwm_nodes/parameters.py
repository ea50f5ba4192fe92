"""Declaring a parameter with description and range in one call."""

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from hiwm_core.errors import ConfigError
from hiwm_nodes.parameter_files import text_in_files


def parameter(
    node: Node, name: str, default: Any, description: str,
    lower: float | None = None, upper: float | None = None,
) -> Any:
    """Declare a parameter and return its value.

    Nodes read a parameter once, at startup. It is read-only: setting it later is refused.

    Args:
        node: the node that declares it.
        name: parameter name.
        default: default value; also fixes the type.
        description: meaning and unit.
        lower: smallest value allowed, for numbers.
        upper: largest value allowed, for numbers.

    Raises:
        ConfigError: value of the wrong type or out of range.
    """
    descriptor = ParameterDescriptor(description=description, read_only=True)
    if lower is not None and upper is not None:
        if isinstance(default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(lower), to_value=float(upper))
            ]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(lower), to_value=int(upper), step=1)
            ]
    # ROS parses `rate:=10` as an integer; people mean 10.0.
    descriptor.dynamic_typing = isinstance(default, float)
    try:
        value = node.declare_parameter(name, default, descriptor).value
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        text = text_in_files(node, name) if isinstance(default, str) else None
        if text is not None:
            return node.declare_parameter(name, text, descriptor, ignore_override=True).value
        remedy = description + (f", {lower} to {upper}" if lower is not None else "")
        if isinstance(default, str):
            # ROS reads 4e7 as a number and yes as a bool, quoted in the shell or not.
            remedy = f"it is text: write a path as ./NAME, other text as {name}:=\"'...'\""
        raise ConfigError(
            str(error), where=f"parameter {name} of {node.get_name()}", remedy=remedy
        ) from None
    if isinstance(default, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(
                f"{value!r} is not a number", where=f"parameter {name} of {node.get_name()}",
                remedy=description,
            )
        value = float(value)
        if lower is not None and upper is not None and not lower <= value <= upper:
            raise ConfigError(
                f"{value} is out of range", where=f"parameter {name} of {node.get_name()}",
                remedy=f"{description}, {lower} to {upper}",
            )
    return value
