"""The teleop node and the arbiter as processes; the test acts as the world."""

import array
import os
import pty
import select
import shutil
import sys
import termios
import time

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from hiwm_interfaces.msg import (
    Command,
    ControlState,
    OperatorCommand,
    PolicyPlan,
    Tick,
    WorldInfo,
)
from hiwm_interfaces.srv import Fork, Label, Reset, Rollback
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState, Joy

from hiwm_core.config_files import default_task, find_config
from hiwm_core.embodiment import load_embodiment
from hiwm_core.frames import observation_streams
from hiwm_core.ros_domains import domain_id
from hiwm_core.tasks import load_task
from hiwm_nodes import qos
from hiwm_nodes.messages import image_message, joint_state_message, stamp_tick, time_message
from hiwm_test_support import usb_bus
from hiwm_test_support.nodes import NodeProcess, spin_until
from hiwm_test_support.usb_bus import FULL, SocketMouse

pytestmark = pytest.mark.nodes
flaky = pytest.mark.flaky(
    reruns=2, reason="an operator silent for 0.5 s loses control; a starved process is silent"
)

EMBODIMENT = load_embodiment("planar_bimanual")
TASK = load_task(default_task())
HOME = list(EMBODIMENT.home)
START = np.array([0.05, 0.05, 0.7])


class PlayedWorld(Node):
    """World, policy and branch manager in a few lines.

    The policy holds still, so every rollout stalls; any action of a person moves the object
    straight towards its goal.
    """

    def __init__(self, context, can_restore=True):
        super().__init__("played_world", context=context)
        self.can_restore = can_restore
        self.pose, self.history = START.copy(), [START.copy()]
        self.scene = TASK.stand_in().scene(EMBODIMENT)
        self.epoch, self.step, self.branch, self.stamp = 1, 0, 0, 0
        self.device = ""
        self.sources, self.labels, self.forked, self.said = [], [], [], []
        info = self.create_publisher(WorldInfo, "world_info", qos.LATCHED)
        self.ticks = self.create_publisher(Tick, "tick", qos.TICK)
        self.images = self.create_publisher(Image, "cameras/top/image_raw", qos.IMAGE_PUB)
        self.joints = self.create_publisher(JointState, "joint_states", qos.TICK)
        self.plans = self.create_publisher(PolicyPlan, "policy/plan", qos.TICK)
        self.create_subscription(Command, "command", self.on_command, qos.COMMAND)
        self.create_subscription(OperatorCommand, "operator/command", self.said.append, qos.TICK)
        self.create_service(Rollback, "branches/rollback", self.on_rollback)
        self.create_service(Fork, "branches/fork", self.on_fork)
        self.create_service(Label, "branches/label", self.on_label)
        self.create_service(Reset, "world/reset", self.on_reset)
        info.publish(WorldInfo(
            kind="imagination" if can_restore else "hardware", lockstep=True,
            embodiment=EMBODIMENT.name, embodiment_hash=EMBODIMENT.hash,
            embodiment_yaml=EMBODIMENT.text, task=TASK.name, task_hash=TASK.hash,
            task_yaml=TASK.text, can_restore=can_restore, can_fork=can_restore, auto_reset=True,
        ))
        self.show()
        self.create_timer(0.5, self.show)  # for late subscribers

    def picture(self):
        self.scene.place(dict(zip(TASK.start_names, self.pose, strict=True)))
        return self.scene.render()

    def show(self):
        self.stamp += 1
        stamp = time_message(self.stamp)
        self.images.publish(image_message(self.picture(), stamp, "table"))
        self.joints.publish(joint_state_message(EMBODIMENT.joint_names, HOME, stamp))
        tick = Tick(
            epoch=self.epoch, step=self.step, episode_id="ep_0001",
            branch_id=f"ep_0001-b{self.branch:03d}", trust=1.0, progress=float("nan"),
            success=float("nan"), applied_action=array.array("d", HOME if self.step else []),
            applied_source=self.sources[-1] if self.sources else Command.SOURCE_NONE,
            applied_device=self.device,
        )
        stamp_tick(tick, stamp, observation_streams(["top"]))
        self.ticks.publish(tick)
        plan = PolicyPlan(
            epoch=self.epoch, step=self.step, horizon=8, execute_horizon=8, action_dim=4,
            actions=array.array("d", HOME * 8), policy="still",
        )
        self.plans.publish(plan)

    def on_command(self, command):
        if (command.epoch, command.step) != (self.epoch, self.step):
            return
        self.sources.append(command.source)
        self.device = command.device
        if command.source == Command.SOURCE_HUMAN:
            self.pose = self.pose * 0.9
        self.step += 1
        self.history = [*self.history[: self.step], self.pose.copy()]
        self.show()

    def go(self, step):
        self.step, self.pose = step, self.history[step].copy()
        self.epoch += 1
        self.branch += 1
        self.show()

    def on_rollback(self, request, response):
        response.ok = self.can_restore
        if not self.can_restore:
            response.message = "hardware cannot go back: reset the scene instead"
            return response
        self.go(max(0, self.step - request.steps))
        response.node_id, response.epoch, response.step = f"n:{self.step}", self.epoch, self.step
        return response

    def on_fork(self, request, response):
        self.forked.append(request.node_id)
        self.go(int(request.node_id.split(":")[1]) if request.node_id else self.step)
        response.ok, response.epoch, response.step = True, self.epoch, self.step
        response.node_id = request.node_id
        return response

    def on_label(self, request, response):
        self.labels.append((request.branch_id, request.label))
        response.ok = True
        return response

    def on_reset(self, request, response):
        self.pose, self.history, self.step, self.branch = START.copy(), [START.copy()], 0, 0
        self.epoch += 1
        self.show()
        response.ok, response.epoch = True, self.epoch
        return response


