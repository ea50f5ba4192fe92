"""Message definitions: ours from the installed interfaces, ROS 2's from rosbags, and those of
recorded messages from their bag."""

import os
from functools import cache
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from hiwm_core.errors import BagError

INTERFACES = "hiwm_interfaces"


def interface_definitions() -> Path:
    """Return the folder with the .msg files of hiwm_interfaces.

    Raises:
        BagError: neither installed nor in this source tree.
    """
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    candidates = [prefix / "share" / INTERFACES / "msg" for prefix in prefixes]
    # With a symlinked install, this file is still in the source tree.
    candidates.append(Path(__file__).resolve().parents[3] / INTERFACES / "msg")
    for folder in candidates:
        if (folder / "Tick.msg").is_file():
            return folder
    raise BagError(
        "the message definitions of hiwm_interfaces are not installed",
        where="AMENT_PREFIX_PATH", remedy="run scripts/setup and source scripts/env.sh",
    )


@cache
def recording_types() -> Typestore:
    """Return the types that a recorder may receive: those of ROS 2 Jazzy and ours.

    Raises:
        BagError: see `interface_definitions`.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted(interface_definitions().glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(), f"{INTERFACES}/msg/{path.stem}"))
    return store


@cache
def embedded_types(message_type: str, definition: str) -> Typestore:
    """Return a store with one type, from the definition in a bag.

    There is one store per definition, so that bags of different versions never share one.

    Raises:
        BagError: the definition cannot be parsed.
    """
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(definition, message_type))
    except Exception as error:
        raise BagError(
            f"cannot parse the definition of {message_type}: {error}",
            remedy="the bag is damaged, or was not written by ROS 2",
        ) from error
    return store
