"""The hub's link to a running session: messages in, operator commands and service calls out.

The node's thread passes on serialized messages. They are deserialized here, on the web server's
thread; only that thread accesses the state in this file.
"""

import array
import asyncio
import time
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from hiwm_interfaces.msg import ControlState, OperatorCommand, Tick, WorldInfo
from numpy.typing import NDArray
from rclpy.client import Client as ServiceClient
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from hiwm_console import world_simulator
from hiwm_console.answers import answer_of, number
from hiwm_console.drive_axes import DriveAxes
from hiwm_console.hand_clutch import HandClutch
from hiwm_console.live_feed import LiveFeed, keep
from hiwm_console.page_commands import DEVICE, Command
from hiwm_console.protocol import Act
from hiwm_console.session_files import SessionFiles
from hiwm_console.views import Views
from hiwm_console.web_server import WebServer
from hiwm_core.bags.cdr import stamp_ns
from hiwm_core.control import Mode
from hiwm_core.embodiment import Embodiment, parse_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.frames import (
    JOINT_STATES,
    RobotReader,
    pose_stream,
    stream_stamps,
)
from hiwm_core.tips import TipMotion
from hiwm_nodes import qos
from hiwm_teleop.devices.base import EventKind, OperatorEvent
from hiwm_teleop.leash import LeashedTargets
from hiwm_teleop.service_routes import ROUTES, clients_of

# How long to wait for a node that starts late before it is reported as missing.
_FIND_S = 3.0
_SHORTEST_S = 1e-3  # of a motion


