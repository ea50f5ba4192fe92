"""Three 640x480 cameras at 30 Hz through bridge and recorder, at 15 ticks per second.

Bridge and recorder are processes of their own. Another is the cameras, the arm and the arbiter.
Each frame has a stamp of its own, and the bag is read for what has arrived.
"""

import multiprocessing
import os
import tempfile
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import rclpy
import yaml
from hiwm_interfaces.msg import Command, Tick
from sensor_msgs.msg import Image

from hiwm_core.bags import session_bags
from hiwm_core.bags.cdr import stamp_ns as raw_stamp_ns
from hiwm_core.bags.contents import BagContents
from hiwm_core.bags.topics import camera_name
from hiwm_core.config_files import find_config
from hiwm_core.errors import DeviceError
from hiwm_core.ros_domains import domain_id
from hiwm_core.stamps import stamp_ns
from hiwm_nodes import qos
from hiwm_test_support.nodes import NodeProcess, spin_until

from .rows import Measured
from .still_arms import StillArms

CAMERAS = ("left", "front", "right")
WIDTH, HEIGHT = 640, 480
CAMERA_HZ, TICK_HZ = 30.0, 15.0
FRAMES_PER_TICK = round(CAMERA_HZ / TICK_HZ)
SECONDS = 20.0
# Ticks before the measurement: both nodes have imported everything and the bag is open.
_WARM_TICKS = 30
_PATIENCE_S = 90.0
_IMAGES = 8  # different ones for each camera, in turn


class Cell(StillArms):
    """Everything around the bridge: cameras, an arm, and an arbiter that answers every tick.

    Args:
        context: of its node.
        embodiment: file that `write_configs` wrote.
        cameras: names of the cameras.
        camera_hz: their frame rate.

    Attributes:
        stamps: of all frames, ns, oldest first; the cameras are triggered together.
    """

    def __init__(
        self, context: rclpy.Context, embodiment: Path, cameras: Sequence[str] = CAMERAS,
        camera_hz: float = CAMERA_HZ,
    ) -> None:
        super().__init__(context, embodiment, "driver/joint_states")
        self.stamps: list[int] = []
        self.ticks = 0
        self._cameras = [
            (self.node.create_publisher(Image, f"driver/{name}", qos.IMAGE_PUB), _images(number))
            for number, name in enumerate(cameras)
        ]
        self.node.create_subscription(Tick, "tick", self._on_tick, qos.TICK)
        self._timer = self.node.create_timer(1.0 / camera_hz, self._show)

    def stop_cameras(self) -> None:
        """Publish no further images."""
        self._timer.cancel()

    def _show(self) -> None:
        stamp = self.node.get_clock().now().to_msg()
        for publisher, images in self._cameras:
            image = images[len(self.stamps) % _IMAGES]
            image.header.stamp = stamp
            publisher.publish(image)
        self.stamps.append(stamp_ns(stamp))

    def _on_tick(self, tick: Tick) -> None:
        self.ticks += 1
        self.commands.publish(Command(
            header=tick.header, epoch=tick.epoch, step=tick.step, device="benchmark",
            source=Command.SOURCE_POLICY, action=self.home,
        ))


def _images(seed: int) -> list[Image]:
    """Return images with smooth shading and a sensor's noise, which limits their compression."""
    rng = np.random.default_rng(seed)
    shade = np.linspace(40, 200, WIDTH)[None, :, None] + np.linspace(0, 40, HEIGHT)[:, None, None]
    return [
        Image(
            width=WIDTH, height=HEIGHT, step=3 * WIDTH, encoding="rgb8",
            data=array(
                "B", (shade + rng.normal(0, 2, (HEIGHT, WIDTH, 3))).astype(np.uint8).tobytes()
            ),
        )
        for _ in range(_IMAGES)
    ]


def write_configs(
    folder: Path, cameras: Sequence[str] = CAMERAS
) -> tuple[Path, Path, Path]:
    """Write embodiment, robot and task files into a folder; return their paths."""
    embodiment = yaml.safe_load(find_config("embodiments", "planar_bimanual").read_text())
    embodiment |= {
        "name": "three_cameras", "rate_hz": TICK_HZ,
        "cameras": [
            {"name": name, "width": WIDTH, "height": HEIGHT, "encoding": "rgb8"}
            for name in cameras
        ],
    }
    joints = [
        entry["joint"] for group in embodiment["groups"] for entry in group["entries"]
    ]
    path = folder / "three_cameras.yaml"
    robot = {
        "name": "three_cameras", "stand_in": True, "embodiment": str(path), "pace": "camera",
        "stale_after_s": 2.0,
        "joint_states": {"arms": {"topic": "driver/joint_states", "joints": joints}},
        "cameras": {name: {"image": f"driver/{name}"} for name in cameras},
        "outputs": {"arms": {
            "adapter": "joint_trajectory", "topic": "driver/trajectory", "joints": joints,
            "silence": "hold_last",
        }},
    }
    task = {
        "name": "look", "instruction": "look", "embodiment": "three_cameras",
        "horizon_steps": 1000,
    }
    files = (path, folder / "robot.yaml", folder / "look.yaml")
    for file, content in zip(files, (embodiment, robot, task), strict=True):
        file.write_text(yaml.safe_dump(content, sort_keys=False))
    return files


