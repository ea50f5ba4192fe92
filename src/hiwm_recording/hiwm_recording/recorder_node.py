"""The recorder: raw messages in, one audited bag per segment out.

Connects topics to `hiwm_core.bags.RecordingSession`. Messages stay serialized and are written as
received.
"""

import sys
import time
from collections.abc import Mapping

from hiwm_interfaces.msg import SegmentReport, WorldInfo
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from std_srvs.srv import Trigger

from hiwm_core.bags import (
    Lineage,
    RecordedTopic,
    RecordingSession,
    Role,
    Topic,
    needs_recovery,
    unfinished,
)
from hiwm_core.bags.finisher import BagFinisher, FinishedBag
from hiwm_core.bags.recover import session_bags
from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.frames import pose_stream
from hiwm_core.robot_config import load_robot
from hiwm_core.session_lineage import session_id
from hiwm_core.session_lock import RECORDER
from hiwm_core.tasks import load_task
from hiwm_nodes import qos
from hiwm_nodes.diagnostics import ERROR, OK, WARN, Diagnostics
from hiwm_nodes.listening import Listening
from hiwm_nodes.parameters import parameter
from hiwm_nodes.running import run
from hiwm_nodes.session import hold_role, session_folder
from hiwm_recording.topics import (
    SOURCES,
    RecorderInput,
    camera_sources,
    ground_truth_source,
    pose_sources,
)

# Seconds that closing waits for audits. An audit usually takes tenths of a second.
_AUDIT_WAIT_S = 60.0
# For the rest of the last tick's observation; its world may be dead.
_LAST_WAIT_S = 1.0
# Seconds to wait for more messages after the first. Those of a step arrive within milliseconds, its
# commands somewhat later. The queues hold far more than arrives in this time.
_GATHER_S = 0.05