class GraphLink:
    """The link to one graph.

    Args:
        node: publishes and calls.
        session: keeps pictures if the world saves no states.
        speed: speed at full deflection, as a fraction of the action entry's limit, 0..1.
    """

    def __init__(self, node: Node, session: SessionFiles, speed: float) -> None:
        self._node = node
        self._session = session
        self._speed = speed
        self.server: WebServer | None = None
        self._publisher = node.create_publisher(OperatorCommand, "operator/command", qos.COMMAND)
        self._clients: dict[str, ServiceClient] = clients_of(node)
        self._missing: dict[str, str] | None = None  # by action, as last sent to the pages
        self._world = WorldInfo()
        self._embodiment: Embodiment | None = None
        self._leash: LeashedTargets | None = None
        self._robot: RobotReader | None = None
        self._axes: DriveAxes | None = None
        self._clutch: HandClutch | None = None
        self._joints: OrderedDict[int, bytes] = OrderedDict()
        self._poses: OrderedDict[tuple[int, str], bytes] = OrderedDict()
        self._ticks: OrderedDict[int, Tick] = OrderedDict()
        self._measured: NDArray[np.float64] | None = None
        self._tick: Tick | None = None
        self._moved = (-1, -1)  # tick of the last target
        self._moved_at = float("-inf")
        self._target: NDArray[np.float64] | None = None
        self._rate = 0.0  # ticks/s
        self._counted = (-1, 0, float("-inf"))  # epoch, step, steady s
        self.feed = LiveFeed(session, self._ticks, self._numbers)
        self.views = Views({})
        self._control: tuple[Any, ...] = ()
        self._since = time.monotonic()
        self._health: dict[str, dict[str, Any]] = {}

    # Requests from the hub.

    @property
    def axes(self) -> int:
        """Number of axes that a page drives; 0 while the world is unknown."""
        return self._axes.size if self._axes else 0

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms; none while the world is unknown."""
        return self._embodiment.arms if self._embodiment else ()

    def world_simulator_axes(self, keys: frozenset[str]) -> list[float]:
        """Return the axes for keys held in a page of the world simulator's protocol."""
        planes = self._axes.planes if self._axes else []
        return world_simulator.axes_of(keys, planes, self.axes)

    def publish(self, command: Command) -> None:
        """Send an operator command: axes become leashed targets, as for every device."""
        tick, leash, embodiment = self._tick, self._leash, self._embodiment
        if tick is None or leash is None or embodiment is None or self._measured is None:
            return
        target: Any = []
        if command.deadman and len(command.axes) == self.axes:
            target = self._target_of(command, leash)
        else:
            self._forget_targets()
            self._moved = (-1, -1)
        message = OperatorCommand(
            epoch=command.epoch, step=command.step, device=DEVICE, deadman=command.deadman,
            synchronous=bool(self._world.lockstep), demonstration=command.demonstration,
            action=array.array("d", target), note=leash.note,
        )
        message.header.stamp = tick.header.stamp
        message.header.frame_id = embodiment.frame
        self._publisher.publish(message)

    def _target_of(self, command: Command, leash: LeashedTargets) -> NDArray[np.float64]:
        """Return the command's target: motion over one tick in lock-step, else since the last."""
        now, place = time.monotonic(), (command.epoch, command.step)
        if self._world.lockstep and place == self._moved and self._target is not None:
            return self._target  # a repeated command, for a slow world
        seconds = self._period()
        if not self._world.lockstep:
            seconds = min(seconds, now - self._moved_at)
        self._moved, self._moved_at = place, now
        assert self._axes is not None and self._measured is not None and self._tick is not None
        settings = command.settings
        delta, steps = self._axes.motion(
            command.axes, settings.frame, self._speed * settings.speed, seconds
        )
        applied = np.asarray(self._tick.applied_action, np.float64)
        tips: dict[str, TipMotion] = {**steps}
        grippers = None
        if settings.hands and self._clutch is not None:
            goals, grippers = self._clutch.motion(
                settings.hands, leash.start(self._measured, applied), settings.frame, settings.speed
            )
            tips |= goals
        self._target = leash.move(
            delta, self._measured, applied, tips=tips, fixed=grippers,
            seconds=max(seconds, _SHORTEST_S),
        )
        return self._target

    def _forget_targets(self) -> None:
        """Start again from where the robot is."""
        if self._leash is not None and self._clutch is not None:
            self._leash.forget()
            self._clutch.forget()

    async def act(self, act: Act, who: str) -> dict[str, Any]:
        """Call a service for a person; the answer has ok and message."""
        event = replace(_event(act), who=who)
        route = ROUTES[event.kind]
        client = self._clients[route.service]
        deadline = time.monotonic() + _FIND_S
        while missing := route.missing(self._node, client):
            if time.monotonic() > deadline:
                return {"ok": False, "message": missing}
            await asyncio.sleep(0.05)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Any] = loop.create_future()

        def pass_on(call: Any) -> None:
            def set_result() -> None:
                if not answered.done():
                    answered.set_result(call.result())

            if not loop.is_closed():
                loop.call_soon_threadsafe(set_result)

        call = client.call_async(route.request(event))
        call.add_done_callback(pass_on)
        try:
            response = await asyncio.wait_for(answered, route.patience_s)
        except TimeoutError:
            client.remove_pending_request(call)
            return {
                "ok": False, "message": f"{route.service} did not answer in {route.patience_s:g} s"
            }
        if response is None:
            return {"ok": False, "message": f"{route.service} failed"}
        return answer_of(act.action, response)

    # Messages from the graph.

    def look_for_services(self) -> None:
        """Tell pages which requests no node would act on now, and why."""
        assert self.server is not None
        missing = {
            kind.name.lower(): problem for kind, route in ROUTES.items()
            if (problem := route.missing(self._node, self._clients[route.service]))
        }
        if self._world.embodiment_hash and not self._world.can_fork:
            why = "this world cannot go back to a saved state"
            missing |= {"fork": why, "continue": why, "save": why}
        if missing != self._missing:
            self._missing = missing
            self.server.hub.show("missing", {"actions": missing})

    def on_world(self, message: WorldInfo) -> None:
        """Process world_info."""
        assert self.server is not None
        if message.embodiment_hash != self._world.embodiment_hash:
            self._embodiment = parse_embodiment(message.embodiment_yaml, "world_info")
            self._leash = LeashedTargets(self._embodiment)
            self._robot = RobotReader(self._embodiment)
            self._axes = DriveAxes(self._embodiment)
            self._clutch = HandClutch(self._embodiment)
        self._world = message
        self.feed.cameras = list(message.cameras)
        assert self._axes is not None
        self.server.hub.show("world", {
            "kind": message.kind, "robot": message.robot, "stand_in": message.stand_in,
            "rate": message.rate, "lockstep": message.lockstep, "task": message.task,
            "cameras": [
                {"name": name, "width": int(width), "height": int(height)}
                for name, width, height in zip(
                    message.cameras, message.camera_widths, message.camera_heights, strict=False
                )
            ] + self.views.described,
            "embodiment": message.embodiment, "can_restore": message.can_restore,
            "can_fork": message.can_fork, "auto_reset": message.auto_reset,
            "session": message.session_id, "checkpoint": message.checkpoint_hash[:12],
            "software": message.software_version, "instruction": message.instruction,
            "labels": list(message.labels),
            **self._axes.described(),
        })

    def on_control(self, message: ControlState) -> None:
        """Process control_state."""
        assert self.server is not None
        hub = self.server.hub
        mode = Mode(message.mode)
        who = (mode, message.device, message.reason)
        if who[:2] != self._control[:2]:
            self._since = time.monotonic()
        self._control = who
        hub.show("control", {
            "mode": mode.name, "source": int(message.source), "device": message.device,
            "reason": message.reason,
            "since_s": round(time.monotonic() - self._since, 1),
            "operator_age_s": number(message.operator_age_s),
            "takeover_ms": number(1e3 * message.takeover_latency_s),
            "takeover_ticks": message.takeover_latency_ticks, "takeovers": message.takeovers,
            "plans_dropped": message.plans_dropped, "commands_dropped": message.commands_dropped,
        })
        hub.on_control(mode, message.device, message.reason)

    def on_health(self, message: DiagnosticArray) -> None:
        """Process a node's diagnostics."""
        assert self.server is not None
        for status in message.status:
            self._health[status.name] = {
                "name": status.name, "level": status.level[0] if status.level else 0,
                "message": status.message,
                "values": {pair.key: pair.value for pair in status.values[:20]},
            }
        self.server.hub.show("health", {"nodes": [
            self._health[name] for name in sorted(self._health)
        ]})

    def on_tree(self, _raw: bytes) -> None:
        """Note that the tree has changed; the new one is read from disk."""
        assert self.server is not None
        self.server.tree_changed()

    def on_joints(self, raw: bytes) -> None:
        """Process a serialized joint state."""
        keep(self._joints, stamp_ns(raw), raw)
        self._complete()

    def on_pose(self, name: str, raw: bytes) -> None:
        """Process a serialized pose of a stream."""
        keep(self._poses, (stamp_ns(raw), name), raw)
        self._complete()

    def on_image(self, camera: int, raw: bytes) -> None:
        """Process a serialized image of a camera."""
        if self.server is not None:
            self.feed.on_image(self.server.hub, camera, raw)

    def on_view(self, name: str, raw: bytes) -> None:
        """Process a serialized image of a view."""
        if self.server is None:
            return
        problem = self.views.on_image(
            self.server.hub, name, raw, first=len(self._world.cameras),
            epoch=int(self._tick.epoch) if self._tick else 0,
            step=int(self._tick.step) if self._tick else 0,
        )
        if problem:
            self._node.get_logger().error(problem)

    def on_tick(self, raw: bytes) -> None:
        """Process a serialized tick."""
        tick = deserialize_message(raw, Tick)
        stamp = stamp_ns(raw)
        keep(self._ticks, stamp, tick)
        self._count(tick)
        self._complete()
        if self.server is not None:
            self.feed.show_soon(self.server.hub)

    def show_again(self) -> None:
        """Show the current pictures again, for a page that has just connected."""
        if self.server is not None:
            self.feed.show_again(self.server.hub)

    def _numbers(self) -> dict[str, Any]:
        """Return what a page shows with the numbers of a tick."""
        measured = [] if self._measured is None else self._measured.tolist()
        tips: dict[str, list[float]] = {}
        if self._leash is not None and self._measured is not None and self._axes is not None:
            tips = self._axes.places(self._leash.tips, self._measured)
        return {
            "rate": round(self._rate, 1), "measured": [number(value) for value in measured],
            "tips": tips, "note": self._leash.note if self._leash else "",
        }

    def _count(self, tick: Tick) -> None:
        """Compute the tick rate from the steps, since not every tick is received."""
        now = time.monotonic()
        epoch, step, at = self._counted
        if tick.epoch != epoch or tick.step < step or now - at > 3.0:
            self._counted = (tick.epoch, tick.step, now)
        elif now - at >= 1.0:
            self._rate = (tick.step - step) / (now - at)
            self._counted = (tick.epoch, tick.step, now)

    def _complete(self) -> None:
        """Pass the newest tick to the hub once its joint state and poses have arrived as well."""
        if not self._ticks or self._embodiment is None or self.server is None:
            return
        tick = self._ticks[next(reversed(self._ticks))]
        stamps = stream_stamps(tick)
        joints = self._joints.get(stamps.get(JOINT_STATES, -1))
        poses = {
            name: self._poses.get((stamps.get(pose_stream(name), -1), name))
            for name in self._embodiment.pose_names
        }
        if joints is None or None in poses.values() or self._robot is None:
            return
        if self._tick is not None and (tick.epoch, tick.step) == (
            self._tick.epoch, self._tick.step
        ):
            return
        if self._tick is None or tick.epoch != self._tick.epoch:
            self._forget_targets()
        try:
            self._measured = self._robot.read(deserialize_message(joints, JointState), {
                name: deserialize_message(raw, PoseStamped) for name, raw in poses.items()
            }).measured
        except ConfigError:
            return  # other nodes report what is wrong with it
        self._tick = tick
        self.server.hub.on_tick(
            int(tick.epoch), int(tick.step), period_s=self._period(),
            lockstep=bool(self._world.lockstep),
        )

    def _period(self) -> float:
        """Return the time between ticks, s: the world's, or the robot's if the world has none."""
        rate = self._world.rate
        if rate <= 0.0 and self._embodiment is not None:
            rate = self._embodiment.rate_hz
        return 1.0 / rate if rate > 0.0 else 0.0


def _event(act: Act) -> OperatorEvent:
    """Return a page's request as an operator event."""
    return OperatorEvent(
        kind=EventKind[act.action.upper()], steps=act.steps, node_id=act.node,
        branch_id=act.branch, label=act.label, note=act.note, restore=act.restore,
        count=act.count, seed=act.seed, start=act.start,
    )
