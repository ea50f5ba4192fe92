"""How a robot's world describes itself."""

import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.robot_config import load_robot
from hiwm_robot.world_description import world_info
from hiwm_test_support.shipped import TASK


@pytest.mark.parametrize(("rate", "period_s"), [(5.0, 0.2), (10.0, 0.1), (0.0, 0.1)])
def test_the_rate_sets_the_control_period_except_in_lock_step(rate: float, period_s: float) -> None:
    embodiment = load_embodiment("planar_bimanual")
    info = world_info(
        None, load_robot("standin"), embodiment, TASK, rate=rate,
        lockstep=rate == 0.0,
    )
    assert info.control_period_s == period_s
    assert list(info.streams) == ["cameras/top/image_raw", "joint_states"]
    assert list(info.labels[:2]) == ["success", "failure"] and len(info.start_names) == 3
