"""The imagination node in its own process, over DDS, with an untrained model that renders."""

import contextlib
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from hiwm_interfaces.msg import Command, Tick, WorldInfo
from hiwm_interfaces.srv import Reset, RestoreState, SaveState, SetRate
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, JointState

from hiwm_core.bags import read_segment
from hiwm_core.blob_store import BlobStore
from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.ros_domains import domain_id
from hiwm_core.session_lineage import session_heads
from hiwm_core.stamps import stamp_ns
from hiwm_core.tasks import load_task
from hiwm_nodes import qos
from hiwm_test_support.bags import robot_bag
from hiwm_test_support.latent_worlds import write_untrained_checkpoint
from hiwm_test_support.layered_worlds import write_drawn_checkpoint
from hiwm_test_support.nodes import NodeProcess, spin_until

# Starting a process that loads torch takes long on a busy machine: a hang guard, not a measurement.
pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]
GUARD_S = 300.0

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)
HOME = np.array(EMBODIMENT.home)


class Listener:
    """A node that keeps every observation it receives, matched by stamp."""

    def __init__(self, context: Any, executor: SingleThreadedExecutor, name: str) -> None:
        self.node = rclpy.create_node(name, context=context)
        executor.add_node(self.node)
        self.images: dict[int, bytes] = {}
        self.joints: dict[int, bytes] = {}
        self.ticks: dict[int, Tick] = {}  # by stamp: a repeated tick counts once
        camera = EMBODIMENT.cameras[0].name
        self.node.create_subscription(
            Image, f"cameras/{camera}/image_raw", self._on_image, qos.TICK
        )
        self.node.create_subscription(JointState, "joint_states", self._on_joints, qos.TICK)
        self.node.create_subscription(Tick, "tick", self._on_tick, qos.TICK)

    def _on_image(self, message: Image) -> None:
        self.images[stamp_ns(message.header.stamp)] = bytes(message.data)

    def _on_joints(self, message: JointState) -> None:
        self.joints[stamp_ns(message.header.stamp)] = np.array(message.position).tobytes()

    def _on_tick(self, message: Tick) -> None:
        self.ticks[stamp_ns(message.header.stamp)] = message

    def complete(self) -> list[int]:
        """Return the stamps of complete observations, oldest first."""
        return sorted(self.ticks.keys() & self.images.keys() & self.joints.keys())

    def content(self, stamp: int) -> tuple[bytes, bytes, str]:
        return self.images[stamp], self.joints[stamp], self.ticks[stamp].state_id


