"""Every shipped robot file against models of its controllers, on DDS, with the faults of real arms.

Another file has the outputs that no shipped one uses: poses, and joint states.

One body for all: nothing jumps, nothing moves without a fresh command, and the bridge says why it
does not move. The models are in test_support/hiwm_test_support/drivers.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from std_srvs.srv import Trigger

from hiwm_core.robot_config import load_robot, parse_robot
from hiwm_core.robots.outputs import ADAPTERS
from hiwm_test_support import tool_pair
from hiwm_test_support.drivers.body import tool_pose
from hiwm_test_support.drivers.cell import AWAY, STILL, Cell
from hiwm_test_support.drivers.interlock_values import fine_value, ros_type, stopping_value
from hiwm_test_support.drivers.managers import ACTIVE, INACTIVE
from hiwm_test_support.drivers.node import Traits
from hiwm_test_support.drivers.outputs import GripperOutput
from hiwm_test_support.drivers.poses import PoseOutput, turn_between

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(600)]

CONFIG = Path(__file__).resolve().parents[3] / "config"
TRAITS = {
    "aloha": Traits(camera_hz=10.0),  # four cameras of 640x480
    # UR ignores a target that needs more than its joints' largest speed, with a popup. Behind Servo
    # no output of ours sends it targets.
    "ur5e": Traits(lag_s=0.02, fastest=float(np.pi)),
    "ur5e_forward": Traits(fastest=float(np.pi)),
    "so101": Traits(lag_s=0.1, dead_band=0.02),
    "i2rt_yam_pair": Traits(from_desired=True),
    "xarm7": Traits(allow_stalling=True),
    "kinova_gen3_twist": Traits(tool_axes=True, allow_stalling=True, start={
        "joint_1": 0.0, "joint_2": 0.2618, "joint_3": 3.1416, "joint_4": -2.2689, "joint_5": 0.0,
        "joint_6": 0.9599, "joint_7": 1.5708,
    }),
}
ROBOTS = sorted(
    path.stem for path in (CONFIG / "robots").glob("*.yaml") if not load_robot(path).stand_in
)


@pytest.fixture
def cell(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cell]:
    if request.param == tool_pair.NAME:
        tool_pair.write_configs(tmp_path)
        monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path))
    with ExitStack() as stack:
        yield Cell(stack, request.param, tmp_path, TRAITS.get(request.param, Traits()))


def test_every_adapter_is_used_by_a_robot_of_these_tests() -> None:
    texts = [path.read_text() for path in (CONFIG / "robots").glob("*.yaml")]
    used = {
        output.adapter for text in [*texts, tool_pair.ROBOT]
        for output in parse_robot(text, "test").outputs.values()
    }
    assert used == set(ADAPTERS)


@pytest.mark.parametrize("cell", [*ROBOTS, tool_pair.NAME], indirect=True)
def test_robot(cell: Cell) -> None:
    waits_for_its_controllers(cell)
    rests_until_the_first_command(cell)
    follows(cell)
    turns_along_one_arc(cell)
    rests_without_commands(cell)
    ignores_bad_and_old_commands(cell)
    ignores_joint_states_of_a_wrong_length(cell)
    stops_while_another_node_commands_it(cell)
    waits_for_a_late_camera(cell)
    resumes_after_a_stop_only_when_it_is_rearmed(cell)
    outlives_a_restart_of_the_drivers(cell)
    refuses_another_clock(cell)


def waits_for_its_controllers(cell: Cell) -> None:
    """Inactive controllers have matched subscribers and swallow every message."""
    if cell.robot.controllers:
        name = cell.robot.controllers[0].required[0]
        cell.until(
            lambda: "switch_controllers" in cell.bridge.output and name in cell.bridge.output,
            f"the command that activates {name}",
        )
        assert cell.ticks == []
        cell.drivers.set_arrays(lambda joints: joints[::-1])
        cell.drivers.set_controllers(ACTIVE)
    if cell.drivers.array_orders:
        cell.until(lambda: "in this order" in cell.bridge.output, "the wrong order")
        cell.drivers.set_arrays(lambda joints: [*joints, "seventh_joint"])
        cell.until(lambda: "seventh_joint" in cell.bridge.output, "the wrong length")
        assert cell.ticks == []
        cell.drivers.set_arrays(lambda joints: joints)
    cell.until(lambda: len(cell.ticks) >= 2, "the first ticks")
    for call in cell.robot.enable.on_activate:
        assert call.service in [service for service, _ in cell.drivers.calls]


def rests_until_the_first_command(cell: Cell) -> None:
    cell.assert_still(lambda: cell.more_ticks(4))
    np.testing.assert_allclose(cell.position(), cell.home, atol=STILL)
    cell.assert_smooth()


def follows(cell: Cell) -> None:
    """A distant target is reached, within the limits; a gripper that stalls stops nothing else."""
    grippers = [one for one in cell.drivers.outputs.values() if isinstance(one, GripperOutput)]
    arm = np.abs(cell.way) < 0.9 * AWAY["1"]
    cell.drivers.change(lambda _: [one.put_object((-1.0, 0.8)) for one in grippers])
    cell.wish = cell.away
    if grippers:
        cell.until(lambda: cell.near(cell.away, arm), "the arm's way, while a gripper stalls")
        cell.until(lambda: "stalled before its goal" in cell.bridge.output, "the stalled gripper")
        assert cell.status[0] == DiagnosticStatus.OK  # an object in a gripper is no fault
        cell.drivers.change(lambda _: [one.take_object() for one in grippers])
    cell.until(lambda: cell.near(cell.away), "the way to a target")
    cell.assert_smooth()


def turns_along_one_arc(cell: Cell) -> None:
    """Poses between two targets are rotations between them."""
    for name, output in cell.drivers.outputs.items():
        if not isinstance(output, PoseOutput):
            continue
        group = cell.embodiment.group(cell.robot.outputs[name].group)
        orientation = cell.robot.outputs[name].orientation
        (_, start), (_, end) = (
            tool_pose(action[group.slice], orientation) for action in (cell.home, cell.away)
        )
        assert len(output.received) > 2
        for _, quaternion in output.received:
            detour = turn_between(start, quaternion) + turn_between(quaternion, end)
            assert detour == pytest.approx(turn_between(start, end), abs=STILL)


def rests_without_commands(cell: Cell) -> None:
    """Silence stops every arm, also one whose driver repeats the last twist for ever."""
    cell.wish = cell.home
    cell.more_ticks(2)
    cell.wish = None
    cell.more_ticks(8)
    cell.assert_still(lambda: cell.more_ticks(8))
    cell.assert_smooth()


def ignores_bad_and_old_commands(cell: Cell) -> None:
    """Neither a wrong length nor NaN reaches a controller; an old epoch moves nothing."""
    tick = cell.ticks[-1]

    def send_all() -> None:
        for action in (cell.away[:-1], [*cell.away, 0.0], np.full_like(cell.away, np.nan)):
            cell.send(cell.ticks[-1], action)
            cell.more_ticks(1)
        cell.send(tick, cell.away)
        cell.send(cell.ticks[-1], cell.away, epoch=tick.epoch - 1)
        cell.more_ticks(2)

    cell.assert_still(send_all)
    cell.assert_smooth()


def ignores_joint_states_of_a_wrong_length(cell: Cell) -> None:
    """A message whose numbers do not fit its names is not used, and is reported."""
    cell.drivers.change(lambda drivers: setattr(drivers, "short_states", 4))

    def report() -> None:
        cell.until(lambda: "positions for" in cell.bridge.output, "the wrong length")
        cell.more_ticks(1)

    cell.assert_still(report)
    cell.assert_smooth()


def stops_while_another_node_commands_it(cell: Cell) -> None:
    """A second publisher on a command topic is noticed and named, and must go first."""
    output = next(output for output in cell.robot.outputs.values() if output.topic)
    cell.wish = cell.home
    cell.more_ticks(2)
    other = cell.node.create_publisher(ros_type(output.interface), output.topic, 1)
    cell.until(lambda: f"/cell/above also publishes on {output.topic}" in cell.status[1], "both")
    cell.more_updates(30)
    cell.assert_still(lambda: cell.more_updates(20))
    refused = cell.call(Trigger, "world/rearm", Trigger.Request())
    assert not refused.success and "also publishes on" in refused.message
    cell.node.destroy_publisher(other)
    rearm(cell)
    cell.until(lambda: cell.near(cell.home), "the way home, after the other node")
    cell.wish = None
    cell.more_ticks(2)
    cell.assert_smooth()


def waits_for_a_late_camera(cell: Cell) -> None:
    """No tick without a camera, and no motion without a tick."""
    name = next(iter(cell.robot.cameras))
    cell.wish = cell.away
    cell.more_ticks(2)
    cell.drivers.change(lambda drivers: drivers.silent_cameras.add(name))
    cell.until(lambda: name in cell.status[1], f"camera {name} is reported")
    count = len(cell.ticks)
    cell.more_updates(30)  # the arm settles

    def insist() -> None:
        cell.send(cell.ticks[-1], cell.home)
        cell.more_updates(30)

    cell.assert_still(insist)
    assert len(cell.ticks) == count
    cell.drivers.change(lambda drivers: drivers.silent_cameras.clear())
    cell.more_ticks(2)
    cell.until(lambda: cell.near(cell.away), "the way to a target, after the camera came back")
    cell.assert_smooth()


def resumes_after_a_stop_only_when_it_is_rearmed(cell: Cell) -> None:
    """An e-stop in mid-plan: the plan dies with it, and a person starts a new epoch."""
    cell.wish = cell.home
    cell.more_ticks(2)
    known_to_the_bridge = bool(cell.robot.interlocks or cell.robot.controllers)
    locks = cell.robot.interlocks

    def stop(drivers):
        drivers.body.frozen = True
        drivers.interlocks.update({name: stopping_value(lock) for name, lock in locks.items()})

    def release(drivers):
        drivers.interlocks.update({name: fine_value(lock) for name, lock in locks.items()})
        drivers.body.frozen = False

    cell.drivers.change(stop)
    cell.drivers.set_controllers(INACTIVE)
    if known_to_the_bridge:
        cell.until(lambda: "rearm" in cell.status[1], "the stop")
    cell.drivers.set_controllers(ACTIVE)
    cell.drivers.change(release)
    if known_to_the_bridge:
        cell.more_updates(30)
        cell.assert_still(lambda: cell.more_updates(50))
        rearm(cell)
    cell.until(lambda: cell.near(cell.home), "the way home")
    cell.assert_smooth()


def rearm(cell: Cell) -> None:
    """Do what the person does; the plan of before dies with its epoch."""
    epoch = cell.ticks[-1].epoch
    cell.until(
        lambda: cell.call(Trigger, "world/rearm", Trigger.Request()).success, "re-arming"
    )
    cell.until(lambda: cell.ticks[-1].epoch > epoch, "a new epoch")


def outlives_a_restart_of_the_drivers(cell: Cell) -> None:
    cell.wish = cell.away
    cell.more_ticks(2)
    cell.drivers.stop()
    # An interlock that is silent is not fine.
    stops = any(lock.stale_after_s for lock in cell.robot.interlocks.values())
    cell.until(
        lambda: ("rearm" if stops else "joint states") in cell.status[1],
        "the silent drivers are reported",
    )
    cell.drivers.start()
    if stops:
        rearm(cell)
    cell.until(lambda: cell.near(cell.away), "the way to a target, after the restart")
    cell.assert_smooth()


def refuses_another_clock(cell: Cell) -> None:
    """Stamps of a clock that is 10 s ahead: the bridge stays inactive and says so."""
    cell.wish = None
    assert cell.transition("deactivate")
    cell.drivers.change(lambda drivers: setattr(drivers, "stamp_offset_s", 10.0))
    cell.more_updates(40)  # the arm settles
    cell.assert_still(lambda: cell.more_updates(20))
    assert not cell.transition("activate")
    assert cell.state() == "inactive"
    assert "clock" in cell.bridge.output
    cell.drivers.change(lambda drivers: setattr(drivers, "stamp_offset_s", 0.0))
    cell.until(lambda: cell.transition("activate"), "activation with the right clock")
    cell.more_ticks(2)
    cell.assert_smooth()
