"""The arbiter and arms around a bridge that is measured: the arms report that they are at home."""

from pathlib import Path

import rclpy
from hiwm_interfaces.msg import Command
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState

from hiwm_core.embodiment import load_embodiment
from hiwm_nodes import qos
from hiwm_nodes.messages import joint_state_message

STATES_HZ = 100.0


class StillArms:
    """A node that publishes joint states, and can publish commands.

    Args:
        context: of the node.
        embodiment: name or file.
        topic: of the joint states.

    Attributes:
        home: joint positions [J] and action [A] at home.
        commands: publisher of commands.
    """

    def __init__(self, context: rclpy.Context, embodiment: str | Path, topic: str) -> None:
        self.node = rclpy.create_node("cell", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        loaded = load_embodiment(embodiment)
        self._names, self.home = loaded.joint_names, list(loaded.home)
        self._states = self.node.create_publisher(JointState, topic, qos.TICK)
        self.commands = self.node.create_publisher(Command, "command", qos.COMMAND)
        self.node.create_timer(1.0 / STATES_HZ, self._publish_states)

    def _publish_states(self) -> None:
        stamp = self.node.get_clock().now().to_msg()
        self._states.publish(joint_state_message(self._names, self.home, stamp))
