"""Serialized messages of a small world, for tests of bags."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.schema import recording_types
from hiwm_core.bags.session import RecordedTopic, RecordingSession, Role
from hiwm_core.bags.writer import Topic
from hiwm_core.embodiment import load_embodiment

TYPES = recording_types()
EMBODIMENT = load_embodiment("planar_bimanual")
EMBODIMENT_TEXT = EMBODIMENT.text
JOINTS = ["right_y_joint", "left_x_joint", "right_x_joint", "left_y_joint"]
TICK_NS = 100_000_000
TRUTH_NAMES = ["object_x_m", "object_y_m", "object_yaw_rad", "coverage"]
STREAMS = ["cameras/top/image_raw", "joint_states"]


def recorded(name: str, kind: str, role: Role) -> RecordedTopic:
    """Return a topic with its role in the recorder."""
    return RecordedTopic(
        topic=Topic(
            name=f"/hiwm/{name}", message_type=kind, latched=role in (Role.WORLD_INFO, Role.TREE)
        ),
        role=role,
    )


TICK = recorded("tick", "hiwm_interfaces/msg/Tick", Role.TICK)
IMAGE = recorded("cameras/top/image_raw", "sensor_msgs/msg/Image", Role.STAMPED)
JOINT_STATES = recorded("joint_states", "sensor_msgs/msg/JointState", Role.STAMPED)
COMMAND = recorded("command", "hiwm_interfaces/msg/Command", Role.ANSWER)
WORLD_INFO = recorded("world_info", "hiwm_interfaces/msg/WorldInfo", Role.WORLD_INFO)
TREE = recorded("branches/tree", "hiwm_interfaces/msg/BranchTree", Role.TREE)
TRUTH = recorded("driver/ground_truth", "hiwm_interfaces/msg/GroundTruth", Role.STAMPED)


def message(kind: str, /, **fields: Any) -> Any:
    """Return a message of any recorded type."""
    return TYPES.types[kind](**fields)


def header(stamp_ns: int) -> Any:
    """Return a header with a stamp."""
    stamp = message(
        "builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
    )
    return message("std_msgs/msg/Header", stamp=stamp, frame_id="table")


def raw(kind: str, value: object) -> bytes:
    """Return a serialized message."""
    return bytes(TYPES.serialize_cdr(value, kind))


def floats(values: object) -> NDArray[np.float64]:
    """Return a float64 sequence."""
    return np.array(values, np.float64)


@dataclass
class RecordedWorld:
    """Passes a world's messages, tick by tick, to `send(topic, raw)`."""

    send: Callable[[RecordedTopic, bytes], None]
    episode: str = "ep_0001"
    branch: str = "ep_0001-b000"
    epoch: int = 1
    step: int = 0
    stamp_ns: int = 1_700_000_000 * 10**9
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    first_of_epoch: bool = True
    kind: str = "imagination"
    rate: float = 10.0
    tick_ns: int = TICK_NS
    world: str = "imagination@lab1:1"
    arbiter: str = "arbiter@lab1:2"
    lags_ns: Mapping[str, int] = field(default_factory=dict)  # by stream: behind the tick's stamp
    started_from: str = ""

    def world_info(self) -> None:
        """Send world_info."""
        kind = WORLD_INFO.topic.message_type
        self.send(WORLD_INFO, raw(kind, message(
            kind, header=header(self.stamp_ns), kind=self.kind,
            robot="standin" if self.kind == "hardware" else "",
            stand_in=self.kind == "hardware", rate=self.rate,
            control_period_s=1e-9 * self.tick_ns, lockstep=True, streams=STREAMS,
            cameras=["top"], camera_widths=np.array([96], np.uint32),
            camera_heights=np.array([96], np.uint32), embodiment="planar_bimanual",
            embodiment_hash=EMBODIMENT.hash, embodiment_yaml=EMBODIMENT_TEXT, task="toy_task",
            task_hash="beef", task_yaml="name: toy_task\n", instruction="push",
            start_names=TRUTH_NAMES[:3],
            labels=["success", "failure"], can_restore=True, can_fork=True,
            auto_reset=True, heads=["progress", "success", "trust"], checkpoint_hash="c0ffee",
            session_id="session", software_version="1",
        )))

    def stream_stamp(self, stream: str) -> int:
        """Return the stamp of a stream's message at the current step, ns."""
        return self.stamp_ns - self.lags_ns.get(stream, 0)

    def image(self) -> bytes:
        """Return an image of noise."""
        kind = IMAGE.topic.message_type
        data = self.rng.integers(0, 256, 96 * 96 * 3, np.uint8)
        return raw(kind, message(
            kind, header=header(self.stream_stamp(STREAMS[0])), height=96, width=96,
            encoding="rgb8", is_bigendian=0, step=288, data=data,
        ))

    def joint_state(self) -> bytes:
        """Return joint states in an order that differs from the embodiment's."""
        kind = JOINT_STATES.topic.message_type
        return raw(kind, message(
            kind, header=header(self.stream_stamp(STREAMS[1])), name=JOINTS,
            position=floats([4, 1, 3, 2]) * 0.01 + self.step * 0.001, velocity=floats([]),
            effort=floats([]),
        ))

    def tick(self, source: int = 1) -> bytes:
        """Return the tick of the current step."""
        kind = TICK.topic.message_type
        action = [] if self.first_of_epoch else [0.001 * self.step] * 4
        return raw(kind, message(
            kind, header=header(self.stamp_ns), epoch=self.epoch, step=self.step,
            episode_id=self.episode, branch_id=self.branch, started_from=self.started_from,
            state_id=f"s{self.step}", trust=0.9,
            progress=float("nan"), success=0.25, applied_action=floats(action),
            applied_source=0 if self.first_of_epoch else source, applied_device="policy 01234567",
            applied_note="", sender=self.world, streams=STREAMS,
            stream_stamps=[header(self.stream_stamp(stream)).stamp for stream in STREAMS],
            control_period_s=0.0,
        ))

    def command(self) -> bytes:
        """Return a command that answers the current tick."""
        kind = COMMAND.topic.message_type
        return raw(kind, message(
            kind, header=header(self.stamp_ns), epoch=self.epoch, step=self.step, source=1,
            device="policy", action=floats([0.001 * (self.step + 1)] * 4),
            sender=self.arbiter,
        ))

    def truth(self) -> bytes:
        """Return the stand-in's ground truth at the current step."""
        kind = TRUTH.topic.message_type
        return raw(kind, message(
            kind, header=header(self.stamp_ns), names=TRUTH_NAMES,
            values=floats([self.step, 2.0, 3.0, 0.5]),
        ))

    def fork_node(self, parent_id: str) -> bytes:
        """Return a BranchTree message: the current branch starts at a node."""
        kind = TREE.topic.message_type
        node = message(
            "hiwm_interfaces/msg/BranchNode", node_id=f"{self.branch}:{self.step}",
            parent_id=parent_id, episode_id=self.episode, branch_id=self.branch, epoch=self.epoch,
            step=self.step, state_id="", source=1, device="", action=floats([]), trust=1.0,
            progress=0.0, success=0.0, note="", pinned=False, rolled_back=False, takeover=False,
        )
        return raw(kind, message(
            kind, header=header(self.stamp_ns), session_id="session", since=0, revision=1, latest=1,
            head_id="", branches=[], nodes=[node],
        ))

    def advance(self) -> None:
        """Advance to the next step."""
        self.step += 1
        self.stamp_ns += self.tick_ns
        self.first_of_epoch = False

    def begin_branch(self, branch: str, step: int) -> None:
        """Continue on another branch, in a new epoch."""
        self.branch, self.step, self.first_of_epoch = branch, step, True
        self.epoch += 1
        self.stamp_ns += self.tick_ns

    def run(self, ticks: int, source: int = 1) -> None:
        """Publish ticks with all their messages, in the order of a real world."""
        for _ in range(ticks):
            self.send(IMAGE, self.image())
            self.send(JOINT_STATES, self.joint_state())
            self.send(TRUTH, self.truth())
            self.send(TICK, self.tick(source))
            self.send(COMMAND, self.command())
            self.advance()


def robot_bag(folder: Path, ticks: int) -> Path:
    """Record a robot's segment into a session's folder; return the bag."""
    recording = RecordingSession(folder, Lineage())
    world = RecordedWorld(
        lambda topic, data: recording.receive(topic, data, 1, 0.0), kind="hardware"
    )
    world.world_info()
    world.run(ticks)
    recording.close_all()
    return recording.take_closed()[0].path
