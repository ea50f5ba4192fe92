"""An imagined world described for world_info and for the session folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hiwm_interfaces.msg import WorldInfo

from hiwm_core.embodiment import CameraSpec, Embodiment
from hiwm_core.frames import observation_streams
from hiwm_core.session_lineage import session_id, software_version
from hiwm_core.tasks import Task


def world_info(
    session: Path | None, embodiment: Embodiment, task: Task, *, rate: float,
    cameras: Sequence[CameraSpec], heads: Sequence[str], checkpoint_hash: str,
    can_restore: bool = True,
) -> WorldInfo:
    """Return the WorldInfo of an imagined world, without stamp.

    Args:
        session: its folder; without one, no state can be restored.
        embodiment: of the task.
        task: what is imagined.
        rate: ticks per second; 0 means as fast as commands arrive.
        cameras: those that the world model shows.
        heads: those of its heads that were trained.
        checkpoint_hash: of the world model.
        can_restore: whether the model can.
    """
    saves = session is not None and can_restore
    return WorldInfo(
        kind="imagination", robot="", stand_in=False, rate=rate,
        control_period_s=1.0 / embodiment.rate_hz, lockstep=True,
        streams=observation_streams(
            (camera.name for camera in cameras), embodiment.pose_names
        ),
        cameras=[camera.name for camera in cameras],
        camera_widths=[camera.width for camera in cameras],
        camera_heights=[camera.height for camera in cameras],
        embodiment=embodiment.name, embodiment_hash=embodiment.hash,
        embodiment_yaml=embodiment.text, task=task.name, task_hash=task.hash, task_yaml=task.text,
        instruction=task.instruction, start_names=task.start_names, labels=task.labels,
        can_restore=saves, can_fork=saves, auto_reset=True, heads=list(heads),
        checkpoint_hash=checkpoint_hash, session_id=session_id(session) if session else "",
        software_version=software_version(),
    )


def lineage(
    session: Path, embodiment: Embodiment, task: Task, *, heads: Sequence[str],
    checkpoint_hash: str, seed: int,
) -> dict[str, Any]:
    """Return the content of session.json."""
    return {
        "session_id": session_id(session), "world": "imagination", "robot": "", "stand_in": False,
        "embodiment": embodiment.name, "embodiment_hash": embodiment.hash, "task": task.name,
        "task_hash": task.hash, "checkpoint_hash": checkpoint_hash, "heads": list(heads),
        "seed": seed, "lockstep": True, "software_version": software_version(),
    }
