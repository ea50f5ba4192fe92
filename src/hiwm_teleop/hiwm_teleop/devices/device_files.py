"""Device files: the YAML of config/devices as validated, frozen dataclasses.

A device declares its file as a dataclass; `hiwm_core.config_schema` defines the supported fields.
Every file also has a key ``device`` with the name of its device.
Tested by ``test_device_files.py``.
"""

from pathlib import Path
from typing import TypeVar

from hiwm_core.config_files import config_text, find_config, parse_mapping
from hiwm_core.config_schema import settings
from hiwm_core.errors import ConfigError

T = TypeVar("T")


def load_device_file(name: str | Path, device: str, schema: type[T]) -> T:
    """Return the settings in a file, given its name in config/devices or its path.

    Args:
        name: "spacemouse" for config/devices/spacemouse.yaml, or a path ending in .yaml.
        device: the device that the file must be for.
        schema: dataclass that the file is validated against.

    Raises:
        ConfigError: missing file, unknown or missing key, wrong type, choice or range; names the
            file, the field and the remedy.
    """
    path = find_config("devices", name)
    return parse_device_file(config_text(path), str(path), device, schema)


def parse_device_file(text: str, where: str, device: str, schema: type[T]) -> T:
    """Return the settings in a YAML text.

    Args:
        text: the YAML.
        where: file name, for error messages.
        device: as for `load_device_file`.
        schema: as for `load_device_file`.

    Raises:
        ConfigError: as `load_device_file`.
    """
    data = parse_mapping(text, where)
    meant = data.pop("device", None)
    if meant != device:
        raise ConfigError(
            f"made for device {meant!r}, not {device!r}" if meant else "names no device",
            where=f"{where}: device",
            remedy=f"start with device:={meant}" if meant else f"add device: {device}",
        )
    return settings(schema, data, where)
