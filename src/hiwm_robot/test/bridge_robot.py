"""A bridge core with streams, a clock and a robot that follows its commands."""

import numpy as np

from hiwm_core.embodiment import load_embodiment
from hiwm_core.robot_config import load_robot
from hiwm_core.robots.safety import Activation
from hiwm_robot.bridge_core import BridgeCore
from hiwm_robot.streams import Streams

EMBODIMENT = load_embodiment("planar_bimanual")
ROBOT = load_robot("standin")
HOME = np.array(EMBODIMENT.home)
PERIOD_NS = 100_000_000
REACH_M = 0.012 + 1e-9
POLICY = 1

class Robot:
    """A core with streams, a clock and a robot that follows its commands."""

    def __init__(
        self, lockstep: bool = False, activation: Activation | None = None,
        holds_last: tuple[bool, ...] = (False,) * 4, workspace: object = None,
    ) -> None:
        self.streams = Streams(EMBODIMENT, ROBOT, repeats=lockstep)
        self.core = BridgeCore(
            embodiment=EMBODIMENT, streams=self.streams, lockstep=lockstep, stale_after_s=0.5,
            activation=activation or Activation(), holds_last=np.array(holds_last),
        )
        self.core.workspace = workspace
        self.now = 100.0
        self.stamp = 10 * PERIOD_NS
        self.position = HOME.copy()

    def observe(self, seconds: float = 0.1):
        """Advance the time, add a new image and joint state, and tick if one is due."""
        self.now += seconds
        self.stamp += round(seconds * 1e9)
        names = list(EMBODIMENT.joint_names)
        assert not self.streams.joint_state(
            "arms", names, list(self.position), self.stamp, self.now
        )
        self.streams.image("top", self.stamp, self.now)
        return self.core.tick(self.now) if self.core.due(self.now) else None

    def command(self, action, epoch=None, step=None, source=POLICY):
        state = self.core.state
        return self.core.command(
            epoch=state.epoch if epoch is None else epoch,
            step=state.step if step is None else step,
            action=action, source=source, device="test", now=self.now,
        )

    def started(self):
        self.core.start(self.now)
        plan = self.observe()
        assert plan is not None
        return self
