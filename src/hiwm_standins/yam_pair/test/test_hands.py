"""The hands that the controllers move stay within the arms' reach."""

import numpy as np
import pytest

from hiwm_yam_pair.hands import hands_of
from hiwm_yam_pair.kinematics import highest_m, tool_down


@pytest.mark.parametrize(("side", "y_m"), [("left", 0.10), ("right", -0.22)])
def test_a_hand_far_out_rises_only_as_far_as_its_arm_reaches(side: str, y_m: float) -> None:
    limit = highest_m(side, 0.48, y_m)
    assert 0.02 < limit < 0.12
    tool_down(side, 0.48, y_m, limit, 1.5)
    with pytest.raises(ValueError, match="does not reach"):
        tool_down(side, 0.48, y_m, limit + 0.02, 1.5)
    number = ("left", "right").index(side)
    measured = np.tile([0.48, y_m, limit - 0.005, 1.5, 0.5], 2)
    up = hands_of(measured)[number].toward(np.array([0.48, y_m]), 0.2, 1.5, 0.5)
    assert limit - 0.005 < up[2] <= limit
    near = hands_of(np.tile([0.30, y_m, 0.05, 1.5, 0.5], 2))[number]
    assert near.toward(np.array([0.30, y_m]), 0.2, 1.5, 0.5)[2] > 0.065