class Graph:
    def __init__(self, **world):
        self.domain = domain_id()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.world = PlayedWorld(self.context, **world)
        self.executor.add_node(self.world)

    def until(self, predicate, timeout_s=60.0):
        return spin_until(self.executor, predicate, timeout_s)

    def end(self):
        self.executor.shutdown()
        self.world.destroy_node()
        self.context.shutdown()


@pytest.fixture
def graph(request):
    graph = Graph(**getattr(request, "param", {}))
    yield graph
    graph.end()


def test_the_scripted_operator_corrects_forks_and_leaves(graph):
    options = {
        "device": "scripted", "failures": 1, "branches": 3, "window_ticks": 8,
        "rollback_steps": 5, "correction_ticks": 80, "follow_ticks": 5, "max_seconds": 60.0,
    }
    with NodeProcess("hiwm_control", "arbiter", domain=graph.domain), NodeProcess(
        "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
    ) as teleop:
        assert graph.until(lambda: teleop.process.poll() is not None), teleop.output
        assert teleop.wait() == 0, teleop.output
        output = teleop.output
    world = graph.world
    assert len(world.labels) == 3, output
    assert len({branch for branch, _ in world.labels}) == 3
    assert len(world.forked) == 2
    assert len(set(world.forked)) == 1
    assert Command.SOURCE_HANDBACK in world.sources
    for line in ("failing at", "taking over", "handing back"):
        assert line in output, output


@pytest.mark.parametrize("graph", [{"can_restore": False}], indirect=True)
def test_without_rollback_the_reason_is_shown_and_control_taken_anyway(graph):
    options = {
        "device": "scripted", "failures": 2, "window_ticks": 8, "correction_ticks": 20,
        "follow_ticks": 3, "max_seconds": 60.0,
    }
    with NodeProcess("hiwm_control", "arbiter", domain=graph.domain), NodeProcess(
        "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
    ) as teleop:
        assert graph.until(lambda: teleop.process.poll() is not None), teleop.output
        assert teleop.wait() == 0, teleop.output
        output = teleop.output
    assert output.count("hardware cannot go back: reset the scene instead") >= 2, output
    assert Command.SOURCE_HUMAN in graph.world.sources
    assert not graph.world.forked


@flaky
def test_keys_take_over_move_and_hand_back(graph):
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    options = {"device": "keyboard", "tty": os.ttyname(theirs)}
    said = graph.world.said
    with NodeProcess("hiwm_control", "arbiter", domain=graph.domain), NodeProcess(
        "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
    ) as teleop:
        assert graph.until(lambda: bool(said)), teleop.output
        assert not said[-1].deadman

        def held_down():
            os.write(ours, b"w")
            time.sleep(0.02)
            return any(
                command.deadman and command.action and command.action[1] > HOME[1] + 0.005
                for command in said
            )

        os.write(ours, b"t")
        assert graph.until(held_down), teleop.output
        assert graph.until(lambda: Command.SOURCE_HUMAN in graph.world.sources)
        assert not any(command.synchronous for command in said)
        moved = np.array([list(c.action) for c in said if c.action])
        assert (np.abs(moved - HOME)[:, 1] <= 0.012 + 1e-9).all()
        np.testing.assert_allclose(moved[:, [0, 2, 3]], np.array([HOME] * len(moved))[:, [0, 2, 3]])

        os.write(ours, b"3b")
        assert graph.until(lambda: graph.world.epoch == 2)
        os.write(ours, b"y")
        assert graph.until(lambda: bool(graph.world.labels))
        os.write(ours, b"th")
        assert graph.until(lambda: not said[-1].deadman)
        os.write(ours, b"q")
        assert graph.until(lambda: teleop.process.poll() is not None), teleop.output
        assert teleop.wait() == 0, teleop.output
    os.close(ours)
    os.close(theirs)


