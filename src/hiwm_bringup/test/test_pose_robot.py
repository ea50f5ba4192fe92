"""A robot that is moved and measured by poses, with two cameras, from its drivers to imagination.

Its actions are a tool with a 6D rotation, a tool with a yaw, and a gripper. The test is the policy,
the person at the device, and the person who labels. Everything else is the real thing on DDS,
above modelled drivers.
"""

import array
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from hiwm_interfaces.msg import Command, ControlState, OperatorCommand, PolicyPlan, Tick
from hiwm_interfaces.srv import ControlRequest
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.bags import Segment, audit_bag, read_segment
from hiwm_core.branch_records import TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.control import Source
from hiwm_core.ros_domains import domain_id
from hiwm_core.rotations import matrix_from_6d, sixd_from_matrix
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.datasets import load_episodes
from hiwm_learning.datasets.build import build_dataset
from hiwm_learning.datasets.usable_segments import find_bags
from hiwm_learning.world_models import train as world_model_train
from hiwm_nodes import qos
from hiwm_test_support import tool_pair
from hiwm_test_support.drivers.cell import GUARD_S, STILL, Cell
from hiwm_test_support.drivers.node import Traits
from hiwm_test_support.nodes import NodeProcess, spin_until

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]

ROBOT = tool_pair.tool_pair()
HOME = np.array(ROBOT.home)
TURN = ROBOT.group("left").rotation_slice
HEIGHT = [entry.name for entry in ROBOT.actions].index("left_z")
LOW = HOME.copy()
LOW[HEIGHT] = 0.0  # inside the limits, and below the table
SIZES = {"front": (48, 64, 3), "wrist": (40, 40, 3)}
ANSWER_S = 0.5  # between two answers to a tick that the world has not taken a step from


class People:
    """The policy and the person at the device: each answers every tick, or is silent."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.plan: np.ndarray | None = None
        self.hand: np.ndarray | None = None  # while the deadman is held
        self.states: list[ControlState] = []
        self._held = False
        node = cell.node
        self._plans = node.create_publisher(PolicyPlan, "policy/plan", qos.TICK)
        self._hands = node.create_publisher(OperatorCommand, "operator/command", qos.TICK)
        node.create_subscription(Tick, "tick", self._on_tick, qos.TICK)
        node.create_subscription(ControlState, "control_state", self.states.append, qos.LATCHED)

    def _on_tick(self, tick: Tick) -> None:
        if self.plan is not None:
            self._plans.publish(PolicyPlan(
                epoch=tick.epoch, step=tick.step, horizon=4, execute_horizon=2,
                action_dim=ROBOT.action_dim, actions=array.array("d", np.tile(self.plan, 4)),
                policy="test 12345678",
            ))
        if self.hand is not None or self._held:
            self._held = self.hand is not None
            target = [] if self.hand is None else self.hand
            self._hands.publish(OperatorCommand(
                epoch=tick.epoch, step=tick.step, device="test", deadman=self._held,
                action=array.array("d", target),
            ))

    def wait_mode(self, mode: int) -> None:
        self.cell.until(lambda: bool(self.states) and self.states[-1].mode == mode, f"mode {mode}")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a session with takeover, handback, a refused target and a pause; yield its folder."""
    folder = tmp_path_factory.mktemp("pose_robot")
    tool_pair.write_configs(folder / "config")
    patch = pytest.MonkeyPatch()
    patch.setenv("HIWM_CONFIG_DIR", str(folder / "config"))
    session = folder / "session"
    session.mkdir()
    with ExitStack() as stack:
        run_session(stack, folder, session)
    yield session
    patch.undo()