class Recorder(Node):
    """Records a session's topics into segment bags under `<session_dir>/bags`."""

    def __init__(self) -> None:
        super().__init__("recorder")
        folder = session_folder(self, "Session folder; bags go into its bags folder")
        if folder is None:
            raise ConfigError(
                "no session_dir", where="parameter session_dir of recorder",
                remedy="give the session folder",
            )
        self._session_dir = folder
        hold_role(folder, RECORDER)
        task = load_task(parameter(
            self, "task", default_task(), "Name or path; the cameras of its embodiment are recorded"
        ))
        robot = str(parameter(
            self, "robot", "",
            "Name or path of the robot config whose ground truth is recorded, only as labels; "
            "empty = as world_info says",
        ))
        extra_cameras = parameter(
            self, "cameras", [""], "Cameras recorded in addition to the embodiment's"
        )
        flush_period_s = float(parameter(
            self, "flush_period_s", 1.0, "Seconds between flushes: what a kill may lose",
            0.05, 60.0,
        ))
        min_free_mb = int(parameter(
            self, "min_free_mb", 200, "Recording stops below this much free disk, MB", 0, 1_000_000
        ))
        seed = int(parameter(
            self, "seed", -1, "Seed of the session, written into each bag; -1 = none",
            -1, 2**62,
        ))
        self._bags_closed = 0
        self._bags_failed = 0
        self._inboxes: list[tuple[RecordedTopic, Subscription]] = []
        self._refusal = ""
        try:
            self._session = RecordingSession(
                self._session_dir,
                Lineage(session_id=session_id(self._session_dir), seed=seed),
                min_free_bytes=min_free_mb << 20, leaves_closing=True,
            )
        except OSError as error:
            raise ConfigError(
                f"cannot create {self._session_dir}/bags: {error.strerror}",
                where="parameter session_dir of recorder", remedy="give a writable folder",
            ) from error
        self._finisher = BagFinisher()
        self._reports = self.create_publisher(SegmentReport, "recording/segment", qos.HISTORY)
        self._diagnostics = Diagnostics(self, self._values)
        self._recover_earlier()

        self._listening = Listening(self)
        robot_of = load_embodiment(task.embodiment)
        cameras = [camera.name for camera in robot_of.cameras]
        cameras += [name for name in extra_cameras if name and name not in cameras]
        for source in (*SOURCES, *camera_sources(cameras), *pose_sources(robot_of.pose_names)):
            self._subscribe(source)
        if robot:
            self._subscribe_truth(robot)
        self.create_service(Trigger, "recording/close", self._on_close)
        # Flushing follows the steady clock: a paused simulation must not hold data back.
        self._timer = self.create_timer(
            flush_period_s, self._poll,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self.get_logger().info(f"recording into {self._session_dir}/bags")

    def close(self) -> None:
        """Close and audit the open bags."""
        # On a busy machine the queues may still hold many messages, and a world that ends at the
        # same time may have sent a tick whose image is on its way.
        self._receive([])
        until = time.monotonic() + _LAST_WAIT_S
        while self._session.awaits_observation and time.monotonic() < until:
            self._receive([])
        self._session.close_all()
        self._finish_closed()
        self._finisher.drain(_AUDIT_WAIT_S)
        self._publish_finished()
        self._finisher.close()

    # -- topics ----------------------------------------------------------------------------------

    def _subscribe(self, source: RecorderInput) -> None:
        name = self.resolve_topic_name(source.name)
        if any(topic.topic.name == name for topic, _ in self._inboxes):
            return
        topic = RecordedTopic(
            topic=Topic(name=name, message_type=source.message_type, latched=source.latched),
            role=source.role,
        )

        def receive(raw: bytes, information: Mapping[str, int]) -> None:
            self._receive([(_received_ns(information), topic, raw)])

        subscription = self.create_subscription(
            source.message, name, receive, source.qos, raw=True,
            # The default ones only log a QoS mismatch, and each adds an entity to the wait set.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )
        self._inboxes.append((topic, subscription))

    def _receive(self, arrived: list[tuple[int, RecordedTopic, bytes]]) -> None:
        """Handle the message that woke the executor together with the others of its step.

        Waking the executor costs several times as much as a message, and nothing waits for the
        recorder.
        """
        time.sleep(_GATHER_S)
        for topic, subscription in self._inboxes:
            handle = subscription.handle
            with handle:
                while (taken := handle.take_message(subscription.msg_type, True)) is not None:
                    arrived.append((_received_ns(taken[1]), topic, taken[0]))
        arrived.sort(key=lambda message: message[0])
        now = time.monotonic()
        for received_ns, topic, raw in arrived:
            self._session.receive(topic, raw, received_ns, now)
            if topic.role is Role.WORLD_INFO:
                self._follow_world(deserialize_message(raw, WorldInfo))

    def _follow_world(self, info: WorldInfo) -> None:
        """Subscribe to what a world has in addition to what the parameters name."""
        poses = [
            stream.removeprefix(pose_stream("")) for stream in info.streams
            if stream.startswith(pose_stream(""))
        ]
        for source in (*camera_sources(info.cameras), *pose_sources(poses)):
            self._subscribe(source)
        if info.robot:
            self._subscribe_truth(info.robot)
        self._listening.on_world(info)

    def _subscribe_truth(self, robot: str) -> None:
        try:
            topic = load_robot(robot).ground_truth
        except ConfigError as error:
            self.get_logger().warning(f"ground truth is not recorded: {error}")
            return
        if topic:
            self._subscribe(ground_truth_source(topic))

    # -- periodic work ---------------------------------------------------------------------------

    def _poll(self) -> None:
        self._session.poll(time.monotonic())
        self._finish_closed()
        self._publish_finished()
        refusal = self._session.refusal
        if refusal != self._refusal:
            if refusal:
                self.get_logger().error(refusal)
            else:
                self.get_logger().info("the disk has space again: recording continues")
                self._finisher.retry_broken()
            self._refusal = refusal
        if refusal:
            self._diagnostics.report(ERROR, refusal)
        elif self._bags_failed:
            self._diagnostics.report(WARN, f"{self._bags_failed} bags failed their audit")
        else:
            self._diagnostics.report(OK, "recording")

    def _finish_closed(self) -> None:
        for bag in self._session.take_closed():
            self._finisher.finish(bag.path, whole=bag.whole, close=bag.close)

    def _publish_finished(self) -> None:
        for bag in self._finisher.take_finished():
            self._publish(bag)

    def _publish(self, bag: FinishedBag) -> None:
        audit = bag.audit
        name = f"{bag.path.parent.name}/{bag.path.name}"
        if bag.error:
            self.get_logger().warning(bag.error)
        if bag.refused:
            self._session.refuse(bag.refused)
        if audit is None:
            return
        self._bags_closed += 1
        self._bags_failed += not audit.ok
        line = f"{name}: {audit.ticks} ticks, {audit.frames} frames, audit "
        # Two statements: rclpy refuses a changed severity at one call site.
        if audit.ok:
            self.get_logger().info(line + "ok")
        else:
            self.get_logger().warning(line + "failed: " + "; ".join(audit.problems))
        report = SegmentReport(
            path=name, episode_id=audit.episode_id, branch_id=audit.branch_id, ok=audit.ok,
            ticks=audit.ticks, frames=audit.frames, commands=audit.commands,
            frames_by_source=audit.frames_by_source, problems=audit.problems,
            bags_closed=self._bags_closed,
        )
        report.header.stamp = self.get_clock().now().to_msg()
        self._reports.publish(report)

    def _recover_earlier(self) -> None:
        """Recover the bags that a killed recorder of this session left open."""
        for bag in session_bags(self._session_dir):
            if needs_recovery(bag):
                self.get_logger().warning(f"{bag.name} was never closed; recovering it")
                self._finisher.finish(bag, whole=False)
            elif unfinished(bag):
                self._finisher.finish(bag, whole=True)

    def _on_close(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        before = self._bags_closed
        self._receive([])
        self._session.close_all()
        self._finish_closed()
        finished = self._finisher.drain(_AUDIT_WAIT_S)
        self._publish_finished()
        response.success = finished and not self._session.refusal
        response.message = (
            self._session.refusal or f"{self._bags_closed - before} bags closed and audited"
        )
        return response

    def _values(self) -> dict[str, object]:
        session = self._session
        return {
            "bag": session.current_bag, "messages_written": session.written,
            "messages_refused": session.refused, "messages_without_tick": session.unmatched,
            "messages_outside": session.outside, "bags_closed": self._bags_closed,
            "bags_failed": self._bags_failed,
        }


def _received_ns(information: Mapping[str, int]) -> int:
    """Return when the middleware received a message, system time in nanoseconds."""
    return int(information["received_timestamp"]) or time.time_ns()


def main() -> None:
    """Run the recorder."""
    sys.exit(run(Recorder, listener=True))
