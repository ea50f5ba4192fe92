"""Converts the embodiment texts of older bags, sessions and checkpoints.

Before groups, a file listed ``arms``, ``actions`` (all of them joints) and ``home``. Used by
``scripts/migrate``; ``test_embodiment_upgrade.py`` checks that an upgraded text has the hash of the
shipped file.
"""

from itertools import groupby
from typing import Any

import yaml

from hiwm_core.config_files import parse_mapping
from hiwm_core.errors import ConfigError

# Older files bounded a target by one step ahead of the measured position, which slows an arm that
# lags. The bound is not part of the hash, and a user's file may give another.
_STEPS_AHEAD = 2.0


def is_earlier(text: str) -> bool:
    """Return whether a YAML text is an embodiment of an earlier version."""
    try:
        data = parse_mapping(text, "embodiment")
    except ConfigError:
        return False
    return "groups" not in data and {"arms", "actions"} <= set(data)


def upgrade_embodiment_text(old: str, where: str = "embodiment") -> str:
    """Return the text in today's form; a text that already has groups is returned unchanged.

    Args:
        old: YAML of an embodiment, as a bag, session or checkpoint stores it.
        where: its place, for error messages.

    Raises:
        ConfigError: neither an older nor a present form.
    """
    data = parse_mapping(old, where)
    if "groups" in data:
        return old
    try:
        return _upgraded(data)
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise ConfigError(
            f"not an embodiment of an earlier version: {type(error).__name__} {error}",
            where=where, remedy="write it again as docs/embodiments.md describes",
        ) from None


def _upgraded(data: dict[str, Any]) -> str:
    homes = iter(data["home"])
    groups = []
    for (arm, kind), actions in groupby(
        data["actions"], lambda action: (action["arm"], _kind(action))
    ):
        groups.append({
            "name": f"{arm}_gripper" if kind == "gripper" else arm, "arm": arm, "kind": kind,
            "measured": {"source": "joint_states"},
            "entries": [
                {
                    "name": action["name"], "joint": action["joint"], "unit": action["unit"],
                    "lower": action["lower"], "upper": action["upper"], "home": next(homes),
                    "max_velocity": action["max_velocity"],
                    "max_acceleration": action["max_acceleration"],
                    "max_following_error": round(
                        _STEPS_AHEAD * action["max_velocity"] / data["rate_hz"], 12
                    ),
                }
                for action in actions
            ],
        })
    upgraded = {
        "name": data["name"], "frame": data["frame"], "rate_hz": data["rate_hz"],
        "groups": groups, "proprioception": data["proprioception"], "cameras": data["cameras"],
    }
    return yaml.safe_dump(upgraded, sort_keys=False, width=100, default_flow_style=None)


def _kind(action: dict[str, Any]) -> str:
    return "gripper" if action["unit"] == "1" else "joint_position"
