"""Values of interlocks that let a robot move, and that stop it."""

import importlib
from typing import Any

from hiwm_core.robots.safety import FineRange, Interlock


def ros_type(name: str) -> Any:
    """Return the class of a ROS type, such as std_msgs/msg/Bool."""
    package, kind, leaf = name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), leaf)


def fine_value(lock: Interlock) -> Any:
    """Return a value that lets the robot move."""
    fine = lock.fine
    if isinstance(fine, FineRange):
        return float(fine.upper) if "Float" in lock.type else int(fine.upper)
    return fine[0]


def stopping_value(lock: Interlock) -> Any:
    """Return a value that stops the robot."""
    fine = lock.fine
    if isinstance(fine, FineRange):
        return float(fine.lower - 1) if "Float" in lock.type else int(fine.lower - 1)
    if isinstance(fine[0], bool):
        return not fine[0]
    numbers = [value for value in fine if isinstance(value, int | float)]
    return 1 + max(numbers) if numbers else "stopped"