def run_session(stack: ExitStack, folder: Path, session: Path) -> None:
    cell = Cell(
        stack, tool_pair.NAME, folder, Traits(), autostart=False, session_dir=str(session)
    )
    common: dict[str, Any] = {"domain": cell.domain, "namespace": "cell"}
    stack.enter_context(NodeProcess("hiwm_control", "arbiter", parameters={
        "start_mode": "policy", "handback_ticks": 4, "operator_timeout_s": 5.0,
    }, **common))
    recorder = stack.enter_context(NodeProcess("hiwm_recording", "recorder", parameters={
        "task": tool_pair.NAME, "session_dir": str(session),
    }, **common))
    people = People(cell)
    # The listeners of this process, the arbiter and the recorder.
    cell.until(lambda: cell.node.count_subscribers("/cell/tick") >= 4, "arbiter and recorder")
    cell.until(lambda: cell.transition("configure"), "configuration")
    people.plan = cell.away
    cell.until(lambda: cell.transition("activate"), "activation")

    cell.until(lambda: cell.near(cell.away), "the policy's way, with a turn of both tools")
    cell.assert_smooth()
    people.hand = cell.home
    people.wait_mode(ControlState.HUMAN)
    cell.until(lambda: cell.near(cell.home), "the person's way home")
    people.hand = None
    people.wait_mode(ControlState.HANDBACK)
    people.wait_mode(ControlState.POLICY)
    cell.until(lambda: cell.near(cell.away), "the policy's way after the handback")
    cell.assert_smooth()

    skewed = cell.away.copy()
    skewed[TURN] = 2.0 * skewed[TURN] + 0.05
    people.plan = skewed
    cell.more_ticks(6)
    people.plan = LOW
    cell.until(lambda: "left tool0 would be" in cell.status[1], "the reason of the hold")
    assert cell.drivers.body.poses["left"][0][2] > tool_pair.TABLE_Z_M
    people.plan = cell.away
    cell.until(lambda: cell.near(cell.away), "the way back from the table")

    ask = ControlRequest.Request(request=ControlRequest.Request.PAUSE, reason="test")
    assert cell.call(ControlRequest, "control/request", ask).ok
    cell.more_ticks(4)
    cell.assert_still(lambda: cell.more_ticks(4))
    cell.assert_smooth()
    assert cell.transition("deactivate")
    recorder.interrupt()
    assert recorder.wait(GUARD_S) == 0, recorder.output


@pytest.fixture(scope="module")
def segment(recording: Path) -> Segment:
    (bag,) = find_bags([recording])
    assert audit_bag(bag).ok
    return read_segment(bag, ROBOT)


def test_the_bag_has_both_cameras_and_what_poses_measured(segment: Segment) -> None:
    assert {name: frames.shape[1:] for name, frames in segment.observations.items()} == SIZES
    assert {Source.POLICY, Source.HUMAN, Source.HANDBACK, Source.NONE} <= set(segment.source)
    known = ~np.isnan(segment.actions).any(axis=1)
    for values in (segment.measured, segment.actions[known]):
        for row in values[:, TURN]:
            np.testing.assert_allclose(
                sixd_from_matrix(matrix_from_6d(row)), row, atol=1e-5
            )
    # An arm that follows is where it was sent, less its lag.
    deltas = ActionDeltas(ROBOT)
    apart = [
        np.abs(deltas.between(here, sent)).max()
        for here, sent in zip(segment.measured[known], segment.actions[known], strict=True)
    ]
    assert max(apart) < 0.6  # two ticks of the gripper, the fastest entry
    np.testing.assert_allclose(segment.measured[0], HOME, atol=STILL)
    assert segment.measured[:, HEIGHT].min() > tool_pair.TABLE_Z_M


def test_a_data_set_has_the_same_numbers(recording: Path, segment: Segment) -> None:
    output = recording.parent / "set.zarr"
    assert build_dataset([recording], output, write=lambda line: None) == []
    episodes = load_episodes(output)
    assert {name: frames.shape[1:] for name, frames in episodes.images.items()} == SIZES
    np.testing.assert_array_equal(episodes.actions, segment.actions)
    np.testing.assert_array_equal(episodes.proprio, segment.proprio)


def train_world(recording: Path, segment: Segment) -> Path:
    """Train a world model for two steps on ten labelled sessions with this recording."""
    data = recording.parent / "data"
    for number in range(10):
        session = data / f"session{number}"
        shutil.copytree(segment.path, session / "bags" / segment.path.name)
        store = BranchStore(session / "tree.sqlite")
        store.add_tick(TickRecord(
            stamp_ns=1, epoch=1, step=0, episode_id=segment.lineage.episode_id,
            branch_id=segment.lineage.branch_id,
        ))
        store.label(segment.lineage.branch_id, ("failure", "success")[number % 2], who="anna")
        store.close()
    path = recording.parent / "world.safetensors"
    options = (
        "--network tiny --steps 2 --joint-steps 2 --robot-steps 2 --pool 4 "
        "--robot-batch 4 --hand-steps 2 --grip-steps 2 --filling-steps 2 --head-steps 2 "
        f"--task {tool_pair.NAME}"
    )
    assert world_model_train.main(
        [str(data), "-o", str(path), "--family", "latent", *options.split()]
    ) == 0
    return path


