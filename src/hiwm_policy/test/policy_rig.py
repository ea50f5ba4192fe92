"""World and arbiter of a policy node in tests."""

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from hiwm_interfaces.msg import ControlState, PolicyPlan, Tick, WorldInfo
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from hiwm_core.embodiment import load_embodiment
from hiwm_core.frames import observation_streams
from hiwm_nodes import qos
from hiwm_nodes.messages import image_message, joint_state_message, stamp_tick, time_message
from hiwm_test_support.nodes import spin_until

EMBODIMENT = load_embodiment("planar_bimanual")


class Rig(Node):
    """World and arbiter in one node; the test sends every message explicitly."""

    def __init__(self, context: Context) -> None:
        super().__init__("rig", context=context)
        self.executor_of_rig = SingleThreadedExecutor(context=context)
        self.executor_of_rig.add_node(self)
        self.plans: list[PolicyPlan] = []
        self.statuses: list[DiagnosticStatus] = []
        self._info = self.create_publisher(WorldInfo, "world_info", qos.LATCHED)
        self._control = self.create_publisher(ControlState, "control_state", qos.LATCHED)
        self._images = self.create_publisher(Image, "cameras/top/image_raw", qos.IMAGE_PUB)
        self._joints = self.create_publisher(JointState, "joint_states", qos.IMAGE_PUB)
        self._ticks = self.create_publisher(Tick, "tick", qos.TICK)
        self.create_subscription(PolicyPlan, "policy/plan", self.plans.append, qos.TICK)
        self.create_subscription(
            DiagnosticArray, "/diagnostics",
            lambda message: self.statuses.extend(message.status), 10,
        )
        self._stamp = 0
        self._last: Tick | None = None

    def wait(self, predicate: object) -> None:
        """Spin until the predicate is true; the timeout is only a hang guard."""
        assert callable(predicate)
        assert spin_until(self.executor_of_rig, predicate, 120.0), (
            f"still waiting; plans {[(p.epoch, p.step) for p in self.plans]}"
        )

    def start(self, **info: Any) -> None:
        """Publish world_info; without changes to it, wait until the policy has subscribed."""
        self.publish_info(**info)
        if not info:
            self.wait_for_policy()

    def wait_for_policy(self) -> None:
        """Wait until the policy has subscribed."""
        publishers = (self._control, self._images, self._joints, self._ticks)
        self.wait(lambda: all(each.get_subscription_count() for each in publishers)
                  and self.count_publishers("policy/plan"))

    def publish_info(self, **info: Any) -> None:
        """Publish world_info."""
        self._info.publish(WorldInfo(**{
            "kind": "imagination", "lockstep": True, "embodiment": EMBODIMENT.name,
            "embodiment_hash": EMBODIMENT.hash, "embodiment_yaml": EMBODIMENT.text,
            "control_period_s": 1.0 / EMBODIMENT.rate_hz, **info,
        }))

    def mode(self, mode: int, epoch: int, step: int, takeovers: int = 0) -> None:
        self._control.publish(
            ControlState(mode=mode, epoch=epoch, step=step, takeovers=takeovers)
        )

    def tick(self, epoch: int, step: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Publish one observation, its tick last, and return its arrays."""
        self._stamp += 100_000_000
        stamp = time_message(self._stamp)
        rng = np.random.default_rng((epoch, step))
        pixels = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        places = rng.uniform(-0.1, 0.1, 4)
        self._images.publish(image_message(pixels, stamp, "top"))
        # Not in the embodiment's order.
        self._joints.publish(
            joint_state_message(EMBODIMENT.joint_names[::-1], list(places[::-1]), stamp)
        )
        self._last = Tick(epoch=epoch, step=step, episode_id="ep_0001", branch_id="ep_0001-b000")
        stamp_tick(self._last, stamp, observation_streams(["top"]))
        self._ticks.publish(self._last)
        return pixels, places.astype(np.float32)

    def repeat_tick(self) -> None:
        self._ticks.publish(self._last)

    def spin_some(self, rounds: int = 40) -> None:
        """Spin long enough for unwanted messages to arrive."""
        for _ in range(rounds):
            self.executor_of_rig.spin_once(timeout_sec=0.02)
