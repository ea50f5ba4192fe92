"""Every operator device moves joint arms in a rope episode, through the graph and its drivers."""

import asyncio
import contextlib
import math
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import rclpy
from hiwm_interfaces.msg import ControlState, Tick, WorldInfo
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Joy

from hiwm_core.embodiment import Embodiment, parse_embodiment
from hiwm_core.ros_domains import domain_id
from hiwm_core.tips import Tips
from hiwm_nodes import qos
from hiwm_test_support import usb_bus
from hiwm_test_support.leader_rig import leader
from hiwm_test_support.nodes import NodeProcess, spin_until, wait_until

ROOT = Path(__file__).resolve().parents[4]

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(400)]
WAYS = {"left": 1.0, "right": -1.0}
FAR_M = 0.01  # an arm that went so far was moved
PAD = """
device: joy
topic: joy
stale_after_s: 2.0
hands:
  - {arms: [left], axes: {z: {axis: 0}}}
  - {arms: [right], axes: {z: {axis: 1}}}
motion: {linear_m_s: 0.1, expo: 0.0}
buttons: {0: deadman}
"""
MOUSE = """
device: spacemouse
convention: hid_z_up
mice: [{}]
axes: {x: {}, y: {}}
buttons: {LEFT: deadman}
"""
Look = Callable[[], object]


class Rope:
    """A rope on the stand-in of joint arms, watched from outside."""

    def __init__(self, domain: int) -> None:
        self.domain = domain
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("watcher", namespace="hiwm", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.robot: Embodiment | None = None
        self.tick, self.mode, self.device, self.reason = Tick(), -1, "", ""
        self.node.create_subscription(WorldInfo, "world_info", self._on_world, qos.LATCHED)
        self.node.create_subscription(Tick, "tick", self._on_tick, qos.TICK)
        self.node.create_subscription(ControlState, "control_state", self._on_mode, qos.LATCHED)

    def _on_world(self, message: WorldInfo) -> None:
        self.robot = parse_embodiment(message.embodiment_yaml, "world_info")
        self.tips = Tips(self.robot)

    def _on_tick(self, message: Tick) -> None:
        self.tick = message

    def _on_mode(self, message: ControlState) -> None:
        self.mode, self.device, self.reason = message.mode, message.device, message.reason

    def until(self, predicate: Callable[[], object], look: Look = lambda: None) -> bool:
        """Spin until something holds, while a device is held."""
        def turn() -> bool:
            look()
            return bool(predicate())
        return spin_until(self.executor, turn, 60.0)

    def places(self) -> dict[str, np.ndarray]:
        """Positions of the tips for the target that was last applied."""
        target = np.array(self.tick.applied_action)
        return {arm: self.tips.pose(arm, target).position for arm in WAYS}

    def driven(self, device: str, look: Look, arms: tuple[str, ...], text: Callable[[], str]
               ) -> None:
        """Check that a device takes control and moves tips; then release it."""
        assert self.until(
            lambda: self.mode == ControlState.HUMAN and self.device == device, look
        ), (device, self.mode, self.device, text())
        start = self.places()

        def moved() -> bool:
            here = self.places()
            return all(np.linalg.norm(here[arm] - start[arm]) > FAR_M for arm in arms)

        assert self.until(moved, look), (device, self.places(), start, text())

    def end(self) -> None:
        """Leave the domain."""
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.shutdown()


class Socket:
    """The console's page as its socket; `page` makes its messages, 50 a second."""

    def __init__(self, address: str) -> None:
        self.address = address.replace("http", "ws", 1) + "console"
        self.world: dict[str, Any] = {}
        self.page: Callable[[float], dict[str, Any]] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._visit(),), daemon=True)
        self._thread.start()

    async def _visit(self) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(self.address) as socket:
            while not self._closing.is_set():
                with contextlib.suppress(TimeoutError):
                    message = await socket.receive(timeout=0.02)
                    if message.type is aiohttp.WSMsgType.TEXT and '"type":"world"' in message.data:
                        self.world = message.json()
                if self.page is not None:
                    now = time.monotonic()
                    await socket.send_json({
                        "type": "drive", "axes": [0] * self.world["axes"], "t": 1e3 * now,
                        "deadman": True, **self.page(now),
                    })

    def close(self) -> None:
        """Leave."""
        self._closing.set()
        self._thread.join(10)