def lost_frames(sent: Sequence[int], recorded: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return how many frames of each camera are missing from a bag.

    Every second frame belongs to a tick, so between the first and the last recorded one there is
    one for every `FRAMES_PER_TICK` that the camera sent.

    Args:
        sent: stamps of the camera's frames, ns, ascending.
        recorded: camera to the stamps in the bag, ns, ascending.
    """
    lost = {}
    for camera, stamps in recorded.items():
        if not stamps:
            lost[camera] = len(sent) // FRAMES_PER_TICK
            continue
        numbers = [sent.index(stamp) for stamp in stamps]
        expected = (numbers[-1] - numbers[0]) // FRAMES_PER_TICK + 1
        lost[camera] = max(0, expected - len(set(numbers)))
    return lost


def measure_three_cameras(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the lost frames, and the processor time of bridge and recorder.

    Arguments as in `measure`; none is used.

    Raises:
        DeviceError: the bridge made too few ticks.
    """
    del launch_file, folder, repeats, more
    return measured_apart(_measured, "three_cameras")


def measured_apart(
    measure: Callable[[rclpy.Context, int, Path], dict[str, Measured]], name: str
) -> dict[str, Measured]:
    """Return what a function measures in a process of its own, with a configured Fast DDS.

    Fast DDS reads its configuration once in a process.

    Args:
        measure: takes a context, its ROS domain, and a folder that is removed afterwards.
        name: for errors.

    Raises:
        DeviceError: `measure` did.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        measured, problem = pool.submit(_measure, measure).result()
    if problem:
        raise DeviceError(problem, where=name, remedy="run the nodes' tests")
    return measured


def _measure(
    measure: Callable[[rclpy.Context, int, Path], dict[str, Measured]]
) -> tuple[dict[str, Measured], str]:
    """Return the rows, or a problem."""
    # Three images fill the shared memory that Fast DDS takes by itself; docs/install.md.
    os.environ.setdefault(
        "FASTRTPS_DEFAULT_PROFILES_FILE", str(Path(__file__).parents[2] / "config" / "fastdds.xml")
    )
    domain, context = domain_id(), rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return measure(context, domain, Path(scratch)), ""
    except DeviceError as error:
        return {}, error.what
    finally:
        context.try_shutdown()


def _measured(context: rclpy.Context, domain: int, folder: Path) -> dict[str, Measured]:
    embodiment, robot, task = write_configs(folder)
    session = folder / "session"
    cell = Cell(context, embodiment)
    with (
        NodeProcess("hiwm_recording", "recorder", domain=domain, parameters={
            "session_dir": str(session), "embodiment": str(embodiment),
        }) as recorder,
        NodeProcess("hiwm_robot", "robot_bridge", domain=domain, parameters={
            "robot": str(robot), "task": str(task),
        }) as bridge,
    ):
        nodes = {"bridge": bridge, "recorder": recorder}
        if not spin_until(cell.executor, lambda: cell.ticks >= _WARM_TICKS, _PATIENCE_S):
            raise DeviceError(
                f"the bridge made {cell.ticks} ticks: {bridge.output[-500:]}",
                where="three_cameras", remedy="run its node tests",
            )
        before, ticks = {name: _processor_s(node) for name, node in nodes.items()}, cell.ticks
        start = time.perf_counter()
        spin_until(cell.executor, lambda: time.perf_counter() - start >= SECONDS, 2 * SECONDS)
        seconds, ticks = time.perf_counter() - start, cell.ticks - ticks
        used = {name: (_processor_s(node) - before[name]) for name, node in nodes.items()}
        cell.stop_cameras()
        spin_until(cell.executor, lambda: False, 1.0)  # what is on its way arrives
    lost = lost_frames(cell.stamps, _recorded(session))
    cores = {name: spent / seconds for name, spent in used.items()}
    return {
        "three_cameras": Measured(value=sum(cores.values()), details={
            **{f"{name} cores": value for name, value in cores.items()},
            "ticks/s": ticks / seconds, "seconds": seconds,
        }),
        "three_cameras_lost": Measured(value=float(sum(lost.values())), details={
            "frames sent": len(CAMERAS) * len(cell.stamps), **lost,
        }),
    }


def _processor_s(node: NodeProcess) -> float:
    times = psutil.Process(node.process.pid).cpu_times()
    return float(times.user + times.system)


def _recorded(session: Path) -> dict[str, list[int]]:
    """Return the stamps of each camera's images in a session's bags, ascending."""
    found: dict[str, list[int]] = {name: [] for name in CAMERAS}
    for bag in session_bags(session):
        for message in BagContents(bag).messages():
            if camera := camera_name(message.channel):
                found[camera].append(raw_stamp_ns(message.data))
    return {name: sorted(stamps) for name, stamps in found.items()}
