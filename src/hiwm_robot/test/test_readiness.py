"""Interlocks and calls whose types or fields do not exist are refused when the bridge starts."""

from typing import Any

import pytest
import yaml

from hiwm_core.errors import ConfigError
from hiwm_core.robot_config import parse_robot
from hiwm_robot.readiness import Readiness
from hiwm_test_support.robots import SMALL_ROBOT

LOCK = {"topic": "stop", "type": "std_msgs/msg/Bool", "field": "data", "fine": [True]}
CALL = {"service": "enable", "type": "std_srvs/srv/SetBool", "request": {"data": True}}


@pytest.mark.parametrize(
    ("section", "value", "words"),
    [
        ("interlocks", {"stop": {**LOCK, "type": "absent_msgs/msg/Stop"}},
         ["robot small: interlocks.stop.type", "absent_msgs/msg/Stop is not installed",
          "ros-jazzy-absent-msgs"]),
        ("interlocks", {"stop": {**LOCK, "type": "std_msgs/msg/Boole"}},
         ["robot small: interlocks.stop.type", "did you mean 'Bool'"]),
        ("interlocks", {"stop": {**LOCK, "field": "dat"}},
         ["robot small: interlocks.stop.field", "no field 'dat'", "data"]),
        ("interlocks", {"stop": {**LOCK, "fine": ["yes"]}},
         ["robot small: interlocks.stop.fine", "data of std_msgs/msg/Bool is bool"]),
        ("interlocks", {"stop": {**LOCK, "fine": {"lower": 0, "upper": 1}}},
         ["robot small: interlocks.stop.fine", "a range needs a number"]),
        ("enable", {"on_activate": [{**CALL, "type": "absent_msgs/srv/On"}]},
         ["robot small: enable.on_activate[0].type", "not installed"]),
        ("enable", {"on_activate": [{**CALL, "request": {"date": True}}]},
         ["robot small: enable.on_activate[0].request", "did you mean 'data'"]),
        ("enable", {"on_deactivate": [{**CALL, "expect": {"success": "yes"}}]},
         ["robot small: enable.on_deactivate[0].expect.success", "bool"]),
    ],
)
def test_what_does_not_exist_is_refused_by_name(
    section: str, value: Any, words: list[str]
) -> None:
    text = yaml.safe_dump({**yaml.safe_load(SMALL_ROBOT), section: value})
    robot = parse_robot(text, "small.yaml")
    node: Any = None  # types are checked before anything touches the graph
    with pytest.raises(ConfigError) as error:
        Readiness(node, robot, [], lockstep=False, on_interlock=lambda: None)
    for word in words:
        assert word in str(error.value)
    assert error.value.remedy
