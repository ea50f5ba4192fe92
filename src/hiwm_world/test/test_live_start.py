"""A start at what a robot shows now, with a bridge that only publishes."""

import threading
from collections.abc import Iterator

import pytest
import rclpy
from hiwm_interfaces.msg import WorldInfo
from rclpy.node import Node

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError, DeviceError
from hiwm_core.recorded_starts import ObservedStart
from hiwm_core.ros_domains import domain_id
from hiwm_test_support.arms import two_arms
from hiwm_test_support.sample_world import SampleWorld
from hiwm_world.live_start import live_start

EMBODIMENT = load_embodiment("planar_bimanual")
CAMERAS = [EMBODIMENT.cameras[0].name]
GUARD_S = 60.0


class Robot(SampleWorld):
    """The bridge of a robot in namespace /lab, for whoever subscribes."""

    def __init__(self) -> None:
        super().__init__(seed=3)
        self.image = True
        self._running = True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while self._running:
            if self._ticks.get_subscription_count():
                self.publish_tick(image=self.image)
            pause.wait(0.02)

    def describe(self, **changes: object) -> None:
        """Publish world_info with other values."""
        info = WorldInfo(
            kind="hardware", robot="arm", embodiment=EMBODIMENT.name, cameras=CAMERAS,
            embodiment_hash=EMBODIMENT.hash, session_id="today-1a",
        )
        for name, value in changes.items():
            setattr(info, name, value)
        self._info.publish(info)

    def close(self) -> None:
        self._running = False
        self._thread.join()
        self.destroy_node()


@pytest.fixture(scope="module")
def graph() -> Iterator[tuple[Robot, Node]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        rclpy.init(args=["--ros-args", "-r", "__ns:=/lab"], domain_id=domain_id())
        robot = Robot()
        node = rclpy.create_node("imagination", namespace="/imagined", use_global_arguments=False)
        yield robot, node
        robot.close()
        node.destroy_node()
        rclpy.shutdown()


def begin(node: Node, timeout_s: float = GUARD_S, namespace: str = "lab") -> ObservedStart:
    return live_start(node, namespace, EMBODIMENT, CAMERAS, timeout_s)


def test_a_live_start_is_one_complete_tick_with_its_stamps(graph: tuple[Robot, Node]) -> None:
    robot, node = graph
    robot.describe()
    first, second = begin(node), begin(node)
    camera = EMBODIMENT.cameras[0]
    assert first.images[0].shape == (camera.height, camera.width, 3)
    assert first.proprioception.shape == (EMBODIMENT.proprio_dim,)
    assert not (first.images[0] == second.images[0]).all()
    assert first.started_from.startswith("live:/lab at 10")
    for part in ("session today-1a", "on arm", "cameras/top/image_raw 10", "joint_states 10"):
        assert part in first.started_from
    assert "ep_0001-b000:" in first.started_from


@pytest.mark.parametrize(("changes", "message"), [
    ({"kind": "imagination"}, "imagination, not a robot"),
    ({"embodiment": "arms", "embodiment_hash": two_arms().hash}, two_arms().hash[:12]),
    ({"cameras": ["wrist"]}, "no camera top"),
])
def test_another_world_is_refused(
    graph: tuple[Robot, Node], changes: dict[str, object], message: str
) -> None:
    robot, node = graph
    robot.describe(**changes)
    with pytest.raises(ConfigError, match=message):
        begin(node)
    robot.describe()


def test_a_robot_without_a_camera_image_is_refused_in_time(graph: tuple[Robot, Node]) -> None:
    robot, node = graph
    robot.describe()
    begin(node)  # everything is discovered
    robot.image = False
    with pytest.raises(DeviceError, match="nothing arrives on cameras/top/image_raw"):
        begin(node, 2.0)
    robot.image = True


def test_no_bridge_or_our_own_namespace_is_refused(graph: tuple[Robot, Node]) -> None:
    _, node = graph
    with pytest.raises(DeviceError, match="no robot bridge within 0.2 s .*namespace /nobody"):
        begin(node, 0.2, "nobody")
    with pytest.raises(ConfigError, match="another namespace"):
        begin(node, 0.2, "/imagined/")


def test_a_stale_image_is_refused(graph: tuple[Robot, Node]) -> None:
    robot, node = graph
    robot.describe()
    robot.image_lag_ns = 2_500_000_000
    with pytest.raises(DeviceError, match=r"image_raw is 2\.5 s older than its tick"):
        begin(node)
    robot.image_lag_ns = 0
