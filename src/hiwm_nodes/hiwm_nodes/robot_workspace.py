"""The check of a robot's workspace for a node, with the URDF of a file or of a topic.

The robot bridge and the imagination node share it, so an imagined robot is refused what the real
one would be.
"""

from rclpy.node import Node
from std_msgs.msg import String

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import DeviceError
from hiwm_core.robot_config import RobotConfig
from hiwm_core.workspace_check import WorkspaceCheck
from hiwm_nodes import qos
from hiwm_nodes.drained import messages


def robot_workspace(
    node: Node, robot: RobotConfig, embodiment: Embodiment, timeout_s: float
) -> WorkspaceCheck | None:
    """Return the check of a robot's targets; None if its file has no workspace.

    Args:
        node: its namespace is that of a relative `urdf_topic`.
        robot: of the file.
        embodiment: what it is one of.
        timeout_s: longest wait for the URDF's topic.

    Raises:
        ConfigError: the URDF lacks a link or joint; see `WorkspaceCheck`.
        DeviceError: nothing was published on the topic.
    """
    if robot.workspace is None:
        return None
    where = f"robot {robot.name}"
    text = ""
    if topic := robot.workspace.urdf_topic:
        found = next(messages(node, String, topic, qos.LATCHED, timeout_s), None)
        if found is None:
            raise DeviceError(
                f"no URDF on {node.resolve_topic_name(topic)} within {timeout_s:g} s",
                where=f"{where}: workspace.urdf_topic",
                remedy="start robot_state_publisher, which latches it, or correct the topic's "
                "name; or save the URDF and give the file as urdf",
            )
        text = found.data
    return WorkspaceCheck(robot.workspace, embodiment, where, text)
