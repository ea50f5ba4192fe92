"""What a policy server expects and returns: a YAML file in config/policies/.

The observation is a tree as the server wants it. A leaf is a mapping with the key ``send``, and
says what of ours goes there::

    observation:
      images:
        cam_high: {send: camera, camera: high, height: 224, width: 224, layout: CHW}
      state: {send: state, parts: [{group: left_arm}, {group: left_gripper}]}
      prompt: {send: instruction}

``actions`` says what the columns of the reply mean. docs/policies.md describes every key. Tested by
``test_remote_layout.py``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hiwm_core.config_files import config_text, find_config, parse_mapping
from hiwm_core.config_schema import number, settings
from hiwm_core.errors import ConfigError

Turn = Literal["6d", "axis_angle"]


@dataclass(frozen=True, kw_only=True)
class CameraLeaf:
    """An image, uint8; a size of 0 sends the camera's own."""

    send: Literal["camera"]
    camera: str  # of the embodiment
    height: int = number(0, lower=0, upper=4096)
    width: int = number(0, lower=0, upper=4096)
    layout: Literal["HWC", "CHW"] = "HWC"
    resize: Literal["pad", "stretch"] = "pad"  # pad: keeps the proportions, black at the edges


@dataclass(frozen=True, kw_only=True)
class StatePart:
    """Numbers of the state: a group's measured counterpart, or entries of proprioception."""

    group: str = ""
    entries: tuple[str, ...] = ()
    rotation: Turn = "6d"  # of a group with a 6D rotation: how to send it
    scale: float | tuple[float, ...] = 1.0  # sent = ours * scale + offset
    offset: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        """Check that one of the two sources is given."""
        if bool(self.group) == bool(self.entries):
            raise ConfigError(
                "a part of the state needs either group or entries", where="group",
                remedy="give one of the two",
            )


@dataclass(frozen=True, kw_only=True)
class StateLeaf:
    """Robot state, float32; without parts, all of proprioception."""

    send: Literal["state"]
    parts: tuple[StatePart, ...] = ()
    row: bool = False  # as a matrix of one row


@dataclass(frozen=True, kw_only=True)
class PlainLeaf:
    """The task's instruction, the seed, or a text that differs for each epoch and continuation."""

    send: Literal["instruction", "seed", "session"]


@dataclass(frozen=True, kw_only=True)
class ValueLeaf:
    """A constant."""

    send: Literal["value"]
    value: Any


_LEAVES: dict[str, Any] = {
    "camera": CameraLeaf, "state": StateLeaf, "instruction": PlainLeaf, "seed": PlainLeaf,
    "session": PlainLeaf, "value": ValueLeaf,
}


@dataclass(frozen=True, kw_only=True)
class ActionPart:
    """Columns of a reply that are the target of one action group."""

    columns: tuple[int, int]  # first, and one past the last
    group: str
    kind: Literal["absolute", "delta", "delta_from_start"] = "absolute"
    rotation: Turn = "6d"  # of a group with a 6D rotation: how it comes; deltas: axis_angle
    clip: float = number(0.0, lower=0.0, upper=1e6)  # before scaling, to +-clip; 0 = not
    scale: float | tuple[float, ...] = 1.0  # ours = theirs * scale + offset
    offset: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        """Check the columns."""
        first, end = self.columns
        if not 0 <= first < end:
            raise ConfigError(
                f"columns {[first, end]}", where="columns",
                remedy="give the first column and one past the last, as in [0, 7]",
            )


@dataclass(frozen=True, kw_only=True)
class PolicyLayout:
    """A server's observations and replies.

    A reply holds at ``reply`` an array of ``horizon`` actions or more, ``rate_hz`` apart.
    """

    name: str
    horizon: int = number(lower=1, upper=1000)
    execute_horizon: int = number(lower=1, upper=1000)
    observation: Any
    about: str = ""
    actions: tuple[ActionPart, ...] = ()  # none: the embodiment's own array, absolute
    columns: int = number(0, lower=0, upper=4096)  # of a reply; 0 = up to the last part's
    rate_hz: float = number(0.0, lower=0.0, upper=1000.0)  # 0 = the world's
    observation_steps: int = number(1, lower=1, upper=64)  # more: images and state are stacked
    reply: tuple[str, ...] = ("actions",)  # keys that lead to the actions
    reset: Any = None  # sent before the first request of an epoch
    timeout_s: float = number(10.0, lower=0.1, upper=600.0)
    first_timeout_s: float = number(120.0, lower=0.1, upper=3600.0)  # a server may compile first

    def __post_init__(self) -> None:
        """Check what several fields say together."""
        if self.execute_horizon > self.horizon:
            raise ConfigError(
                f"execute_horizon {self.execute_horizon} exceeds the horizon of {self.horizon}",
                where="execute_horizon", remedy="execute at most the whole chunk",
            )
        last = max((part.columns[1] for part in self.actions), default=0)
        if self.columns and self.columns < last:
            raise ConfigError(
                f"{self.columns} columns, but actions use column {last - 1}", where="columns",
                remedy="give the number of columns of a reply",
            )


def find_layout(name: str) -> PolicyLayout:
    """Return the layout with a name in config/policies, or at a path.

    Raises:
        ConfigError: missing file, unknown key or wrong value; names file and field.
    """
    path: Path = find_config("policies", name)
    return parse_layout(parse_mapping(config_text(path), str(path)), str(path))


def parse_layout(data: Any, where: str) -> PolicyLayout:
    """Return a layout from parsed YAML, or from a server's metadata; its trees have leaves.

    Raises:
        ConfigError: see `find_layout`.
    """
    layout = settings(PolicyLayout, data, where)
    trees = {"observation": _tree(layout.observation, f"{where}: observation")}
    if layout.reset is not None:
        trees["reset"] = _tree(layout.reset, f"{where}: reset")
    if not isinstance(trees["observation"], dict):
        raise ConfigError(
            "the observation is not a mapping", where=f"{where}: observation",
            remedy="write KEY: {send: ...} lines",
        )
    return PolicyLayout(**{**vars(layout), **trees})


def _tree(value: Any, where: str) -> Any:
    """Return a tree in which leaves are dataclasses."""
    if isinstance(value, list):
        return [_tree(each, f"{where}[{i}]") for i, each in enumerate(value)]
    if not isinstance(value, dict):
        raise ConfigError(
            f"{value!r} says nothing of what to send", where=where,
            remedy="write {send: value, value: ...} for a constant",
        )
    if "send" not in value:
        return {str(key): _tree(each, f"{where}.{key}") for key, each in value.items()}
    kind = _LEAVES.get(str(value["send"]))
    if kind is None:
        raise ConfigError(
            f"unknown value {value['send']!r}", where=f"{where}.send",
            remedy=f"use one of {', '.join(_LEAVES)}",
        )
    return settings(kind, value, where)
