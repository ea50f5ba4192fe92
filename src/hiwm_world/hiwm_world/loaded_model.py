"""The world model of a node, checked against its task, with the workspace of a robot."""

from typing import Any

from rclpy.node import Node

from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.errors import CheckpointError
from hiwm_core.robot_config import load_robot
from hiwm_core.workspace_check import WorkspaceCheck
from hiwm_learning.checkpoints import Checkpoint
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.simulators import WorldSimulator
from hiwm_nodes.robot_workspace import robot_workspace
from hiwm_world.imagination_settings import ImaginationSettings

# The URDF of a workspace is latched: this only covers discovery.
DESCRIPTION_S = 10.0


def loaded_model(
    node: Node, settings: ImaginationSettings, embodiment: Embodiment
) -> tuple[WorldSimulator[Any], Checkpoint]:
    """Return the simulator of a checkpoint, and the checkpoint.

    Raises:
        CheckpointError: unreadable, or trained for another embodiment or task.
    """
    task = settings.task
    simulator, checkpoint = load_simulator(
        settings.checkpoint, embodiment, settings.device,
        _workspace_of(node, settings.robot, embodiment),
    )
    if not task.is_known_as(checkpoint.info.task_hash):
        raise CheckpointError(
            f"the checkpoint was trained for task {checkpoint.info.task} with hash "
            f"{checkpoint.info.task_hash[:12]}, this task has hash {task.hash[:12]}",
            where=str(settings.checkpoint),
            remedy=f"start with task:={checkpoint.info.task} and the task file of its "
            "training, or train again",
        )
    return simulator, checkpoint


def _workspace_of(node: Node, name: str, embodiment: Embodiment) -> WorkspaceCheck | None:
    """Return the check that the bridge of a robot would make; None if it makes none."""
    if not name:
        return None
    robot = load_robot(name)
    if load_embodiment(robot.embodiment).name != embodiment.name:
        node.get_logger().info(
            f"robot {robot.name} is a {robot.embodiment}, not a {embodiment.name}: no "
            "workspace bounds the actions"
        )
        return None
    return robot_workspace(node, robot, embodiment, DESCRIPTION_S)
