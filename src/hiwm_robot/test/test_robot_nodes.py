"""The driver and the bridge in their own processes, commanded over DDS."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from hiwm_interfaces.msg import Command, Tick
from hiwm_interfaces.srv import ContinueState, Reset, RestoreState, SaveState, SetRate
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray

from hiwm_core.config_files import default_task, find_config
from hiwm_core.embodiment import load_embodiment
from hiwm_core.stamps import stamp_ns
from hiwm_core.tasks import load_task
from hiwm_nodes import qos
from hiwm_test_support.nodes import wait_until

sys.path.insert(0, str(Path(__file__).parent))
from robot_graph import FORWARD, GUARD_S, HOME, STEP_M, Graph, at, robot_file  # noqa: E402

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]


@pytest.fixture
def graph() -> Iterator[Graph]:
    with ExitStack() as stack:
        yield Graph(stack)


def test_a_second_world_exits_and_names_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        graph = Graph(stack)
        # A bridge that waits for its drivers answers a newcomer only between two attempts.
        first = graph.bridge(session_dir=str(tmp_path / "one"), connect_timeout_s=0.1)
        wait_until(lambda: (tmp_path / "one" / "locks" / "world.lock").exists())
        graph.until(lambda: graph.node.count_publishers("presence") > 0)
        second = graph.bridge(session_dir=str(tmp_path / "two"))
        assert second.wait(GUARD_S) == 1
        monkeypatch.setenv("TMPDIR", str(tmp_path))  # as in a container beside it
        third = graph.bridge(session_dir=str(tmp_path / "three"))
        assert third.wait(GUARD_S) == 1
        for other in (second, third):
            [line] = [line for line in other.output.splitlines() if "error: " in line]
            assert "world already running in namespace" in line
            assert ": robot_bridge" in line and "one" in line
            assert str(first.process.pid) in line and "Traceback" not in other.output
        monkeypatch.setenv("HIWM_LAUNCH_ID", "another")
        same_session = graph.bridge(session_dir=str(tmp_path / "one"))
        assert same_session.wait(GUARD_S) == 1
        assert f"in use by world, pid {first.process.pid} on" in same_session.output
        assert first.process.poll() is None and not graph.ticks


@pytest.mark.parametrize("adapter", ["joint_trajectory", "float64_multi_array"])
def test_both_adapters_move_the_pushers_within_the_limits(
    graph: Graph, tmp_path: Path, adapter: str
) -> None:
    changes = {"outputs": FORWARD} if adapter == "float64_multi_array" else {}
    graph.driver()
    graph.bridge(robot=robot_file(tmp_path, **changes))
    goal = HOME + np.array([-0.01, 0.05, 0.01, 0.05])
    graph.answer = lambda tick: goal  # far away: the bridge must limit it to steps
    graph.until(lambda: bool(graph.joints) and np.abs(graph.position() - goal).max() < 0.002)
    graph.more_ticks(1)
    targets = [np.array(tick.applied_action) for tick in graph.ticks[1:]]
    for before, after, tick in zip(targets[:-1], targets[1:], graph.ticks[2:], strict=True):
        if tick.applied_source == Command.SOURCE_POLICY:
            step = after - before
            assert max(np.hypot(*step[:2]), np.hypot(*step[2:])) <= STEP_M
    for earlier, later in zip(graph.sent[:-1], graph.sent[1:], strict=True):
        assert np.abs(later - earlier).max() <= 2 * STEP_M


def test_an_observation_has_one_stamp_and_the_tick_last(graph: Graph) -> None:
    graph.driver()
    graph.bridge()

    def complete() -> set[int]:
        stamps = {stamp_ns(tick.header.stamp) for tick in graph.ticks}
        return stamps & graph.images.keys() & graph.joints.keys() & graph.truths.keys()

    graph.until(lambda: len(complete()) >= 5)
    assert {len(graph.images[stamp]) for stamp in complete()} == {96 * 96 * 3}
    graph.until(lambda: bool(graph.infos) and bool(graph.camera_infos))
    assert graph.ticks[-1].trust == 1.0
    assert graph.ticks[-1].state_id == ""
    (info,) = graph.infos
    assert (info.kind, info.robot, info.stand_in) == ("hardware", "standin", True)
    assert not info.can_restore
    assert info.embodiment_hash == load_embodiment("planar_bimanual").hash
    assert graph.camera_infos[-1].width == 96


def test_a_watched_view_is_drawn_and_one_that_the_scene_lacks_is_named(
    graph: Graph, tmp_path: Path
) -> None:
    robot = yaml.safe_load(find_config("robots", "yam_pair").read_text())
    robot["views"]["ceiling"] = {"image": "driver/view_ceiling/image_raw", "size": [64, 64]}
    file = tmp_path / "pair.yaml"
    file.write_text(yaml.safe_dump(robot))
    sizes: list[tuple[int, int]] = []
    for name in ("ceiling", "side"):
        graph.subscribe(
            Image, f"driver/view_{name}/image_raw",
            lambda image: sizes.append((image.width, image.height)), qos.TICK,
        )
    task = next(
        path.stem for path in sorted(find_config("tasks", default_task()).parent.glob("*.yaml"))
        if load_task(path).plugin and load_task(path).stand_in().stand_in_robot == "yam_pair"
    )
    driver = graph.driver(task=task, robot=str(file))
    graph.until(lambda: len(sizes) >= 2 and "views.ceiling is not drawn" in driver.output)
    assert set(sizes) == {(192, 192)}


def test_a_larger_driver_image_is_resized(graph: Graph) -> None:
    graph.driver(render_size=192)
    graph.bridge()
    graph.until(lambda: bool(graph.images))
    assert len(next(iter(graph.images.values()))) == 96 * 96 * 3


@pytest.mark.parametrize("bad", [[np.nan] * 4, [0.0] * 3, []])
def test_a_bad_action_holds(graph: Graph, bad: list[float]) -> None:
    graph.driver()
    graph.bridge()
    graph.answer = lambda tick: HOME + 0.01
    graph.until(lambda: bool(graph.joints) and np.abs(graph.position() - HOME - 0.01).max() < 2e-3)
    graph.answer = lambda tick: bad
    graph.until(lambda: graph.level() == DiagnosticStatus.ERROR)
    graph.more_ticks(2)
    held = graph.position()
    ticks = graph.more_ticks(5)
    assert {tick.applied_source for tick in ticks} == {Command.SOURCE_NONE}
    np.testing.assert_allclose(graph.position(), held, atol=1e-3)
    graph.answer = lambda tick: HOME
    graph.until(lambda: np.abs(graph.position() - HOME).max() < 2e-3)
    graph.until(lambda: graph.level() == DiagnosticStatus.OK)


def test_no_commands_hold(graph: Graph) -> None:
    graph.driver()
    graph.bridge()
    graph.answer = lambda tick: HOME + 0.1
    graph.until(lambda: bool(graph.joints) and np.abs(graph.position() - HOME).max() > 0.02)
    graph.answer = None
    graph.more_ticks(3)
    held = graph.position()
    graph.more_ticks(5)
    np.testing.assert_allclose(graph.position(), held, atol=1e-3)
    assert graph.ticks[-1].applied_source == Command.SOURCE_NONE


@pytest.mark.parametrize("fast", [False, True])
def test_a_killed_driver_is_reported_and_the_next_one_is_used(graph: Graph, fast: bool) -> None:
    driver = graph.driver(fast=fast)
    bridge = graph.bridge(lockstep=fast)
    graph.answer = lambda tick: HOME + 0.02
    graph.more_ticks(10)
    driver.kill9()
    graph.until(lambda: graph.level() == DiagnosticStatus.ERROR)
    assert "holding: no camera top" in bridge.output
    graph.driver(fast=fast)
    epoch, step = graph.ticks[-1].epoch, graph.ticks[-1].step
    ticks = graph.more_ticks(10)
    assert [(t.epoch, t.step) for t in ticks] == [(epoch, step + i) for i in range(1, 11)]
    stamps = [stamp_ns(t.header.stamp) for t in graph.ticks]
    assert all(a < b for a, b in zip(stamps[:-1], stamps[1:], strict=True))
    graph.until(lambda: graph.level() == DiagnosticStatus.OK)
    graph.until(lambda: np.abs(graph.position() - HOME - 0.02).max() < 0.002)


def test_reset_starts_an_episode_at_the_requested_pose(graph: Graph) -> None:
    graph.driver()
    graph.until(lambda: bool(graph.truths))
    graph.bridge()
    graph.answer = lambda tick: HOME + 0.02
    first = graph.more_ticks(3)[-1]
    answer = graph.call(Reset, "world/reset", at(0.02, 0.05, 0.5))
    assert answer.ok, answer.message
    assert answer.epoch == first.epoch + 1
    graph.until(lambda: graph.ticks[-1].epoch == answer.epoch)
    tick = next(t for t in graph.ticks if t.epoch == answer.epoch)
    assert tick.step == 0
    assert tick.episode_id == answer.episode_id != first.episode_id
    assert tick.branch_id == f"{tick.episode_id}-b000"
    assert len(tick.applied_action) == 0
    stamp = stamp_ns(tick.header.stamp)
    graph.until(lambda: stamp in graph.truths)
    np.testing.assert_allclose(graph.truths[stamp], [0.02, 0.05, 0.5], atol=2e-3)
    np.testing.assert_allclose(graph.joints[stamp], HOME, atol=1e-3)


def test_an_impossible_request_is_refused_with_a_remedy(graph: Graph) -> None:
    graph.driver()
    graph.bridge()
    graph.more_ticks(1)
    restore = graph.call(RestoreState, "world/restore_state", RestoreState.Request(state_id="x"))
    save = graph.call(SaveState, "world/save_state", SaveState.Request())
    ahead = graph.call(ContinueState, "world/continue_state", ContinueState.Request(count=2))
    faster = graph.call(SetRate, "world/set_rate", SetRate.Request(rate=20.0))
    named = graph.call(Reset, "world/reset", Reset.Request(start="corner"))
    off = graph.call(Reset, "world/reset", at(9.0, 0.0, 0.0))
    for answer, words in (
        (restore, "world/reset"), (save, "imagination"), (ahead, "continue from here"),
        (faster, "at most 10"), (named, "corner"), (off, "off the table"),
    ):
        assert not answer.ok
        assert words in answer.message
    before = graph.ticks[-1].step
    graph.until(lambda: graph.ticks[-1].step > before)  # and the episode continues
    assert graph.call(SetRate, "world/set_rate", SetRate.Request(rate=5.0)).ok
    graph.until(lambda: graph.infos[-1].rate == 5.0)


def test_a_robot_without_reset_names_the_remedy(graph: Graph, tmp_path: Path) -> None:
    graph.driver()
    graph.bridge(robot=robot_file(tmp_path, reset=None))
    graph.more_ticks(2)
    answer = graph.call(Reset, "world/reset", Reset.Request())
    assert not answer.ok
    assert "by hand" in answer.message
    assert not graph.infos[-1].auto_reset


def test_a_reset_by_hand_starts_an_episode_and_nothing_moves(
    graph: Graph, tmp_path: Path
) -> None:
    graph.driver()
    graph.bridge(robot=robot_file(tmp_path, reset=None))
    graph.answer = lambda tick: HOME + 0.01
    graph.until(lambda: bool(graph.joints) and np.abs(graph.position() - HOME - 0.01).max() < 2e-3)
    graph.answer = None
    graph.more_ticks(3)
    before, standing, sent = graph.ticks[-1], graph.position(), len(graph.sent)
    answer = graph.call(Reset, "world/reset", Reset.Request(by_hand=True, seed=3))
    assert answer.ok, answer.message
    assert answer.epoch == before.epoch + 1
    graph.until(lambda: graph.ticks[-1].epoch == answer.epoch)
    first = next(tick for tick in graph.ticks if tick.epoch == answer.epoch)
    assert (first.step, first.episode_id) == (0, answer.episode_id)
    graph.more_ticks(3)
    assert np.abs(graph.position() - standing).max() < 2e-3
    assert all(np.abs(np.array(target) - standing).max() < 2e-3 for target in graph.sent[sent:])


def change(graph: Graph, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(graph.call(ChangeState, "robot_bridge/change_state", request).success)


def test_only_an_active_bridge_moves_anything(graph: Graph) -> None:
    graph.driver()
    graph.bridge(autostart=False)
    seen: list[Image] = []
    graph.subscribe(Image, "driver/camera_top/image_raw", seen.append, qos.SENSOR)
    assert change(graph, Transition.TRANSITION_CONFIGURE)
    graph.until(lambda: bool(graph.infos))

    def command_for_a_while() -> None:
        goal = len(seen) + 10
        while len(seen) < goal:
            graph.command(Tick(epoch=1, step=0), HOME + 0.1)
            graph.executor.spin_once(timeout_sec=0.05)

    command_for_a_while()
    assert graph.sent == []
    assert graph.ticks == []
    assert change(graph, Transition.TRANSITION_ACTIVATE)
    graph.answer = lambda tick: HOME + 0.1
    graph.until(lambda: len(graph.sent) > 10)
    assert change(graph, Transition.TRANSITION_DEACTIVATE)
    graph.answer = None
    graph.until(lambda: len(seen) > 0)
    ticks, sent = len(graph.ticks), len(graph.sent)
    command_for_a_while()
    # The hold of the deactivation may arrive late.
    assert len(graph.sent) <= sent + 1
    assert len(graph.ticks) <= ticks + 1
    assert change(graph, Transition.TRANSITION_ACTIVATE)
    graph.until(lambda: graph.ticks[-1].epoch == 2)


def test_drivers_that_start_after_the_bridge_are_waited_for_without_an_error(graph: Graph) -> None:
    bridge = graph.bridge(connect_timeout_s=0.3)
    graph.until(lambda: "waiting for the drivers: nothing on /driver/camera_top" in bridge.output)
    graph.until(lambda: graph.level() == DiagnosticStatus.WARN)
    graph.driver()
    graph.more_ticks(3)
    graph.until(lambda: graph.level() == DiagnosticStatus.OK)
    assert bridge.output.count("waiting for the drivers: nothing on /driver/camera_top") == 1
    assert "ERROR" not in bridge.output, bridge.output


def test_configuring_without_drivers_fails_with_the_reason(graph: Graph) -> None:
    bridge = graph.bridge(autostart=False, connect_timeout_s=0.3)
    assert not change(graph, Transition.TRANSITION_CONFIGURE)
    assert "nothing on /driver/camera_top/image_raw" in bridge.output
    graph.driver()
    seen: list[Image] = []
    graph.subscribe(Image, "driver/camera_top/image_raw", seen.append, qos.SENSOR)
    graph.until(lambda: len(seen) > 3)
    # The first attempt may fail while the new driver is being discovered.
    graph.until(lambda: change(graph, Transition.TRANSITION_CONFIGURE))


def test_the_bridge_may_start_before_the_driver(graph: Graph, tmp_path: Path) -> None:
    graph.bridge(
        connect_timeout_s=0.5, drivers_start_s=0.5, session_dir=str(tmp_path / "s1"), seed=5
    )
    graph.until(lambda: graph.level() == DiagnosticStatus.ERROR)
    graph.driver()
    (tick,) = graph.more_ticks(1)
    assert tick.episode_id == "ep_0001"
    session = json.loads((tmp_path / "s1" / "session.json").read_text())
    assert session["robot"] == "standin"
    assert session["seed"] == 5
    assert session["embodiment_hash"] == load_embodiment("planar_bimanual").hash


def test_a_restarted_bridge_continues_its_sessions_counters(graph: Graph, tmp_path: Path) -> None:
    graph.driver()
    first = graph.bridge(session_dir=str(tmp_path))
    graph.more_ticks(3)
    first.kill9()
    epoch = graph.ticks[-1].epoch
    graph.bridge(session_dir=str(tmp_path))
    graph.until(lambda: graph.ticks[-1].epoch > epoch)
    assert graph.ticks[-1].episode_id == "ep_0002"


def test_an_invalid_config_stops_the_bridge_with_one_line(graph: Graph, tmp_path: Path) -> None:
    bridge = graph.bridge(robot=robot_file(tmp_path, stale_after=1.0))
    assert bridge.wait(GUARD_S) == 1
    assert "unknown key 'stale_after'" in bridge.output
    assert "Traceback" not in bridge.output


def test_interrupted_nodes_exit_cleanly(graph: Graph) -> None:
    driver, bridge = graph.driver(), graph.bridge()
    graph.more_ticks(2)
    for process in (bridge, driver):
        process.interrupt()
        assert process.wait(GUARD_S) == 0
        assert "Traceback" not in process.output


def lockstep_run(
    steps: int, seed: int, pause_s: float = 0.0
) -> tuple[list[Tick], list[np.ndarray], list[bytes]]:
    """Drive an arm through the object in fast mode, from a start drawn with a seed.

    Before each tenth command, nothing is sent for `pause_s`. Return ticks, truths and images.
    """
    with ExitStack() as stack:
        graph = Graph(stack)
        graph.driver(fast=True)
        # Without a bridge it publishes five times a second: wait until messages arrive.
        graph.until(lambda: bool(graph.truths))
        graph.bridge(lockstep=True)
        graph.until(lambda: graph.command_pub.get_subscription_count() > 0 and bool(graph.infos))
        answer = graph.call(Reset, "world/reset", Reset.Request(seed=seed))
        assert answer.ok, answer.message
        graph.until(lambda: graph.ticks[-1].epoch == answer.epoch)
        start = stamp_ns(graph.ticks[-1].header.stamp)
        graph.until(lambda: start in graph.truths)
        goal = np.array([*graph.truths[start][:2], *HOME[2:]])  # the left arm, through the object

        def answer_tick(tick: Tick) -> Any:
            if tick.step % 10 == 9:
                time.sleep(pause_s)
            return goal if tick.epoch == answer.epoch and tick.step < steps else None

        graph.answer = answer_tick
        graph.command(graph.ticks[-1], goal)  # its tick arrived before the answer was set
        graph.until(lambda: graph.ticks[-1].step == steps)
        # A tick may be repeated for a node that has joined, and is then the same.
        ticks = list({t.step: t for t in graph.ticks if t.epoch == answer.epoch}.values())
        stamps = [stamp_ns(t.header.stamp) for t in ticks]
        graph.until(lambda: all(s in graph.truths and s in graph.images for s in stamps))
        quiet = time.monotonic() + 0.5
        while time.monotonic() < quiet:
            graph.executor.spin_once(timeout_sec=0.05)
        assert graph.ticks[-1].header.stamp == ticks[-1].header.stamp  # no command, no step
        return ticks, [graph.truths[s] for s in stamps], [graph.images[s] for s in stamps]


def test_lockstep_takes_one_step_per_command_and_equal_seeds_repeat_at_any_speed() -> None:
    ticks, truths, images = lockstep_run(40, seed=5)
    assert [tick.step for tick in ticks] == list(range(41))
    assert all(tick.applied_source == Command.SOURCE_POLICY for tick in ticks[1:])
    stamps = [stamp_ns(tick.header.stamp) for tick in ticks]
    assert set(np.diff(stamps)) == {100_000_000}
    assert np.abs(truths[-1] - truths[0]).max() > 0.005  # the T was pushed
    ticks_again, truths_again, images_again = lockstep_run(40, seed=5, pause_s=0.5)
    assert [tick.step for tick in ticks_again] == [tick.step for tick in ticks]
    np.testing.assert_array_equal(truths, truths_again)
    assert images == images_again


def test_lockstep_repeats_the_waiting_tick_for_a_node_that_joins(graph: Graph) -> None:
    graph.driver(fast=True)
    graph.bridge(lockstep=True)
    first = graph.more_ticks(1)[0]
    late: list[Tick] = []
    images: list[Image] = []
    graph.subscribe(Image, "cameras/top/image_raw", images.append, qos.SENSOR)
    graph.subscribe(Tick, "tick", late.append, qos.TICK)
    graph.until(lambda: bool(late) and bool(images))
    assert (late[0].epoch, late[0].step) == (first.epoch, first.step)
    assert late[0].header.stamp == images[0].header.stamp == first.header.stamp
    refused = graph.call(SetRate, "world/set_rate", SetRate.Request(rate=10.0))
    assert not refused.ok
    assert graph.call(SetRate, "world/set_rate", SetRate.Request(rate=0.0)).ok


def test_the_driver_refuses_bad_controller_commands(graph: Graph) -> None:
    driver = graph.driver()
    joints: list[JointState] = []
    graph.subscribe(JointState, "driver/joint_states", joints.append, qos.TICK)
    pub = graph.node.create_publisher(
        Float64MultiArray, "driver/arm_controller/commands", qos.TICK
    )
    graph.until(lambda: pub.get_subscription_count() > 1 and len(joints) > 0)
    pub.publish(Float64MultiArray(data=[float("nan"), 0.0, 0.0, 0.0]))
    pub.publish(Float64MultiArray(data=[0.0]))
    graph.until(lambda: "refused" in driver.output)
    goal = len(joints) + 5
    graph.until(lambda: len(joints) >= goal)
    np.testing.assert_allclose(joints[-1].position, HOME, atol=1e-3)