@pytest.fixture
def rope(tmp_path: Path) -> Iterator[tuple[Rope, str]]:
    """The running graph, and the console's address."""
    domain, log, task = domain_id(), tmp_path / "log", tmp_path / "rope_joints.yaml"
    text = (ROOT / "config/tasks/route_rope.yaml").read_text()
    task.write_text(text.replace("embodiment: yam_pair_cartesian", "embodiment: yam_pair"))
    with log.open("w") as output:
        launched = subprocess.Popen(
            [
                sys.executable, "-m", "hiwm_bringup.launcher",
                str(ROOT / "launch/record.launch.xml"), "world:=hardware",
                "robot:=yam_pair_joints", f"task:={task}", "device:=none", "view:=false",
                "console:=true", "console_port:=0", f"session_dir:={tmp_path / 'session'}",
            ],
            env={**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1"},
            stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )
    made = Rope(domain)
    address = re.compile(r"console: (http://\S+)")
    try:
        wait_until(
            lambda: bool(address.search(log.read_text())) or launched.poll() is not None
        )
        found = address.search(log.read_text())
        assert found and launched.poll() is None, log.read_text()[-2000:]
        assert made.until(lambda: made.robot and made.tick.step > 2), log.read_text()[-2000:]
        yield made, found[1]
        assert launched.poll() is None, log.read_text()[-2000:]
    finally:
        made.end()
        launched.terminate()
        launched.wait(60)


@contextmanager
def teleop(rope: Rope, **options: str) -> Iterator[Callable[[], str]]:
    """Run a device's node; yields what it prints."""
    with NodeProcess(
        "hiwm_teleop", "teleop", domain=rope.domain, namespace="hiwm", parameters=options
    ) as node:
        yield lambda: node.output[-2000:]


@pytest.mark.flaky(
    reruns=1, reason="an operator silent for 0.5 s loses control; a starved process is silent"
)
def test_each_device_moves_the_arms_in_a_rope_episode(
    rope: tuple[Rope, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, address = rope
    keys, theirs = pty.openpty()
    tty, sent = os.ttyname(theirs), 0.0

    def every(seconds: float, act: Look) -> Look:
        def look() -> None:
            nonlocal sent
            with contextlib.suppress(BlockingIOError):
                os.read(keys, 65536)
            if time.monotonic() - sent > seconds:
                sent = time.monotonic()
                act()
        return look

    os.set_blocking(keys, False)
    with ExitStack() as stack:
        stack.callback(os.close, theirs)
        stack.callback(os.close, keys)
        with teleop(world, device="keyboard", tty=tty) as text:
            # t takes over; d moves the first arm to the right.
            world.driven("keyboard", every(
                0.05, lambda: os.write(keys, b"d" if world.mode == ControlState.HUMAN else b"t")
            ), ("left",), text)

        joys = world.node.create_publisher(Joy, "joy", qos.SENSOR)
        (tmp_path / "pad.yaml").write_text(PAD)
        alone = [time.monotonic()]

        def hold_pad() -> None:
            if joys.get_subscription_count() == 0:
                alone[0] = time.monotonic()
            # The deadman counts once it was seen released.
            pressed = int(time.monotonic() - alone[0] > 0.5)
            joys.publish(Joy(axes=[1.0, 0.5], buttons=[pressed]))

        with teleop(world, device="joy", device_file=str(tmp_path / "pad.yaml")) as text:
            world.driven("joy", every(0.02, hold_pad), tuple(WAYS), text)

        library, bus = tmp_path / "hidapi", tmp_path / "usb"
        library.mkdir()
        bus.mkdir()
        with monkeypatch.context() as patch:
            for name, value in usb_bus.environment(usb_bus.build(library), bus).items():
                patch.setenv(name, value)
            (tmp_path / "mouse.yaml").write_text(MOUSE)
            mouse = usb_bus.SocketMouse(bus)
            stack.callback(mouse.unplug)

            def push() -> None:
                mouse.press(0)
                mouse.move(x=usb_bus.FULL)

            with teleop(
                world, device="spacemouse", device_file=str(tmp_path / "mouse.yaml")
            ) as text:
                mouse.press()
                world.driven("spacemouse", every(0.02, push), ("left",), text)

        changes = [
            (f"drives: {side}_{name}_joint", f"drives: {side}_joint{number}")
            for side in WAYS
            for number, name in enumerate(
                ("waist", "shoulder", "elbow", "forearm", "wrist", "roll"), 1
            )
        ] + [(f"drives: {side}_gripper_joint", f"drives: {side}_gripper") for side in WAYS]
        made = stack.enter_context(leader(tmp_path, "dynamixel", changes))
        home = np.array(world.tick.applied_action)

        def lead() -> None:
            turn = 0.2 * math.sin(3.0 * time.monotonic())
            for arm, part in (("left", home[:6]), ("right", home[7:13])):
                made.point(arm, [part[0] + turn, *part[1:]])
            if world.mode != ControlState.HUMAN and time.monotonic() % 1.0 < 0.05:
                os.write(keys, b"t")

        lead()
        with teleop(
            world, device="leader_arm", device_file=str(made.file), tty=tty
        ) as text:
            world.driven("leader_arm", every(0.02, lead), tuple(WAYS), text)

        page = Socket(address)
        stack.callback(page.close)
        assert world.until(lambda: page.world)
        tips = {
            group["arm"]: group["tip"] for group in page.world["groups"]
            if group["tip"] is not None
        }

        def pads(now: float) -> dict[str, Any]:
            axes = [0.0] * page.world["axes"]
            for arm, place in tips.items():
                axes[place + 2] = WAYS[arm]
            return {"device": "touch", "axes": axes}

        began, seen = time.monotonic(), True

        def hands(now: float) -> dict[str, Any]:
            high = 0.03 * math.sin(2.0 * (now - began))
            return {"device": "headset", "hands": [
                {"arm": number, "held": True, "tracked": seen or number == 0, "trigger": 0.0,
                 "position": [0.3 * number, 1.0 + WAYS[arm] * high, -0.4],
                 "rotation": [0.0, 0.0, 0.0, 1.0]} for number, arm in enumerate(WAYS)
            ]}

        for driving in (pads, hands):
            page.page = lambda now: {"deadman": False}
            assert world.until(lambda: world.mode != ControlState.HUMAN)
            page.page = driving
            world.driven("console", lambda: None, tuple(WAYS), lambda: world.reason)
        seen = False  # one controller is lost, and with it the device
        assert world.until(
            lambda: world.mode == ControlState.PAUSED and "right controller" in world.reason
        ), (world.mode, world.reason)