def test_a_keyboard_without_a_terminal_is_one_clear_line(graph, tmp_path):
    options = {"device": "keyboard", "tty": str(tmp_path / "none")}
    with NodeProcess("hiwm_teleop", "teleop", domain=graph.domain, parameters=options) as teleop:
        assert teleop.wait() == 1
        lines = [line for line in teleop.output.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert "keyboard" in lines[0]
    assert "demo --interactive" in lines[0]


def repeating(send, done):
    """Return a function that sends at most a hundred times a second, as devices do."""
    sent = [0.0]

    def repeat():
        if time.monotonic() - sent[0] >= 0.01:
            sent[0] = time.monotonic()
            send()
        return done()

    return repeat


# So that the loss detected by the device causes the pause, and not the silence after it.
PATIENT = {"operator_timeout_s": 10.0}


def patient(name, folder):
    """Return a copy of a device file with longer timeouts, for a busy machine."""
    text = find_config("devices", name).read_text()
    patience = {"silent_after_s: 0.2": "silent_after_s: 2.0", "stale_after_s: 0.2":
                "stale_after_s: 1.0"}
    for short, long in patience.items():
        text = text.replace(short, long)
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return str(file)


@pytest.fixture
def states(graph):
    heard = []
    graph.world.create_subscription(ControlState, "control_state", heard.append, qos.LATCHED)
    return heard


@pytest.fixture
def mouse(tmp_path, monkeypatch):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    library, bus = tmp_path / "lib", tmp_path / "usb"
    library.mkdir()
    bus.mkdir()
    for name, value in usb_bus.environment(usb_bus.build(library), bus).items():
        monkeypatch.setenv(name, value)
    plugged = SocketMouse(bus)
    yield plugged
    plugged.unplug()


@flaky
def test_a_spacemouse_takes_over_moves_is_lost_comes_back_and_hands_back(
    graph, states, mouse, tmp_path
):
    said, world = graph.world.said, graph.world
    options = {"device": "spacemouse", "device_file": patient("spacemouse", tmp_path)}
    health = []
    world.create_subscription(
        DiagnosticArray, "/diagnostics",
        lambda array: health.extend(s for s in array.status if s.name == "/teleop"), 100,
    )
    with NodeProcess("hiwm_control", "arbiter", domain=graph.domain,
                     parameters={"start_mode": "policy", **PATIENT}), NodeProcess(
        "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
    ) as teleop:
        assert graph.until(lambda: bool(said) and Command.SOURCE_POLICY in world.sources), (
            teleop.output
        )
        assert not said[-1].deadman and said[-1].device == "spacemouse"

        mouse.press(0)
        assert graph.until(repeating(lambda: mouse.move(x=FULL), lambda: any(
            c.deadman and c.action and c.action[0] > HOME[0] + 0.008 for c in said
        ))), teleop.output
        assert Command.SOURCE_HUMAN in world.sources
        moved = np.array([list(c.action) for c in said if c.deadman and c.action]) - HOME
        # The target starts at the arm's position, and every step is small.
        np.testing.assert_allclose(moved[0], 0.0, atol=1e-6)
        assert (np.diff(moved[:, 0], prepend=0.0) <= 0.12 * 0.1 + 1e-6).all()
        np.testing.assert_allclose(moved[:, 1:], 0.0, atol=1e-6)

        mouse.unplug()
        assert graph.until(lambda: states[-1].mode == ControlState.PAUSED), teleop.output
        assert "lost" in states[-1].reason
        assert graph.until(lambda: any(status.level == DiagnosticStatus.ERROR for status in health))
        values = {pair.key: pair.value for pair in health[-1].values}
        assert "lost" in health[-1].message and float(values["takeover_to_frame_p95_s"]) > 0.0
        # Messages in transit arrive; then there is silence, and nothing moves.
        quiet = False
        for _ in range(20):
            count, steps = len(said), world.step
            graph.until(lambda: False, 0.5)
            quiet = (len(said), world.step) == (count, steps)
            if quiet:
                break
        assert quiet

        mouse.plug()
        assert graph.until(lambda: len(said) > count), teleop.output
        assert states[-1].mode == ControlState.PAUSED
        mouse.press(0)
        assert graph.until(lambda: states[-1].mode == ControlState.HUMAN), teleop.output
        mouse.press()
        assert graph.until(lambda: states[-1].mode == ControlState.POLICY), teleop.output
        assert Command.SOURCE_HANDBACK in world.sources
        assert "SpaceNavigator at" in teleop.output and "is back" in teleop.output


@flaky
def test_a_gamepad_works_through_joy_and_its_silence_pauses(graph, states, tmp_path):
    said = graph.world.said
    options = {"device": "joy", "device_file": patient("gamepad", tmp_path)}
    sticks = graph.world.create_publisher(Joy, "joy", 10)
    down = array.array("i", [0] * 21)
    axes = array.array("f", [0.0] * 6)

    def drive(done):
        return repeating(lambda: sticks.publish(Joy(axes=axes, buttons=down)), done)

    with NodeProcess(
        "hiwm_control", "arbiter", domain=graph.domain, parameters=PATIENT
    ), NodeProcess(
        "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
    ) as teleop:
        assert graph.until(drive(lambda: bool(said))), teleop.output
        down[10], axes[2] = 1, -1.0
        assert graph.until(drive(lambda: any(
            c.deadman and c.action and c.action[2] > HOME[2] + 0.008 for c in said
        ))), teleop.output
        assert graph.until(drive(lambda: bool(states) and states[-1].mode == ControlState.HUMAN))
        assert graph.until(lambda: states[-1].mode == ControlState.PAUSED), teleop.output
        assert "no message on joy" in states[-1].reason
        # The driver returns with its last level, although nobody presses the button.
        count = len(said)
        assert graph.until(drive(lambda: len(said) > count + 20)), teleop.output
        assert not any(command.deadman for command in said[count + 2:])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("device: joy\ntopic: joy\nstale_after_s: 0.2\nbuttons: {0: deadman}\n"
         "hands: [{axes: {w: {axis: 0}}}]\n", ["hands[0].axes", "'w'", "x, y, z"]),
        ("device: spacemouse\n", ["device:=spacemouse"]),
    ],
)
def test_a_wrong_device_file_is_one_clear_line(graph, tmp_path, text, parts):
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    options = {"device": "joy", "device_file": str(file)}
    with NodeProcess("hiwm_teleop", "teleop", domain=graph.domain, parameters=options) as teleop:
        assert teleop.wait() == 1
        lines = [line for line in teleop.output.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    for part in [str(file), *parts]:
        assert part in lines[0]


def test_a_device_file_for_a_device_without_one_is_refused(graph):
    options = {"device": "scripted", "device_file": "gamepad"}
    with NodeProcess("hiwm_teleop", "teleop", domain=graph.domain, parameters=options) as teleop:
        assert teleop.wait() == 1
    assert "'scripted' reads no device file, and 'gamepad' was given" in teleop.output


LAUNCH = """<launch>
  <node pkg="hiwm_control" exec="arbiter" name="arbiter" output="screen"/>
  <node pkg="hiwm_teleop" exec="teleop" name="teleop" output="screen" on_exit="shutdown">
    <param name="device" value="keyboard"/>
  </node>
</launch>
"""


@flaky
def test_keys_reach_the_node_through_the_launcher_and_the_terminal_comes_back(tmp_path):
    file = tmp_path / "keys.launch.xml"
    file.write_text(LAUNCH)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(
            ROS_DOMAIN_ID=str(domain_id()), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST"
        )
        os.execv(sys.executable, [sys.executable, "-m", "hiwm_bringup.launcher", str(file)])
    shown, pressed, deadline = "", False, time.monotonic() + 60.0
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 4096).decode(errors="replace")
            except OSError:
                break  # every process closed the terminal
        if not pressed and "waiting for the world |" in shown:
            assert not termios.tcgetattr(terminal)[3] & termios.ECHO
            os.write(terminal, b"q")
            pressed = True
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert "t take over" in shown  # keys of arms are shown once the world is known
    assert "quitting" in shown
    assert termios.tcgetattr(terminal)[3] & termios.ECHO
    os.close(terminal)
