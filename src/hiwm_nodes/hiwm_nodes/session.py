"""A node's session folder, and the role it holds there."""

from pathlib import Path
from typing import Final

from rclpy.node import Node

from hiwm_core.launch_identity import session_path
from hiwm_core.session_lock import SessionLock
from hiwm_nodes.parameters import parameter

# Held until the process exits, so that nothing is written after a lock is released.
_held: Final[list[SessionLock]] = []


def session_folder(node: Node, description: str) -> Path | None:
    """Declare session_dir and return it as an absolute path; None if it is empty.

    `~` is expanded, and `{launch}` becomes the id of the launch.
    """
    text = str(parameter(node, "session_dir", "", description))
    return session_path(text) if text else None


def hold_role(folder: Path, role: str) -> None:
    """Hold a writing role in a folder until this process exits.

    Raises:
        BusyError: another process holds the role, or another launch writes there.
        StoreError: the folder cannot be written, or its file system cannot lock.
    """
    _held.append(SessionLock(folder, role))
