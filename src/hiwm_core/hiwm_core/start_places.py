"""Where an imagined episode may begin, other than at a world's own starts, as people write it.

    bag:PATH@STEP        a step of a recorded bag, of a robot or of imagination
    session:PATH@NODE    a state in the tree of a stored session; NODE is <branch>:<step>
    live                 what the robot's cameras and joints show now

Launch files, the console and the service `world/reset` take the same text.
"""

from dataclasses import dataclass
from pathlib import Path

from hiwm_core.errors import ConfigError
from hiwm_core.user_paths import user_path

BAG, SESSION, LIVE = "bag:", "session:", "live"


@dataclass(frozen=True, kw_only=True)
class BagStep:
    """A step of a recorded bag."""

    bag: Path  # folder of a segment, or its MCAP file
    step: int  # control steps since its episode began, as in its ticks


@dataclass(frozen=True, kw_only=True)
class SessionNode:
    """A state in the tree of a stored session."""

    session: Path
    node_id: str  # <branch>:<step>


@dataclass(frozen=True)
class LiveRobot:
    """What a robot's bridge publishes at this moment."""


StartPlace = BagStep | SessionNode | LiveRobot


def start_place(text: str, where: str) -> StartPlace | None:
    """Return the place that a text names; None for anything else, such as the name of a start.

    Args:
        text: as above.
        where: parameter or service that it comes from, for error messages.

    Raises:
        ConfigError: it begins like a place, but is not one.
    """
    if text == LIVE:
        return LiveRobot()
    if text.startswith(BAG):
        path, step = _path_and_rest(text, BAG, "STEP", where)
        if not step.isdecimal():
            raise ConfigError(
                f"step {step!r} is not a whole number", where=where, remedy="write bag:PATH@STEP"
            )
        return BagStep(bag=path, step=int(step))
    if text.startswith(SESSION):
        path, node_id = _path_and_rest(text, SESSION, "NODE", where)
        return SessionNode(session=path, node_id=node_id)
    return None


def _path_and_rest(text: str, kind: str, rest_name: str, where: str) -> tuple[Path, str]:
    path, _, rest = text.removeprefix(kind).rpartition("@")
    if not path or not rest:
        raise ConfigError(
            f"{text!r} lacks its path or its {rest_name}", where=where,
            remedy=f"write {kind}PATH@{rest_name}",
        )
    return user_path(path).absolute(), rest
