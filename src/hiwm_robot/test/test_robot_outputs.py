"""The thread of outputs with a rate."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.robot_config import load_robot
from hiwm_robot.robot_outputs import SWITCH_S, RobotOutputs


@pytest.mark.parametrize(("robot", "rated"), [("ur5e_forward", True), ("ur5e", False)])
def test_a_thread_that_keeps_a_rate_waits_little_for_the_interpreter(
    robot: str, rated: bool
) -> None:
    config = load_robot(robot)
    node: Any = SimpleNamespace()  # nothing is sent
    outputs = RobotOutputs(
        node, config, load_embodiment(config.embodiment), lambda: None, lambda source, text: None
    )
    before = sys.getswitchinterval()
    try:
        outputs.start()
        assert (sys.getswitchinterval() == pytest.approx(SWITCH_S)) is rated
        outputs.stop(None)
    finally:
        sys.setswitchinterval(before)