class Dream:
    """An imagined world, and a client in place of the arbiter."""

    def __init__(self, stack: ExitStack, checkpoint: Path) -> None:
        domain = domain_id()
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        stack.callback(context.try_shutdown)
        node = rclpy.create_node("person", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(node)
        self.ticks: list[Tick] = []
        self.poses: dict[str, PoseStamped] = {}
        self.images: dict[str, Image] = {}
        node.create_subscription(Tick, "tick", self.ticks.append, qos.TICK)
        for name in ROBOT.pose_names:
            node.create_subscription(
                PoseStamped, f"poses/{name}",
                lambda pose, name=name: self.poses.update({name: pose}), qos.TICK,
            )
        for camera in SIZES:
            node.create_subscription(
                Image, f"cameras/{camera}/image_raw",
                lambda image, camera=camera: self.images.update({camera: image}), qos.TICK,
            )
        self._commands = node.create_publisher(Command, "command", qos.COMMAND)
        self._world = stack.enter_context(NodeProcess(
            "hiwm_world", "imagination", domain=domain, parameters={
                "checkpoint": str(checkpoint), "task": tool_pair.NAME, "robot": tool_pair.NAME,
                "rate": 0.0,
            },
        ))
        self._until(lambda: bool(self.ticks))

    def _until(self, predicate: Any) -> None:
        assert spin_until(self._executor, predicate, GUARD_S), self._world.output[-3000:]

    def step(self, action: np.ndarray) -> Tick:
        """Answer the present tick until the world has taken a step; return the next tick.

        The world may not have discovered this client yet, and then it misses the first answers. It
        drops those that follow the one it takes.
        """
        now = self.ticks[-1]
        answer = Command(
            epoch=now.epoch, step=now.step, source=Command.SOURCE_POLICY, device="test",
            action=action.tolist(),
        )
        answered = 0.0

        def stepped() -> bool:
            nonlocal answered
            if self.ticks[-1].step > now.step:
                return True
            if time.monotonic() > answered + ANSWER_S:
                answered = time.monotonic()
                self._commands.publish(answer)
            return False

        self._until(stepped)
        return self.ticks[-1]

    def observe(self) -> Tick:
        """Step at home until a picture of every camera and every pose has arrived."""
        tick = self.step(HOME)
        while set(self.poses) != set(ROBOT.pose_names) or set(self.images) != set(SIZES):
            tick = self.step(HOME)
        return tick


def test_an_imagined_session_refuses_what_the_robot_refuses(
    recording: Path, segment: Segment
) -> None:
    path = train_world(recording, segment)
    assert "success" in (load_checkpoint(path).info.heads or ())  # from people's labels only
    with ExitStack() as stack:
        dream = Dream(stack, path)
        tick = dream.observe()
        assert 0.0 <= tick.success <= 1.0 and np.isnan(tick.progress)
        found = {name: (one.height, one.width, 3) for name, one in dream.images.items()}
        assert found == SIZES
        turn = dream.poses["left_tool"].pose.orientation
        assert np.linalg.norm([turn.x, turn.y, turn.z, turn.w]) == pytest.approx(1.0)
        ticks = [dream.step(LOW) for _ in range(12)]
        held = next(tick.applied_note for tick in ticks if "held" in tick.applied_note)
        assert "would leave the workspace: left tool0 would be" in held
        # A model of two training steps may say that the arm is below the table. It may hold there,
        # or come back up; no target leads it down there.
        height = HOME[HEIGHT]
        for tick in ticks:
            before, height = height, tick.applied_action[HEIGHT]
            assert "held" in tick.applied_note or height > min(tool_pair.TABLE_Z_M, before - 1e-9)
