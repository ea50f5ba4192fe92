"""A server's actions as targets of ours, and every reply that is refused."""

from typing import Any

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError, ServerError
from hiwm_core.rotations import matrix_from_6d, matrix_from_vector, sixd_from_matrix
from hiwm_learning.policies.remote.layout import find_layout, parse_layout
from hiwm_learning.policies.remote.replies import ReplyReader
from hiwm_test_support.policy_servers import SIMPLE_LAYOUT

PLANE = load_embodiment("planar_bimanual")
FRANKA = load_embodiment("franka_fr3")
TOOL = load_embodiment("ur5e_tool")


def reader(embodiment: Any = PLANE, period_s: float = 0.1, **changes: Any) -> ReplyReader:
    return ReplyReader(
        parse_layout(SIMPLE_LAYOUT | changes, "x"), embodiment, period_s, "x.yaml", "ws://lab:8000"
    )


def test_without_parts_the_actions_are_ours_and_a_longer_chunk_is_cut() -> None:
    actions = np.linspace(-0.1, 0.1, 40).reshape(10, 4)
    found = reader().chunk({"actions": actions, "server_timing": {}}, np.zeros(4, np.float32))
    np.testing.assert_array_equal(found, actions[:8])
    np.testing.assert_array_equal(reader().chunk(actions, np.zeros(4, np.float32)), actions[:8])
    one = reader(reply=["data", "actions"]).chunk(
        {"ok": True, "data": {"actions": actions[None].astype(np.float32)}},
        np.zeros(4, np.float32),
    )
    np.testing.assert_allclose(one, actions[:8], atol=1e-7)


def test_droid_velocities_add_up_from_the_measured_joints() -> None:
    layout = find_layout("droid")
    proprio = np.array([0.1, -0.5, 0, -2, 0, 1.5, 0.7, 1], np.float32)
    rows = np.zeros((10, 8))
    rows[:, 0], rows[0, 1], rows[:, 7] = 0.5, -3.0, 0.25
    found = ReplyReader(layout, FRANKA, 1 / 15, "x", "ws://x").chunk({"actions": rows}, proprio)
    np.testing.assert_allclose(found[:, 0], 0.1 + 0.1 * np.arange(1, 11), atol=1e-6)
    np.testing.assert_allclose(found[:, 1], -0.7, atol=1e-6)  # clipped to one step of 0.2 rad
    np.testing.assert_allclose(found[:, 7], 0.75)


def test_rotations_come_as_axis_times_angle_and_displacements_turn() -> None:
    start = np.array([0.0, 0.1, 0.3, *sixd_from_matrix(np.eye(3))])
    proprio = np.concatenate([np.zeros(6), start]).astype(np.float32)
    part = {"columns": [0, 6], "group": "tool", "rotation": "axis_angle"}
    rows = np.tile([-0.4, 0.1, 0.3, 0.0, 0.0, 0.2], (8, 1))
    found = reader(TOOL, actions=[part]).chunk({"actions": rows}, proprio)
    np.testing.assert_allclose(found[0, :3], rows[0, :3])
    np.testing.assert_allclose(
        matrix_from_6d(found[0, 3:]), matrix_from_vector([0, 0, 0.2]), atol=1e-9
    )
    steps = np.tile([0.01, 0.0, 0.0, 0.0, 0.0, 0.1], (8, 1))
    for kind, last in (("delta", 8), ("delta_from_start", 1)):
        found = reader(TOOL, actions=[part | {"kind": kind}]).chunk({"actions": steps}, proprio)
        np.testing.assert_allclose(found[-1, 0], 0.01 * last, atol=1e-6)
        np.testing.assert_allclose(
            matrix_from_6d(found[-1, 3:]), matrix_from_vector([0, 0, 0.1 * last]), atol=1e-6
        )


def test_another_rate_is_interpolated() -> None:
    fast = reader(rate_hz=50.0, horizon=50, execute_horizon=25)
    assert (fast.horizon, fast.execute_horizon) == (10, 5)
    rows = np.repeat(np.arange(1, 51)[:, None] / 500, 4, axis=1)  # at the end of each 0.02 s
    found = fast.chunk({"actions": rows}, np.zeros(4, np.float32))
    np.testing.assert_allclose(found[:, 0], np.arange(1, 11) / 100, atol=1e-12)
    slow = reader(rate_hz=5.0)
    assert (slow.horizon, slow.execute_horizon) == (16, 8)
    assert reader(rate_hz=10.5).horizon == 8  # the same rate, as measured


NAN = np.full((8, 4), 0.1)
NAN[3, 2] = np.nan


@pytest.mark.parametrize(("reply", "words"), [
    ({"actions": np.zeros((7, 4))}, "7 actions, but layout x promises 8"),
    ({"actions": np.zeros((8, 5))}, "shape [8, 5], not [8, 4]"),
    ({"actions": np.zeros(32)}, "shape [32]"),
    ({"actions": np.zeros((2, 8, 4))}, "shape [2, 8, 4]"),
    ({"actions": NAN}, "column 2 of action 3 is not finite (nan)"),
    ({"actions": np.full((8, 4), 40.0)}, "left_x of action 0 is 40 m, far outside -0.18 to 0.18"),
    ({"actions": "none"}, "str, not an array of numbers"),
    ({"actions": [[1, 2], [3]]}, "not an array of numbers"),
    ({"action": np.zeros((8, 4))}, "a reply with action, not actions"),
    ("reset successful", "a reply of type str"),
    ({"ok": False, "error": {"message": "CUDA out of memory"}}, "CUDA out of memory"),
])
def test_a_wrong_reply_is_refused_with_its_server(reply: Any, words: str) -> None:
    with pytest.raises(ServerError) as caught:
        reader().chunk(reply, np.zeros(4, np.float32))
    assert words in str(caught.value) and "ws://lab:8000" in str(caught.value)


def test_a_little_outside_its_limits_an_action_is_left_to_the_limiter() -> None:
    found = reader().chunk({"actions": np.full((8, 4), 0.3)}, np.zeros(4, np.float32))
    assert (found == 0.3).all()


def test_a_rotation_that_is_none_is_refused() -> None:
    rows = np.zeros((8, 9))
    with pytest.raises(ServerError) as caught:
        reader(TOOL, actions=[
            {"columns": [0, 9], "group": "tool"}
        ], rate_hz=50.0).chunk({"actions": rows - [0.4, 0, 0, 0, 0, 0, 0, 0, 0]}, np.zeros(15))
    assert "not valid targets" in str(caught.value)


@pytest.mark.parametrize(("actions", "words"), [
    ([{"columns": [0, 2], "group": "left"}], "no action for group right"),
    ([{"columns": [0, 3], "group": "left"}], "group left, which takes 2"),
    ([{"columns": [0, 2], "group": "arm"}], "no group 'arm'"),
    ([{"columns": [0, 2], "group": "left", "scale": [1, 2, 3]}], "3 numbers for 2 columns"),
])
def test_parts_that_do_not_fit_the_embodiment_are_refused(actions: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        reader(actions=actions)
    assert words in str(caught.value)
