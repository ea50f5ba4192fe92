"""Device files: the YAML of config/devices as checked, frozen dataclasses.

A device declares its file as a dataclass; `hiwm_core.config_schema` says which fields it may have.
Every file also has a key ``device`` with the name of its device. Held by ``test_device_files.py``.
"""

from pathlib import Path
from typing import TypeVar

from hiwm_core.config_files import find_config, parse_mapping
from hiwm_core.config_schema import settings
from hiwm_core.errors import ConfigError

T = TypeVar("T")


def load_device_file(name: str | Path, device: str, schema: type[T]) -> T:
    """Return the settings of a name in config/devices, or of a path.

    Args:
        name: "spacemouse" for config/devices/spacemouse.yaml, or a path that ends in .yaml.
        device: the device it is read for; the file must be of that device.
        schema: dataclass the file is checked against.

    Raises:
        ConfigError: missing file, unknown or missing key, wrong type, choice or range; names the
            file, the field and the remedy.
    """
    path = find_config("devices", name)
    return parse_device_file(path.read_text(encoding="utf-8"), str(path), device, schema)


def parse_device_file(text: str, where: str, device: str, schema: type[T]) -> T:
    """Return the settings a YAML text describes.

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
            f"made for device {meant!r}, not {device!r}" if meant else "no device is named",
            where=f"{where}: device",
            remedy=f"start with device:={meant}" if meant else f"write device: {device}",
        )
    return settings(schema, data, where)
