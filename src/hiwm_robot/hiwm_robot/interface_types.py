"""ROS types by name, imported only when a robot file names them. Tested by ``test_adapters.py``."""

import importlib
from typing import Any

from hiwm_core.config_files import nearest
from hiwm_core.errors import ConfigError


def interface_type(name: str, where: str) -> Any:
    """Return a message, service or action type.

    Args:
        name: such as std_msgs/msg/Bool.
        where: file and field, for the message.

    Raises:
        ConfigError: its package is not installed, or has no such type.
    """
    package, kind, type_name = name.split("/")
    try:
        module = importlib.import_module(f"{package}.{kind}")
    except ModuleNotFoundError:
        raise ConfigError(
            f"the package of {name} is not installed", where=where,
            remedy=f"install ros-jazzy-{package.replace('_', '-')} with apt or build it in your "
            "workspace; scripts/setup builds the interfaces of common drivers",
        ) from None
    found = getattr(module, type_name, None)
    if found is None:
        known = [entry for entry in dir(module) if entry[0].isupper()]
        raise ConfigError(
            f"{package} has no {kind} {type_name}", where=where,
            remedy="correct the type" + nearest(type_name, known),
        )
    return found


def set_fields(message: Any, values: Any, where: str) -> Any:
    """Return a message after setting fields by name; a mapping enters a message in it.

    Raises:
        ConfigError: an unknown field, or a value of another type.
    """
    for key, value in values.items():
        known = message.get_fields_and_field_types()
        if key not in known:
            raise ConfigError(
                f"unknown field {key!r}", where=where,
                remedy=f"known fields are {', '.join(known)}{nearest(str(key), known)}",
            )
        if isinstance(value, dict):
            set_fields(getattr(message, key), value, f"{where}.{key}")
            continue
        current = getattr(message, key)
        if isinstance(current, float) and type(value) is int:
            value = float(value)  # YAML writes 1 for 1.0
        # ROS checks types only where it was built to.
        if isinstance(current, bool | int | float | str) and type(value) is not type(current):
            raise ConfigError(
                f"{value!r} does not fit {known[key]}", where=f"{where}.{key}",
                remedy=f"give a {type(current).__name__}",
            )
        setattr(message, key, value)
    return message


def field_value(message: Any, path: str) -> Any:
    """Return the value at a dotted path.

    Raises:
        AttributeError: no such field.
    """
    for name in path.split("."):
        message = getattr(message, name)
    return message
