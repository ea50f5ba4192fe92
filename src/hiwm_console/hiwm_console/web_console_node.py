"""The console node: connects the graph to the server of the page to watch and drive a session."""

import contextlib
import secrets
import socket
import sys
import time
import webbrowser
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from hiwm_interfaces.msg import BranchTree, ControlState, Tick, WorldInfo
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState

from hiwm_console.access import AccessRules, is_loopback
from hiwm_console.certificate import certificate_folder, server_context
from hiwm_console.graph_link import GraphLink
from hiwm_console.live_window import display_there
from hiwm_console.session_files import SessionFiles
from hiwm_console.views import Views
from hiwm_console.web_server import WebServer
from hiwm_core.frames import pose_stream
from hiwm_core.robot_config import load_robot
from hiwm_nodes import qos
from hiwm_nodes.diagnostics import Diagnostics
from hiwm_nodes.parameters import parameter
from hiwm_nodes.running import run
from hiwm_nodes.session import session_folder

# While nobody drives, messages gather for this long before they are processed. A viewer sees a tick
# later by at most this time, and the graph keeps the CPU.
_GATHER_S = 0.03
# Only the newest of each: nobody will see the older ones.
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
_NEWEST_IMAGE = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# Interval of the checks whether services have appeared or gone.
_SERVICES_S = 1.0
DEFAULT_PORT = 8642


class WebConsoleNode(Node):
    """Serves the console."""

    def __init__(self) -> None:
        """Start serving. Raises HiwmError if the port is in use."""
        super().__init__("web_console")
        folder = session_folder(self, "session folder: its tree and states")
        host = str(parameter(
            self, "host", "127.0.0.1", "address to serve on; a non-loopback address lets other "
            "machines look, and driving then needs a token"
        ))
        port = int(parameter(self, "port", DEFAULT_PORT, "TCP port; 0 = any free one", 0, 65535))
        token = str(parameter(
            self, "token", "", "token required to drive; empty: none, or a generated one if other "
            "machines, further hosts or further origins are allowed"
        ))
        hosts = _words(parameter(
            self, "hosts", "", "further host names of this machine, comma-separated"
        ))
        origins = _words(parameter(
            self, "origins", "", "further origins whose pages may connect, comma-separated"
        ))
        speed = float(parameter(
            self, "speed", 0.67, "speed at full deflection, fraction of each entry's limit",
            0.05, 1.0,
        ))
        demonstrations = bool(parameter(
            self, "demonstration", False,
            "record driving as demonstrations, unless the page specifies otherwise"
        ))
        https = bool(parameter(
            self, "https", False, "serve https, with a certificate made once for this machine"
        ))
        robot = str(parameter(
            self, "robot", "", "name or path of the robot's file, for its views; empty: none"
        ))
        self._robot = load_robot(robot) if robot else None
        opened = bool(parameter(self, "open", False, "open a browser if there is a display"))
        names = [socket.gethostname(), socket.getfqdn()]
        if not is_loopback(host):
            hosts += names
        rules = AccessRules(token=token, hosts=tuple(hosts), origins=tuple(origins))
        if rules.needs_token and not token:
            token = secrets.token_urlsafe(12)
            rules = replace(rules, token=token)
        session = SessionFiles(folder or Path())
        self._link = GraphLink(self, session, speed)
        self._server = WebServer(
            host=host, port=port, session=session, graph=self._link,
            rules=rules, demonstrations=demonstrations,
            log=lambda line: self.get_logger().warning(line),
            tls=server_context(certificate_folder(), ["localhost", *names]) if https else None,
        )
        self._link.server = self._server
        self._cameras: set[str] = set()
        self._viewing = False
        self._poses: set[str] = set()
        self._inbox: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._woken = False
        self._diagnostics = Diagnostics(self, self._values)
        self.create_subscription(WorldInfo, "world_info", self._on_world, qos.LATCHED)
        self.create_subscription(
            ControlState, "control_state",
            lambda message: self._hand(self._link.on_control, message), qos.LATCHED,
        )
        self.create_subscription(
            JointState, "joint_states", lambda raw: self._hand(self._link.on_joints, raw),
            _NEWEST, raw=True,
        )
        self.create_subscription(Tick, "tick", self._on_tick, _NEWEST, raw=True)
        self.create_subscription(
            BranchTree, "branches/tree", lambda raw: self._hand(self._link.on_tree, raw),
            qos.LATCHED, raw=True,
        )
        self.create_subscription(
            DiagnosticArray, "/diagnostics",
            lambda message: self._hand(self._link.on_health, message), 10,
        )
        self.create_timer(
            _SERVICES_S, lambda: self._hand(self._link.look_for_services),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        address = self._server.address + (f"#token={token}" if token else "")
        print(f"console: {address}", flush=True)
        if opened and display_there():
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(address)

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def _hand(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run a function on the server's thread, together with others already waiting."""
        self._inbox.append((function, arguments))
        if not self._woken:
            self._woken = True
            self._server.call(self._empty_inbox)

    def _empty_inbox(self) -> None:
        self._woken = False
        try:
            while self._inbox:
                function, arguments = self._inbox.popleft()
                function(*arguments)
        finally:
            if self._inbox:  # a function failed; the loop reports it
                self._server.call(self._empty_inbox)

    def _on_world(self, message: WorldInfo) -> None:
        if self._robot is not None and message.kind == "hardware" and not self._viewing:
            self._viewing = True
            self._link.views = Views(self._robot.views)
            for name, view in self._robot.views.items():
                self.create_subscription(
                    CompressedImage if view.compressed else Image, view.image,
                    lambda raw, name=name: self._hand(self._link.on_view, name, raw),
                    _NEWEST_IMAGE, raw=True,
                )
        self._hand(self._link.on_world, message)
        for stream in message.streams:
            name = stream.removeprefix(pose_stream(""))
            if name != stream and name not in self._poses:
                self._poses.add(name)
                self.create_subscription(
                    PoseStamped, stream,
                    lambda raw, name=name: self._hand(self._link.on_pose, name, raw),
                    _NEWEST, raw=True,
                )
        for camera, name in enumerate(message.cameras):
            if name not in self._cameras:
                self._cameras.add(name)
                self.create_subscription(
                    Image, f"cameras/{name}/image_raw",
                    lambda raw, camera=camera: self._hand(self._link.on_image, camera, raw),
                    _NEWEST_IMAGE, raw=True,
                )

    def _on_tick(self, raw: bytes) -> None:
        self._hand(self._link.on_tick, raw)
        if not self._server.hub.page_commands.holding:
            time.sleep(_GATHER_S)

    def _values(self) -> dict[str, object]:
        hub = self._server.hub
        return {
            "page": self._server.address, "connections": len(hub.clients),
            "driver": hub.seats.people.get(hub.seats.driver or -1, ""),
            "refused": hub.refusals.total,
        }


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def main() -> None:
    """Run the console until interrupted."""
    sys.exit(run(WebConsoleNode))


if __name__ == "__main__":
    main()
