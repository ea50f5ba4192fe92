"""A robot's world described for world_info and for the session folder."""

from pathlib import Path
from typing import Any

from hiwm_interfaces.msg import WorldInfo

from hiwm_core.embodiment import Embodiment
from hiwm_core.frames import observation_streams
from hiwm_core.robot_config import RobotConfig
from hiwm_core.session_lineage import session_id, software_version
from hiwm_core.tasks import Task


def world_info(
    session: Path | None, robot: RobotConfig, embodiment: Embodiment, task: Task, *, rate: float,
    lockstep: bool,
) -> WorldInfo:
    """Return the WorldInfo of a robot, without stamp; rate in ticks per second."""
    cameras = embodiment.cameras
    return WorldInfo(
        kind="hardware", robot=robot.name, stand_in=robot.stand_in, rate=rate,
        control_period_s=1.0 / (rate or embodiment.rate_hz), lockstep=lockstep,
        streams=observation_streams((camera.name for camera in cameras), robot.poses),
        cameras=[camera.name for camera in cameras],
        camera_widths=[camera.width for camera in cameras],
        camera_heights=[camera.height for camera in cameras],
        embodiment=embodiment.name, embodiment_hash=embodiment.hash,
        embodiment_yaml=embodiment.text, task=task.name, task_hash=task.hash, task_yaml=task.text,
        instruction=task.instruction, start_names=task.start_names, labels=task.labels,
        can_restore=False, can_fork=False, auto_reset=bool(robot.reset_service),
        checkpoint_hash="", session_id=session_id(session) if session else "",
        software_version=software_version(),
    )


def lineage(
    session: Path, robot: RobotConfig, embodiment: Embodiment, task: Task, *, seed: int,
    lockstep: bool,
) -> dict[str, Any]:
    """Return the content of session.json."""
    return {
        "session_id": session_id(session), "world": "hardware", "robot": robot.name,
        "stand_in": robot.stand_in, "embodiment": embodiment.name,
        "embodiment_hash": embodiment.hash, "task": task.name, "task_hash": task.hash,
        "checkpoint_hash": "", "seed": seed, "lockstep": lockstep,
        "software_version": software_version(),
    }
