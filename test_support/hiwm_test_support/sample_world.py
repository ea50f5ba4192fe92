"""A world of noise with every topic that a recorder subscribes to, for tests and load measurements.

    python -m hiwm_test_support.sample_world --ticks 300 --rate 200

Publishes messages of an invented session from a seed, and forks a branch at a given interval.
Nothing moves, and commands have no effect.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np
import rclpy
from hiwm_interfaces.msg import (
    BranchNode,
    BranchTree,
    Command,
    ControlState,
    GroundTruth,
    OperatorCommand,
    Tick,
    WorldInfo,
)
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, JointState

from hiwm_core.embodiment import load_embodiment
from hiwm_core.frames import observation_streams
from hiwm_nodes import qos
from hiwm_nodes.messages import (
    camera_info_message,
    image_message,
    joint_state_message,
    time_message,
)
from hiwm_nodes.only_one import sender

# The first stamp. Far from zero, so that a mix-up of clocks is noticed.
_EPOCH_NS = 1_000_000_000_000
_TICK_NS = 100_000_000
# Deeper than a real world's queue: this world does not wait for subscribers, and the recorder is
# what is measured.
_DEEP = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)


class SampleWorld(Node):
    """Publishes ticks with all their messages.

    Attributes:
        image_lag_ns: of the image's stamp behind that of its tick.
    """

    def __init__(self, *, seed: int, scene: bool = False) -> None:
        super().__init__("sample_world")
        self._embodiment = load_embodiment("planar_bimanual")
        self._rng = np.random.default_rng(seed)
        self._scene = scene
        self.image_lag_ns = 0
        self._epoch, self._step, self._branches, self._stamp_ns = 1, 0, 0, _EPOCH_NS
        self._first = True
        self._camera = self._embodiment.cameras[0]
        base = f"cameras/{self._camera.name}"
        self._streams = observation_streams([self._camera.name])
        self._info = self.create_publisher(WorldInfo, "world_info", qos.LATCHED)
        self._state = self.create_publisher(ControlState, "control_state", qos.LATCHED)
        self._tree = self.create_publisher(BranchTree, "branches/tree", qos.LATCHED)
        self._images = self.create_publisher(Image, f"{base}/image_raw", _DEEP)
        self._camera_infos = self.create_publisher(CameraInfo, f"{base}/camera_info", _DEEP)
        self._joints = self.create_publisher(JointState, "joint_states", _DEEP)
        self._ticks = self.create_publisher(Tick, "tick", _DEEP)
        self._commands = self.create_publisher(Command, "command", _DEEP)
        self._operator = self.create_publisher(OperatorCommand, "operator/command", _DEEP)
        self._truth = self.create_publisher(GroundTruth, "driver/ground_truth", _DEEP)
        self.publish_info()

    @property
    def branch_id(self) -> str:
        """Name of the current branch."""
        return f"ep_0001-b{self._branches:03d}"

    def subscribed_by(self, count: int) -> bool:
        """Return whether `count` nodes subscribe to every topic of a complete observation."""
        needed: list[Publisher] = [self._images, self._joints, self._ticks]
        return all(publisher.get_subscription_count() >= count for publisher in needed)

    def recorded(self) -> bool:
        """Return whether a recorder subscribes to every topic."""
        publishers = [
            self._images, self._camera_infos, self._joints, self._ticks, self._commands,
            self._operator, self._truth,
        ]
        return all(publisher.get_subscription_count() for publisher in publishers)

    def publish_info(self) -> None:
        """Publish world_info."""
        camera, embodiment = self._camera, self._embodiment
        self._info.publish(WorldInfo(
            kind="hardware", robot="standin", stand_in=True, rate=embodiment.rate_hz,
            control_period_s=1.0 / embodiment.rate_hz, streams=self._streams,
            cameras=[camera.name], camera_widths=[camera.width], camera_heights=[camera.height],
            embodiment=embodiment.name, embodiment_hash=embodiment.hash,
            embodiment_yaml=embodiment.text, task="toy_task", session_id="sample",
            software_version="sample",
        ))

    def fork(self) -> None:
        """Start a branch two steps back."""
        parent = f"{self.branch_id}:{max(0, self._step - 3)}"
        self._branches += 1
        self._epoch += 1
        self._step = max(0, self._step - 2)
        self._first = True
        node = BranchNode(
            node_id=f"{self.branch_id}:{self._step}", parent_id=parent, episode_id="ep_0001",
            branch_id=self.branch_id, epoch=self._epoch, step=self._step,
        )
        self._tree.publish(BranchTree(session_id="sample", nodes=[node]))

    def publish_tick(self, *, image: bool = True) -> None:
        """Publish one step: image, joints, truth, operator, tick, command, control state."""
        camera, names = self._camera, self._embodiment.joint_names
        stamp = time_message(self._stamp_ns)
        image_stamp = time_message(self._stamp_ns - self.image_lag_ns)
        pixels = self._pixels()
        if image:
            self._images.publish(image_message(pixels, image_stamp, camera.name))
        self._camera_infos.publish(
            camera_info_message(camera.width, camera.height, stamp, camera.name)
        )
        order = self._rng.permutation(len(names))
        positions = self._rng.normal(size=len(names))
        self._joints.publish(
            joint_state_message([names[i] for i in order], positions.tolist(), stamp)
        )
        truth = GroundTruth(
            names=["object_x_m", "object_y_m", "object_yaw_rad", "coverage"],
            values=[float(self._step), 0.0, 0.0, 0.5],
        )
        tick = Tick(
            epoch=self._epoch, step=self._step, episode_id="ep_0001", branch_id=self.branch_id,
            streams=self._streams, stream_stamps=[image_stamp, stamp],
            trust=1.0, progress=float("nan"), success=float("nan"),
            applied_action=[] if self._first else self._rng.normal(size=len(names)).tolist(),
            applied_source=Command.SOURCE_NONE if self._first else Command.SOURCE_HUMAN,
            applied_device="" if self._first else "sample", sender=sender(self),
        )
        operator = OperatorCommand(epoch=self._epoch, step=self._step, device="sample")
        command = Command(
            epoch=self._epoch, step=self._step, source=Command.SOURCE_HUMAN, device="sample",
            action=[0.0] * len(names), sender=sender(self),
        )
        state = ControlState(epoch=self._epoch, step=self._step, mode=ControlState.HUMAN)
        for message in (truth, tick, operator, command, state):
            message.header.stamp = stamp
        self._truth.publish(truth)
        self._ticks.publish(tick)
        self._operator.publish(operator)
        self._commands.publish(command)
        self._state.publish(state)
        self._step += 1
        self._stamp_ns += _TICK_NS
        self._first = False

    def _pixels(self) -> np.ndarray:
        shape = (self._camera.height, self._camera.width, 3)
        if not self._scene:
            return self._rng.integers(0, 256, shape, np.uint8)
        # Flat colours with a moving edge, which compress about as well as a rendered table.
        pixels = np.full(shape, 220, np.uint8)
        pixels[20:50, self._step % 60 : self._step % 60 + 30] = (40, 80, 200)
        return pixels


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish a session of noise."""
    parser = argparse.ArgumentParser(
        prog="hiwm_test_support.sample_world", description=main.__doc__
    )
    parser.add_argument("--ticks", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50.0, help="ticks per second; 0 = no limit")
    parser.add_argument("--fork-every", type=int, default=0, help="ticks between forks; 0 = never")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lose-image", type=int, default=-1, help="tick without image; -1 = none")
    parser.add_argument("--listeners", type=int, default=1, help="subscribers to await at start")
    parser.add_argument("--scene", action="store_true", help="flat colours instead of noise")
    options = parser.parse_args(arguments)
    rclpy.init(args=["--ros-args", "-r", "__ns:=/hiwm"])
    world = SampleWorld(seed=options.seed, scene=options.scene)
    while not (world.subscribed_by(options.listeners) and world.recorded()):
        time.sleep(0.05)
    print("start", flush=True)
    started = time.monotonic()
    for tick in range(options.ticks):
        if options.fork_every and tick and tick % options.fork_every == 0:
            world.fork()
        world.publish_tick(image=tick != options.lose_image)
        if options.rate:
            time.sleep(max(0.0, started + (tick + 1) / options.rate - time.monotonic()))
    print(f"done in {time.monotonic() - started:.2f} s", flush=True)
    # Reliable messages in flight are delivered before the process exits.
    time.sleep(1.0)
    world.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
