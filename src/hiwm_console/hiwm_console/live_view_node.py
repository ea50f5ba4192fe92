"""The live view node: shows the world's current frame at a few frames a second.

It only subscribes. The picture goes to `live.png` in the session folder and, if there is a display,
to a window. To watch and drive in a browser, use the console.
"""

import sys
from collections import deque
from pathlib import Path

from hiwm_interfaces.msg import ControlState, Tick, WorldInfo
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from hiwm_console.live_picture import Shown, live_picture, png_bytes
from hiwm_console.live_window import LiveWindow, display_there
from hiwm_core.atomic_files import replace_file
from hiwm_core.control import Mode
from hiwm_core.errors import ConfigError
from hiwm_core.frames import camera_stream, image_array, stream_stamps
from hiwm_core.stamps import stamp_ns
from hiwm_nodes import qos
from hiwm_nodes.diagnostics import WARN, Diagnostics, RateMeter
from hiwm_nodes.drained import Drained, waiting
from hiwm_nodes.parameters import parameter
from hiwm_nodes.running import run
from hiwm_nodes.session import hold_role, session_folder

# The newest ticks and images that are kept until each other's partner comes.
_KEPT = 10
# Read when a picture is due: a view that took one message at a time would fall behind fast worlds,
# and its ticks and images would no longer meet.
_NEWEST_TICKS = QoSProfile(depth=_KEPT, reliability=ReliabilityPolicy.RELIABLE)
_NEWEST_IMAGES = QoSProfile(depth=_KEPT, reliability=ReliabilityPolicy.BEST_EFFORT)


class LiveViewNode(Node):
    """Shows the newest complete frame."""

    def __init__(self) -> None:
        """Open the window if there is a display."""
        super().__init__("live_view")
        session = session_folder(self, "folder of live.png; empty = no file")
        rate = parameter(self, "rate", 10.0, "maximum pictures per second", 0.1, 30.0)
        self._camera = str(parameter(self, "camera", "", "camera to show; empty = the first one"))
        window = bool(parameter(self, "window", True, "open a window if there is a display"))
        self._world = WorldInfo()
        self._control = ControlState()
        # Kept serialized: in a fast run most are never shown, so most are never deserialized.
        self._ticks: deque[bytes] = deque(maxlen=_KEPT)
        self._images: deque[bytes] = deque(maxlen=_KEPT)
        self._seen: tuple[Image, Tick] | None = None  # currently shown
        self._stale = False  # something changed since
        self._quiet = Drained()
        self._image_subscription: Subscription | None = None
        self._stream = ""  # the shown camera's, in ticks
        self._shown = RateMeter()
        self._diagnostics = Diagnostics(
            self, lambda: {"pictures_per_s": f"{self._shown.rate:.1f}"}
        )
        self._path: Path | None = None
        if session is not None:
            hold_role(session, "live_view")
            self._path = session / "live.png"
        self._window = self._open_window() if window and display_there() else None
        places = [str(self._path)] if self._path else []
        if self._window:
            places.append("a window")
        print(f"live view: {', '.join(places) or 'nowhere'}", flush=True)
        self.create_subscription(WorldInfo, "world_info", self._on_world_info, qos.LATCHED)
        self.create_subscription(ControlState, "control_state", self._on_control, qos.LATCHED)
        self._tick_subscription = self.create_subscription(
            Tick, "tick", lambda raw: None, _NEWEST_TICKS, callback_group=self._quiet, raw=True
        )
        # Steady clock: a paused /clock must not freeze the view.
        self.create_timer(1.0 / rate, self._show, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Show the last frame, and close the window."""
        self._show()
        if self._window:
            self._window.close()

    def _open_window(self) -> LiveWindow | None:
        try:
            return LiveWindow("hiwm live view")
        except RuntimeError as error:
            print(f"no window: {error}; open live.png instead", flush=True)
            return None

    def _on_world_info(self, message: WorldInfo) -> None:
        self._world = message
        camera = self._camera or (message.cameras[0] if message.cameras else "")
        if camera not in message.cameras:
            raise ConfigError(
                f"the world has no camera {camera!r}", where="parameter camera of live_view",
                remedy=f"use one of {', '.join(message.cameras) or '(none)'}",
            )
        self._stream = camera_stream(camera)
        if self._image_subscription is None:
            self._image_subscription = self.create_subscription(
                Image, f"cameras/{camera}/image_raw", lambda raw: None, _NEWEST_IMAGES,
                callback_group=self._quiet, raw=True,
            )

    def _on_control(self, message: ControlState) -> None:
        self._stale |= (message.mode, message.reason) != (self._control.mode, self._control.reason)
        self._control = message

    def _read(self) -> None:
        """Take the messages that have come."""
        for subscription, kept in (
            (self._tick_subscription, self._ticks), (self._image_subscription, self._images),
        ):
            for message in waiting(subscription, raw=True) if subscription is not None else ():
                kept.append(message)
                self._stale = True

    def _newest(self) -> tuple[Image, Tick] | None:
        """Return the newest image and tick with the same stamp; they arrive in either order."""
        ticks = {}
        for raw in self._ticks:
            tick = deserialize_message(raw, Tick)
            ticks[stream_stamps(tick).get(self._stream)] = tick
        for raw in reversed(self._images):
            image = deserialize_message(raw, Image)
            if (tick := ticks.get(stamp_ns(image.header.stamp))) is not None:
                return image, tick
        return self._seen

    def _show(self) -> None:
        if self._window:
            self._window.tend()
        self._read()
        if not self._stale:
            return
        self._stale = False
        self._seen = self._newest()
        if self._seen is None:
            return
        image, tick = self._seen
        control = self._control
        picture = live_picture(image_array(image), Shown(
            mode=Mode(control.mode), device=control.device, branch_id=tick.branch_id,
            step=tick.step, trust=tick.trust, progress=tick.progress,
            world=self._world.robot or self._world.kind, reason=control.reason,
        ))
        png = png_bytes(picture)
        if self._path:
            try:
                replace_file(self._path, png, durable=False)
            except OSError as error:
                self._diagnostics.report(WARN, f"live.png not written: {error}")
        if self._window:
            self._window.show(picture)
        self._shown.count()


def main() -> None:
    """Run the live view until interrupted."""
    sys.exit(run(LiveViewNode, listener=True))


if __name__ == "__main__":
    main()
