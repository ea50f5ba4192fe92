"""The recorder as its own process, receiving a world in another process over real DDS."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import rclpy
from hiwm_interfaces.msg import SegmentReport, Tick
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from hiwm_core.bags import AUDIT_FILE, audit_bag, needs_recovery, read_segment, session_bags
from hiwm_core.bags.contents import mcap_path
from hiwm_core.embodiment import load_embodiment
from hiwm_core.frames import Observation, ObservationAssembler
from hiwm_core.ros_domains import domain_id
from hiwm_nodes import qos
from hiwm_recording import audit, recover
from hiwm_recording.recorder_node import Recorder
from hiwm_test_support.nodes import NodeProcess, spin_until

# Hang guards, not measurements: on a loaded machine a node takes half a minute to start.
GUARD_S = 180.0
pytestmark = [pytest.mark.nodes, pytest.mark.timeout(400)]


class Recorded:
    """A domain with a recorder, and worlds to record."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.domain = folder, domain_id()

    def recorder(self, **parameters: object) -> NodeProcess:
        return NodeProcess(
            "hiwm_recording", "recorder", domain=self.domain, namespace="hiwm",
            parameters={
                "session_dir": str(self.folder), "robot": "standin", "flush_period_s": 0.2,
                "min_free_mb": 0, **parameters,
            },
        )

    @contextmanager
    def world(self, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        environment = {
            **os.environ, "ROS_DOMAIN_ID": str(self.domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "hiwm_test_support.sample_world", *map(str, arguments)],
            env=environment, stdout=subprocess.PIPE, text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def listener(self) -> Iterator[tuple[Node, SingleThreadedExecutor]]:
        context = rclpy.Context()
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        rclpy.init(context=context, domain_id=self.domain)
        node = rclpy.create_node("listener", namespace="hiwm", context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            yield node, executor
        finally:
            executor.shutdown()
            node.destroy_node()
            rclpy.shutdown(context=context)

    def bags(self) -> list[Path]:
        return session_bags(self.folder)


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path / "session")


def test_arrays_of_the_live_graph_and_of_the_bag_are_the_same_bytes(recorded: Recorded) -> None:
    ticks = 60
    assembler = ObservationAssembler(load_embodiment("planar_bimanual"))
    live: dict[tuple[int, int], Observation] = {}

    def keep(observation: Observation | None) -> None:
        if observation is not None:
            live[observation.epoch, observation.step] = observation

    def on(add: Callable[..., Observation | None]) -> Callable[[object], None]:
        return lambda message: keep(add(message))

    with recorded.listener() as (node, executor), recorded.recorder() as recorder:
        deep = qos.TICK
        node.create_subscription(
            Image, "cameras/top/image_raw", on(lambda m: assembler.add_image("top", m)), deep
        )
        node.create_subscription(JointState, "joint_states", on(assembler.add_joint_state), deep)
        node.create_subscription(Tick, "tick", on(assembler.add_tick), deep)
        with recorded.world(
            "--ticks", ticks, "--rate", 20, "--fork-every", 25, "--listeners", 2
        ) as world:
            assert spin_until(executor, lambda: world.poll() is not None, GUARD_S)
        recorder.interrupt()
        assert recorder.wait(GUARD_S) == 0
    compared = 0
    for bag in recorded.bags():
        segment = read_segment(bag)
        for t, step in enumerate(segment.steps.tolist()):
            observation = live.get((segment.epoch, step))
            if observation is None:  # came before this test had subscribed
                continue
            compared += 1
            assert segment.observations["top"][t].tobytes() == observation.images["top"].tobytes()
            assert segment.proprio[t].tobytes() == observation.proprio.tobytes()
            assert segment.stamps_ns[t] == observation.stamp_ns
            if t:
                applied = observation.applied_action.astype(np.float32)
                assert segment.actions[t - 1].tobytes() == applied.tobytes()
    assert compared >= ticks // 2


def test_every_segment_becomes_an_audited_bag_that_others_can_read(recorded: Recorded) -> None:
    reports: list[SegmentReport] = []
    with recorded.recorder() as recorder:
        with recorded.listener() as (node, executor):
            node.create_subscription(
                SegmentReport, "recording/segment", reports.append, qos.HISTORY
            )
            with recorded.world("--ticks", 50, "--rate", 50, "--fork-every", 20) as world:
                assert spin_until(executor, lambda: world.poll() is not None, GUARD_S)
            assert spin_until(executor, lambda: len(reports) >= 2, GUARD_S)
        recorder.interrupt()
        assert recorder.wait(GUARD_S) == 0
    bags = recorded.bags()
    assert [bag.name for bag in bags] == [
        "ep_0001-b000_e0001", "ep_0001-b001_e0002", "ep_0001-b002_e0003",
    ]
    assert [report.path for report in reports[:2]] == [f"bags/{bag.name}" for bag in bags[:2]]
    assert all(report.ok for report in reports), [report.problems for report in reports]
    assert audit.main([str(recorded.folder)]) == 0
    second = read_segment(bags[1])
    assert (second.lineage.parent_branch_id, second.lineage.fork_step) == ("ep_0001-b000", 17)
    assert second.steps.tolist() == list(range(18, 38))
    assert second.labels is not None
    assert second.labels.column("object_x_m").tolist() == second.steps.tolist()
    for bag in bags:
        with mcap_path(bag).open("rb") as stream:
            reader = make_reader(stream, decoder_factories=[DecoderFactory()])
            ticks = [
                ros for _, channel, _, ros in reader.iter_decoded_messages()
                if channel.topic == "/hiwm/tick"
            ]
        assert {tick.branch_id for tick in ticks} == {bag.name.rpartition("_e")[0]}


def test_a_bag_that_fails_its_audit_is_reported_and_the_next_one_is_recorded(
    recorded: Recorded,
) -> None:
    reports: list[SegmentReport] = []
    with recorded.recorder() as recorder:
        with recorded.listener() as (node, executor):
            node.create_subscription(
                SegmentReport, "recording/segment", reports.append, qos.HISTORY
            )
            with recorded.world(
                "--ticks", 60, "--rate", 30, "--fork-every", 20, "--lose-image", 30
            ) as world:
                assert spin_until(executor, lambda: world.poll() is not None, GUARD_S)
            assert spin_until(executor, lambda: len(reports) >= 2, GUARD_S)
        recorder.interrupt()
        assert recorder.wait(GUARD_S) == 0
        assert "audit failed: ticks without an image of camera top: step 28" in recorder.output
    assert [audit_bag(bag).ok for bag in recorded.bags()] == [True, False, True]
    assert [report.ok for report in reports[:2]] == [True, False]
    assert reports[1].problems == ["ticks without an image of camera top: step 28"]
    assert audit.main([str(recorded.folder)]) == 1


def test_closing_waits_for_the_rest_of_the_last_tick() -> None:
    """A world that is interrupted at the same time has sent its tick; the image is on its way."""
    recorder: Any = object.__new__(Recorder)
    calls = []
    recorder._session = Mock(awaits_observation=True)
    recorder._session.close_all.side_effect = lambda: calls.append("closed")
    recorder._finisher, recorder._finish_closed = Mock(), Mock()
    recorder._publish_finished = Mock()

    def receive(_arrived: list[Any]) -> None:
        calls.append("received")
        recorder._session.awaits_observation = len(calls) < 3

    recorder._receive = receive
    Recorder.close(recorder)
    assert calls == ["received"] * 3 + ["closed"]


def test_a_killed_recorder_loses_at_most_its_last_flush(recorded: Recorded) -> None:
    with recorded.recorder() as recorder, recorded.world("--ticks", 10_000, "--rate", 50) as world:
        assert world.stdout is not None
        assert "start" in world.stdout.readline()
        # Let it flush a few times. A kill may lose at most what it holds then.
        file = recorded.folder / "bags" / "ep_0001-b000_e0001" / "ep_0001-b000_e0001.mcap"
        grown = threading.Event()
        while not grown.wait(0.05):
            if file.exists() and file.stat().st_size > 40 * 96 * 96 * 3:
                grown.set()
        recorder.kill9()
        size = file.stat().st_size
    (bag,) = recorded.bags()
    assert needs_recovery(bag)
    assert recover.main([str(recorded.folder)]) == 0
    audited = audit_bag(bag)
    assert audited.ok, audited.problems
    # All that had reached the file, image by image, is in the recovered bag.
    assert audited.frames >= 40
    assert (bag / f"{file.name}.original").stat().st_size == size
    assert read_segment(bag).length == audited.ticks - audited.incomplete_at_start - (
        audited.incomplete_at_end
    )


def test_a_restarted_recorder_recovers_what_the_killed_one_left(recorded: Recorded) -> None:
    with recorded.world("--ticks", 10_000, "--rate", 50):
        with recorded.recorder() as recorder:
            while not any(
                path.stat().st_size > 500_000
                for path in recorded.folder.glob("bags/*/*.mcap")
            ):
                threading.Event().wait(0.05)
            recorder.kill9()
        with recorded.recorder() as recorder:
            while not list(recorded.folder.glob("bags/*_p2/*.mcap")):
                assert recorder.process.poll() is None, recorder.output
                threading.Event().wait(0.05)
            threading.Event().wait(1.0)
            recorder.process.terminate()
            assert recorder.wait(GUARD_S) == 0
            assert "was never closed; recovering it" in recorder.output
    first, second = recorded.bags()
    assert audit_bag(first).recovered
    for bag in (first, second):
        assert audit_bag(bag).ok, audit_bag(bag).problems


def test_a_restarted_recorder_audits_what_the_killed_one_closed(recorded: Recorded) -> None:
    with recorded.recorder() as recorder:
        with recorded.world("--ticks", 20, "--rate", 50) as world:
            world.wait(GUARD_S)
        recorder.interrupt()
        assert recorder.wait(GUARD_S) == 0
    (bag,) = recorded.bags()
    (bag / AUDIT_FILE).unlink()
    with recorded.recorder() as recorder:
        while not (bag / AUDIT_FILE).exists():
            assert recorder.process.poll() is None, recorder.output
            threading.Event().wait(0.05)
        recorder.interrupt()
        assert recorder.wait(GUARD_S) == 0
    audited = audit_bag(bag)
    assert audited.ok and not audited.recovered, audited.problems


def test_recover_names_the_bag_that_it_cannot_recover(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = recorded.folder / "bags" / "ep_0009-b000_e0009"
    empty.mkdir(parents=True)
    (empty / "ep_0009-b000_e0009.mcap").write_bytes(b"no bag")
    assert recover.main([str(recorded.folder)]) == 1
    printed = capsys.readouterr().out
    assert f"BAD {empty.name}: " in printed and "1 bags needed recovery, 0 recovered" in printed


def test_a_live_session_is_left_to_its_recorder(
    recorded: Recorded, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorded.recorder() as recorder, recorded.world("--ticks", 10_000, "--rate", 50):
        while not any(
            path.stat().st_size > 500_000 for path in recorded.folder.glob("bags/*/*.mcap")
        ):
            assert recorder.process.poll() is None, recorder.output
            threading.Event().wait(0.05)
        [bag] = recorded.bags()
        monkeypatch.setenv("HIWM_LAUNCH_ID", "another")
        with recorded.recorder() as second:
            assert second.wait(GUARD_S) == 1
            owner = f"being recorded by pid {recorder.process.pid} on "
            assert owner in second.output and "Traceback" not in second.output
        assert recover.main([str(recorded.folder)]) == 1
        assert owner in capsys.readouterr().err
        assert audit.main([str(recorded.folder)]) == 0
        assert "1 bags, 0 bad, 1 being recorded" in (printed := capsys.readouterr().out)
        assert f"--  {bag.name}: {owner}" in printed
        recorder.interrupt()
        assert recorder.wait(GUARD_S) == 0
    # Nothing changed the bag that was being written.
    assert [path.name for path in bag.iterdir() if "original" in path.name] == []
    audited = audit_bag(bag)
    assert audited.ok and not audited.recovered and audited.ticks > 10


def test_the_close_service_closes_the_open_bag(recorded: Recorded) -> None:
    with recorded.recorder(), recorded.listener() as (node, executor):
        with recorded.world("--ticks", 20, "--rate", 50) as world:
            assert spin_until(executor, lambda: world.poll() is not None, GUARD_S)
        client = node.create_client(Trigger, "recording/close")
        assert spin_until(executor, client.service_is_ready, GUARD_S)
        answer = client.call_async(Trigger.Request())
        assert spin_until(executor, answer.done, GUARD_S)
        assert answer.result().success
        assert answer.result().message == "1 bags closed and audited"
        (bag,) = recorded.bags()
        assert audit_bag(bag).ok


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_recording_not_the_recorder(small_disk: Path) -> None:
    recorded = Recorded(small_disk / "session")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(6 << 20))
    with recorded.recorder() as recorder, recorded.world("--ticks", 10_000, "--rate", 50):
        while "free some space" not in recorder.output:
            assert recorder.process.poll() is None, recorder.output
            threading.Event().wait(0.1)
        ballast.unlink()
        first = small_disk / "session" / "bags" / "ep_0001-b000_e0001"
        assert needs_recovery(first)
        # With free space again it records on, and recovers the bag that was cut off.
        while needs_recovery(first) or len(recorded.bags()) < 2:
            assert recorder.process.poll() is None, recorder.output
            threading.Event().wait(0.1)
        recorder.interrupt()
        assert recorder.wait(GUARD_S) == 0
        errors = [line for line in recorder.output.splitlines() if "[ERROR]" in line]
    assert "the disk is full" in errors[0]
    assert "free some space, and it resumes by itself" in errors[0]
    audited = audit_bag(first)
    assert audited.ok and audited.recovered, audited.problems


def test_a_recorder_without_a_folder_says_so_in_one_line(recorded: Recorded) -> None:
    with recorded.recorder(session_dir="") as recorder:
        assert recorder.wait(GUARD_S) == 1
        (line,) = [text for text in recorder.output.splitlines() if text.strip()]
    assert line.startswith("error: no session_dir")
