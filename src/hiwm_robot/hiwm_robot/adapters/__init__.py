"""Adapters: one controller's message or goal from an output's values.

One line of `_CLASSES` and one of `hiwm_core.robots.outputs.ADAPTERS` register an adapter. Its
module is imported when a robot file names it. ``test_adapters.py`` holds every entry to the rules.
"""

import importlib
from typing import Any, Protocol

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray

from hiwm_core.robots.outputs import Output

Array = NDArray[np.float64]

_CLASSES = {
    "joint_trajectory": "joints:JointTrajectoryAdapter",
    "float64_multi_array": "joints:Float64MultiArrayAdapter",
    "joint_state": "joints:JointStateAdapter",
    "joint_group_command": "interbotix:JointGroupAdapter",
    "joint_single_command": "interbotix:JointSingleAdapter",
    "gripper_command": "grippers:GripperCommandAdapter",
    "parallel_gripper_command": "grippers:ParallelGripperCommandAdapter",
    "pose_stamped": "cartesian:PoseStampedAdapter",
    "twist": "cartesian:TwistAdapter",
    "twist_stamped": "cartesian:TwistStampedAdapter",
}


class Adapter(Protocol):
    """Makes one controller's messages."""

    def message(self, values: Array, stamp: Time) -> Any:
        """Return a message, or the goal of an action.

        Args:
            values: joints in the driver's units and the output's order [N]; for poses position and
                quaternion x, y, z, w [7]; for twists linear and angular speed [6].
            stamp: the bridge's clock.
        """


def make_adapter(output: Output, interface: Any, control_period_s: float) -> Adapter:
    """Return an output's adapter.

    Args:
        output: of the robot file.
        interface: its ROS type, from `interface_type`.
        control_period_s: time from one target to the next.
    """
    module, name = _CLASSES[output.adapter].split(":")
    made: Adapter = getattr(importlib.import_module(f"{__name__}.{module}"), name)(
        output, interface, control_period_s
    )
    return made
