"""Finds configuration files, parses them, and checks lists of numbers and ROS names.

`config_schema` checks keys, types and ranges, with the same error messages for every file.
"""

import difflib
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from hiwm_core.errors import ConfigError
from hiwm_core.user_paths import user_path

# Topic and service names that ROS accepts.
_ROS_NAME = re.compile(r"^[~/]?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$")

# Sub-folders of config/, and what one of their files is called.
KINDS = {
    "embodiments": "embodiment", "tasks": "task", "robots": "robot", "devices": "device",
    "policies": "policy layout",
}


def config_directories() -> list[Path]:
    """Return the folders that are searched for configs; the first match wins."""
    found = []
    if os.environ.get("HIWM_CONFIG_DIR"):
        found.append(Path(os.environ["HIWM_CONFIG_DIR"]))
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            found.append(Path(prefix) / "share" / "hiwm_bringup" / "config")
    found.append(Path(__file__).resolve().parents[3] / "config")
    return [folder for folder in found if folder.is_dir()]


def find_config(kind: str, name: str | Path) -> Path:
    """Return the path of a config given by name or by path.

    Args:
        kind: one of `KINDS`, the sub-folder to search.
        name: a name without extension, or a path to a file.

    Raises:
        ConfigError: no config of that name; lists the existing names.
    """
    path = user_path(name)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise ConfigError("no such file", where=str(path), remedy="give an existing path")
    known: set[str] = set()
    for folder in config_directories():
        candidate = folder / kind / f"{name}.yaml"
        if candidate.is_file():
            return candidate
        known.update(file.stem for file in (folder / kind).glob("*.yaml"))
    raise ConfigError(
        f"no {KINDS[kind]} {str(name)!r}",
        where=f"{kind}/{name}.yaml",
        remedy=f"use one of {', '.join(sorted(known)) or '(none found)'} or a path to a file"
        + nearest(str(name), known),
    )


def default_task() -> str:
    """Return the name of the task that runs when none is named.

    It stands in config/defaults.launch.xml, so that launch files share it.
    """
    path = next(
        folder / "defaults.launch.xml" for folder in config_directories()
        if (folder / "defaults.launch.xml").is_file()
    )
    (task,) = ElementTree.parse(path).getroot().findall("arg[@name='task']")
    return task.attrib["default"]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the nearest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def text_hash(text: str) -> str:
    """Return the sha256 of a config's text, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def config_text(path: Path) -> str:
    """Return the text of a config file.

    Raises:
        ConfigError: it cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"line {line} is not UTF-8 text", where=str(path),
            remedy="save the file as UTF-8 in your editor, or restore it from a copy",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", where=str(path), remedy="make it readable"
        ) from None


def parse_mapping(text: str, where: str) -> dict[str, Any]:
    """Return a YAML document that must be a mapping.

    Raises:
        ConfigError: not YAML, or not a mapping.
    """
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # the latter of a date such as 2026-02-30
        raise ConfigError(
            f"not valid YAML: {error}", where=where, remedy="correct the syntax"
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(
            "not a mapping of keys to values", where=where,
            remedy="write key: value lines, as in the files of config/",
        )
    return data


def number_list(value: Any, length: int, where: str) -> tuple[float, ...]:
    """Return a list of `length` finite numbers.

    Raises:
        ConfigError: wrong length, or an entry that is not a finite number.
    """
    good = isinstance(value, list) and len(value) == length and all(
        isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < float("inf")
        for v in value
    )
    if not good:
        raise ConfigError(
            f"expected {length} numbers, found {value!r}", where=where, remedy="correct the list"
        )
    return tuple(float(v) for v in value)


def file_name(name: str) -> str:
    """Return the `name` of a config file; raises ConfigError if it cannot be part of a file's name.

    Checkpoints, bags and folders are named after it.
    """
    if not name.isprintable() or name.strip(" .") != name or not name or "/" in name:
        raise ConfigError(
            f"{name!r} cannot name files", where="name",
            remedy="use letters, digits, _ and -",
        )
    return name


def ros_name(name: str, where: str) -> str:
    """Return a topic or service name; raises ConfigError if ROS would not accept it."""
    if not _ROS_NAME.match(name):
        raise ConfigError(
            f"{name!r} is not a valid ROS name", where=where,
            remedy="use letters, digits, _ and /; no part may start with a digit",
        )
    return name