class Session:
    """An imagination process and a client that drives it."""

    def __init__(self, checkpoint: Path, session_dir: Path, **parameters: Any) -> None:
        self.domain = domain_id()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.seen = Listener(self.context, self.executor, "person")
        node = self.seen.node
        self.infos: list[WorldInfo] = []
        self.values: dict[str, str] = {}
        node.create_subscription(WorldInfo, "world_info", self.infos.append, qos.LATCHED)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.command = node.create_publisher(Command, "command", qos.COMMAND)
        self._clients = {
            kind: node.create_client(kind, f"world/{name}")
            for kind, name in (
                (Reset, "reset"), (SaveState, "save_state"), (RestoreState, "restore_state"),
                (SetRate, "set_rate"),
            )
        }
        self.parameters = {
            "checkpoint": str(checkpoint), "session_dir": str(session_dir), "rate": 0.0,
            "live_ns": "nobody", "live_timeout_s": 0.2,
            **parameters,
        }
        self.world: NodeProcess
        self.start()

    def start(self) -> None:
        known = len(self.seen.complete())
        self.world = NodeProcess(
            "hiwm_world", "imagination", domain=self.domain, parameters=self.parameters
        )
        self.until(
            lambda: len(self.seen.complete()) > known and self.command.get_subscription_count() == 1
            and self.world.process.poll() is None
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.values = {pair.key: pair.value for pair in message.status[0].values}
        self.values["message"] = message.status[0].message

    def until(self, predicate: Callable[[], bool]) -> None:
        assert spin_until(self.executor, predicate, GUARD_S), self.world.output

    def call(self, request: Any) -> Any:
        client = next(c for kind, c in self._clients.items() if isinstance(request, kind.Request))
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        return future.result()

    @property
    def stamp(self) -> int:
        return self.seen.complete()[-1]

    @property
    def tick(self) -> Tick:
        return self.seen.ticks[self.stamp]

    def give(
        self, action: np.ndarray | list[float], *, epoch: int | None = None, step: int | None = None
    ) -> None:
        now = self.tick
        self.command.publish(
            Command(
                epoch=now.epoch if epoch is None else epoch,
                step=now.step if step is None else step, source=Command.SOURCE_HUMAN,
                device="test", action=[float(value) for value in action],
            )
        )

    def step(self, action: np.ndarray | list[float]) -> int:
        """Give a command and return the stamp of the observation it led to."""
        epoch, step = self.tick.epoch, self.tick.step
        self.give(action)
        self.until(lambda: (self.tick.epoch, self.tick.step) == (epoch, step + 1))
        return self.stamp

    def restore(self, state_id: str, branch_id: str) -> int:
        answer = self.call(RestoreState.Request(state_id=state_id, branch_id=branch_id))
        assert answer.ok, answer.message
        self.until(lambda: self.tick.epoch == answer.epoch)
        return self.stamp

    def close(self) -> None:
        self.world.__exit__(None, None, None)
        self.seen.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawn_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def session(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """One process for all tests that do not break it; each test starts with a reset."""
    session = Session(checkpoint, tmp_path_factory.mktemp("session"))
    yield session
    session.close()


@pytest.fixture
def fresh(session: Session) -> Session:
    answer = session.call(Reset.Request(start="a", seed=-1))
    session.until(lambda: session.tick.epoch == answer.epoch)
    return session


def actions(count: int, seed: int) -> np.ndarray:
    return HOME + np.random.default_rng(seed).normal(0, 0.01, (count, len(HOME))).cumsum(0)


def test_one_command_makes_one_step_and_no_command_none(fresh: Session) -> None:
    epoch = fresh.tick.epoch
    for action in actions(3, 1):
        fresh.step(action)
    spin_until(fresh.executor, lambda: False, 1.0)
    steps = [tick.step for tick in fresh.seen.ticks.values() if tick.epoch == epoch]
    assert sorted(steps) == [0, 1, 2, 3]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bag of a robot, five steps."""
    return robot_bag(tmp_path_factory.mktemp("robot"), 5)


def test_an_episode_starts_at_a_step_of_a_bag_or_the_world_says_why_not(
    fresh: Session, bag: Path
) -> None:
    answer = fresh.call(Reset.Request(start=f"bag:{bag}@3", seed=-1))
    assert answer.ok, answer.message
    fresh.until(lambda: fresh.tick.epoch == answer.epoch)
    assert fresh.tick.step == 0
    assert fresh.tick.started_from == (
        f"bag:{bag}@3 (session session, ep_0001-b000:3 on standin (stand-in))"
    )
    segment = read_segment(bag)
    joints = np.frombuffer(fresh.seen.joints[fresh.stamp])
    assert np.allclose(np.sort(joints), np.sort(segment.proprio[3]), atol=1e-6)
    fresh.step(HOME)
    before = fresh.tick
    for start, reason in (
        (f"bag:{bag}@9", "steps 0 to 4"), (f"bag:{bag}", "bag:PATH@STEP"),
        ("live", "no robot bridge"), (f"session:{bag}@b:1", "no branch tree"),
    ):
        refused = fresh.call(Reset.Request(start=start, seed=-1))
        assert not refused.ok and reason in refused.message
    assert fresh.tick == before


def test_a_latent_checkpoint_works_too(tmp_path: Path, bag: Path) -> None:
    path = write_untrained_checkpoint(tmp_path, heads=("trust",))
    session = Session(path, tmp_path / "session", start=f"bag:{bag}@2")
    try:
        first = session.tick
        assert first.started_from.startswith(f"bag:{bag}@2")
        expected = session.seen.content(session.step(HOME + 0.001))[0]
        session.restore(first.state_id, "ep_0001-b001")
        assert session.tick.epoch == first.epoch + 1
        assert session.seen.content(session.step(HOME + 0.001))[0] == expected
        assert session.tick.trust < 1.0
        # Untrained heads report nothing.
        assert session.infos[-1].heads == ["trust"]
        assert np.isnan([session.tick.success, session.tick.progress]).all()
        assert session_heads(tmp_path / "session") == ("trust",)
    finally:
        session.close()


def test_the_tick_reports_the_applied_action_and_its_source(fresh: Session) -> None:
    first = fresh.tick
    assert list(first.applied_action) == []
    fresh.step(HOME + 0.001)
    assert fresh.tick.applied_source == Command.SOURCE_HUMAN
    assert fresh.tick.applied_device == "test"
    assert np.allclose(fresh.tick.applied_action, HOME + 0.001, atol=2e-3)
    assert stamp_ns(fresh.tick.header.stamp) > stamp_ns(first.header.stamp)
    assert fresh.tick.state_id not in ("", first.state_id)


def test_commands_of_other_epochs_and_steps_are_dropped(fresh: Session) -> None:
    fresh.step(HOME)
    epoch, step = fresh.tick.epoch, fresh.tick.step
    fresh.until(lambda: "commands_dropped" in fresh.values)
    before = int(fresh.values["commands_dropped"])
    wrong = [(epoch - 1, step), (epoch, step - 1), (epoch, step + 1), (epoch + 1, step)]
    for number, (bad_epoch, bad_step) in enumerate(wrong):
        fresh.give(HOME + 0.1, epoch=bad_epoch, step=bad_step)
        fresh.until(lambda n=number: int(fresh.values["commands_dropped"]) == before + n + 1)
    assert (fresh.tick.epoch, fresh.tick.step) == (epoch, step)
    fresh.step(HOME)
    assert np.allclose(fresh.tick.applied_action, HOME, atol=2e-3)


@pytest.mark.parametrize(
    "action", [[float("nan"), 0.0, 0.0, 0.0], [0.1, 0.2], []], ids=["nan", "short", "empty"]
)
def test_an_invalid_action_holds_and_is_counted(fresh: Session, action: list[float]) -> None:
    fresh.until(lambda: "actions_held" in fresh.values)
    before = int(fresh.values["actions_held"])
    standing = np.frombuffer(fresh.seen.joints[fresh.stamp])
    fresh.step(action)
    assert np.array_equal(np.array(fresh.tick.applied_action), standing)
    fresh.until(lambda: int(fresh.values["actions_held"]) == before + 1)
    fresh.until(lambda: fresh.values["message"].startswith("action of "))
    fresh.step(HOME)
    fresh.until(lambda: fresh.values["message"] == "running")


def test_every_restored_state_replays_byte_for_byte(fresh: Session) -> None:
    plan = actions(8, 2)
    stamps = [fresh.stamp] + [fresh.step(action) for action in plan]
    expected = [fresh.seen.content(stamp) for stamp in stamps]
    for number, back in enumerate((0, 3, 7)):
        epoch = fresh.tick.epoch
        branch = f"{fresh.tick.episode_id}-b{number + 1:03d}"
        stamp = fresh.restore(expected[back][2], branch)
        tick = fresh.tick
        assert (tick.epoch, tick.step, tick.branch_id) == (epoch + 1, back, branch)
        assert list(tick.applied_action) == []
        again = [fresh.seen.content(stamp)]
        again += [fresh.seen.content(fresh.step(action)) for action in plan[back:]]
        assert again == expected[back:]


def test_an_unknown_state_is_refused_and_nothing_changes(fresh: Session) -> None:
    before = fresh.tick
    answer = fresh.call(RestoreState.Request(state_id="0" * 32, branch_id="x"))
    assert not answer.ok
    assert "0" * 32 in answer.message
    assert fresh.tick == before
    fresh.step(HOME)


def test_a_reset_takes_a_name_a_pose_or_a_seed(fresh: Session) -> None:
    def reset(**request: Any) -> tuple[bytes, bytes, str]:
        answer = fresh.call(Reset.Request(**{"seed": -1, **request}))
        assert answer.ok, answer.message
        fresh.until(lambda: fresh.tick.epoch == answer.epoch)
        assert (fresh.tick.episode_id, fresh.tick.step) == (answer.episode_id, 0)
        return fresh.seen.content(fresh.stamp)

    names = list(fresh.infos[-1].start_names)
    first, second, third = (reset(start=name)[0] for name in "abc")
    assert len({first, second, third}) == 3
    assert reset(start_names=names, start_values=[0.05, -0.05, 2.1])[0] == second
    assert reset(seed=7)[0] == reset(seed=7)[0]
    unknown = fresh.call(Reset.Request(start="z", seed=-1))
    assert not unknown.ok and "'z'" in unknown.message
    bad = fresh.call(Reset.Request(
        start_names=names, start_values=[0.0, float("nan"), 0.0], seed=-1
    ))
    assert not bad.ok and "object_y_m" in bad.message
    placed = fresh.call(Reset.Request(by_hand=True, seed=-1))
    assert not placed.ok and "imagined" in placed.message


def test_the_rate_paces_ticks_and_is_published_again(fresh: Session) -> None:
    answer = fresh.call(SetRate.Request(rate=20.0))
    assert (answer.ok, answer.rate) == (True, 20.0)
    fresh.until(lambda: fresh.infos[-1].rate == 20.0)
    stamps = [fresh.step(HOME) for _ in range(6)]
    refused = fresh.call(SetRate.Request(rate=-1.0))
    assert not refused.ok and refused.rate == 20.0 and "rate" in refused.message
    fresh.call(SetRate.Request(rate=0.0))
    # A lower bound: a busy machine only makes intervals longer.
    assert np.diff(stamps).min() > 0.95 * 50e6


def test_a_late_joiner_gets_the_waiting_tick(fresh: Session) -> None:
    fresh.step(HOME)
    late = Listener(fresh.context, fresh.executor, "late")
    try:
        fresh.until(lambda: bool(late.complete()))
        assert late.content(late.complete()[-1]) == fresh.seen.content(fresh.stamp)
        assert late.complete()[-1] == fresh.stamp
    finally:
        fresh.executor.remove_node(late.node)
        late.node.destroy_node()


def test_a_saved_state_is_pinned_and_small(fresh: Session) -> None:
    fresh.step(HOME)
    answer = fresh.call(SaveState.Request(note="here"))
    assert answer.ok and answer.state_id == fresh.tick.state_id
    store = BlobStore(Path(str(fresh.parameters["session_dir"])) / "states")
    assert store.pins()[answer.state_id] == "here"
    assert store.state_size(answer.state_id) < 200_000


def test_the_world_describes_itself(fresh: Session) -> None:
    info = fresh.infos[-1]
    assert (info.kind, info.lockstep, info.can_restore, info.can_fork) == (
        "imagination", True, True, True
    )
    assert info.embodiment_hash == EMBODIMENT.hash
    assert info.task_yaml == load_task(default_task()).text
    assert len(info.checkpoint_hash) == 64


def test_a_full_disk_keeps_the_present_tick_until_there_is_space(
    checkpoint: Path, tmp_path: Path
) -> None:
    session = Session(checkpoint, tmp_path / "session")
    try:
        session.step(HOME)
        before = session.tick
        pack = next((tmp_path / "session" / "states").glob("*.pack"))
        limits = resource.prlimit(session.world.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(
            session.world.process.pid, resource.RLIMIT_FSIZE, (pack.stat().st_size + 100, limits[1])
        )
        session.give(HOME + 0.004)
        session.until(lambda: "cannot be saved" in session.values.get("message", ""))
        assert session.tick == before
        assert session.call(SetRate.Request(rate=0.0)).ok  # it still responds
        resource.prlimit(session.world.process.pid, resource.RLIMIT_FSIZE, limits)
        session.until(lambda: session.tick.step == before.step + 1)
        assert BlobStore(tmp_path / "session" / "states").has_state(session.tick.state_id)
        assert BlobStore(tmp_path / "session" / "states").has_state(before.state_id)
    finally:
        session.close()


def test_a_killed_world_continues_its_session(checkpoint: Path, tmp_path: Path) -> None:
    session = Session(checkpoint, tmp_path / "session")
    try:
        plan = actions(4, 3)
        expected = [session.seen.content(session.stamp)]
        expected += [session.seen.content(session.step(action)) for action in plan]
        old = session.tick
        session.world.kill9()
        session.start()
        session.until(lambda: session.tick.episode_id != old.episode_id)
        assert session.tick.epoch > old.epoch
        assert session.tick.episode_id == "ep_0002"
        again = [session.seen.content(session.restore(expected[1][2], "ep_0001-b001"))]
        again += [session.seen.content(session.step(action)) for action in plan[1:]]
        assert again == expected[1:]
    finally:
        session.close()


@contextlib.contextmanager
def refused(parameters: dict[str, Any]) -> Iterator[str]:
    """Yield the one line that a world prints before it exits."""
    with NodeProcess(
        "hiwm_world", "imagination", domain=domain_id(), parameters=parameters
    ) as world:
        assert world.wait(GUARD_S) == 1, world.output
        lines = [line for line in world.output.splitlines() if line.strip()]
        assert len(lines) == 1, world.output
        yield lines[0]


def test_a_missing_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    path = str(tmp_path / "none.safetensors")
    with refused({"checkpoint": path}) as line:
        assert line.startswith("error: ") and path in line


def test_a_checkpoint_of_another_embodiment_is_refused_with_both_named(tmp_path: Path) -> None:
    path = write_drawn_checkpoint(tmp_path, embodiment_hash="f" * 64)
    with refused({"checkpoint": str(path)}) as line:
        assert "f" * 64 in line and EMBODIMENT.hash in line
