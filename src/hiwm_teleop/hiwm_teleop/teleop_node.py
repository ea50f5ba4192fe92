"""The teleop node: passes observations to a device, publishes its commands, sends its requests."""

import array
import math
import sys
import time

from hiwm_interfaces.msg import ControlState, OperatorCommand, Tick, WorldInfo
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Joy

from hiwm_core.control import Mode, Source
from hiwm_core.embodiment import parse_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.frames import Observation
from hiwm_core.tasks import parse_task
from hiwm_core.tips import TipStep
from hiwm_nodes import qos
from hiwm_nodes.diagnostics import ERROR, OK, WARN, Diagnostics, RateMeter
from hiwm_nodes.listening import Listening
from hiwm_nodes.messages import time_message
from hiwm_nodes.observation_feed import ObservationFeed
from hiwm_nodes.parameters import parameter
from hiwm_nodes.running import NodeEnd, run
from hiwm_teleop.devices.base import (
    Answer,
    EventKind,
    JoySample,
    OperatorEvent,
    OperatorInput,
    OperatorView,
    TickView,
    WorldView,
)
from hiwm_teleop.devices.registry import device_class
from hiwm_teleop.leash import LeashedTargets
from hiwm_teleop.service_requests import ServiceRequests
from hiwm_teleop.takeover import BlendIn, TakeoverTimes

# Stream devices are read and published at least this often, and whenever they signal new input.
# Synchronous devices are read at the same rate.
_READ_HZ = 20.0
# A timer this late means that the node was blocked. It processes its queues first, so that a
# driver that kept publishing is not taken for a silent one.
_HELD_UP_S = 0.1
# Driver messages closer to the last one that was read are read with the next, or by the next timer.
_JOY_GAP_S = 0.005
# A synchronous command is repeated after this time, so that the arbiter does not take the operator
# for lost while the world is slow (its timeout is 0.5 s).
_REPEAT_S = 0.15
# A motion takes the time since the last one, within these: an arm must not jump to catch up.
_SHORTEST_S, _LONGEST_S = 1e-3, 0.1
_PROGRESS_S = 3.0
# Loading a world model takes a while, and the message does not change meanwhile.
_WAITING_S = 10.0
# The arbiter logs these itself.
_ARBITER_SAYS = (EventKind.START, EventKind.PAUSE, EventKind.STOP, EventKind.CLEAR_STOP)


class TeleopNode(Node):
    """Connects one operator device to the graph."""

    def __init__(self) -> None:
        """Open the device. Raises DeviceError or ConfigError if it cannot be opened."""
        super().__init__("teleop")
        name = str(parameter(self, "device", "keyboard", "operator device, by name"))
        self._demonstration = bool(parameter(
            self, "demonstration", False, "commands are demonstrations, not interventions"
        ))
        parameter(self, "session_dir", "", "session folder, for devices that keep files")
        kind = device_class(name)
        options = {
            key: parameter(self, key, option.default, option.description, option.lower,
                           option.upper)
            for key, option in kind.OPTIONS.items()
        }
        if "device_file" not in kind.OPTIONS:
            _refuse_device_file(self, name)
        self._device = kind(options)
        self._world: WorldView | None = None
        self._feed: ObservationFeed | None = None
        self._leash: LeashedTargets | None = None
        self._tick: TickView | None = None
        self._control = ControlState()
        self._answers: list[Answer] = []
        self._joy: dict[str, JoySample] = {}
        self._joy_read_at = 0.0
        self._turned_at = 0.0
        self._blend = BlendIn()
        self._takeover_times = TakeoverTimes()
        self._sent: tuple[object, ...] = ()
        self._sent_at = 0.0
        self._moved_at = 0.0
        self._steering = ""
        self._deadman = False
        self._leaving: OperatorEvent | None = None
        self._ticks = 0
        self._said_at = time.monotonic()
        self._rate = RateMeter()
        self._publisher = self.create_publisher(OperatorCommand, "operator/command", qos.COMMAND)
        self._requests = ServiceRequests(self, self._on_answer)
        self._listening = Listening(self)
        self.create_subscription(WorldInfo, "world_info", self._on_world_info, qos.LATCHED)
        self.create_subscription(Tick, "tick", self._on_tick, qos.TICK)
        self.create_subscription(ControlState, "control_state", self._on_control, qos.LATCHED)
        for topic in self._device.joy_topics:
            self.create_subscription(
                Joy, topic, lambda joy, topic=topic: self._on_joy(topic, joy), qos.SENSOR
            )
        self._diagnostics = Diagnostics(self, self._diagnostic_values)
        self._device.on_news = self.create_guard_condition(self._read).trigger
        self._device.open()
        self.create_timer(
            1.0 / _READ_HZ, self._on_time, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def close(self) -> None:
        """Close the device."""
        self._device.close()

    # Input from the graph.

    def _on_world_info(self, message: WorldInfo) -> None:
        known = self._world is not None and (
            message.embodiment_hash == self._world.embodiment.hash
            and message.task_hash == self._world.task.hash
        )
        if not known:
            self._meet(message)
        self._listening.on_world(message)

    def _meet(self, message: WorldInfo) -> None:
        """Start with a world, or with one of another embodiment or task."""
        embodiment = parse_embodiment(message.embodiment_yaml, "world_info")
        self._world = WorldView(
            kind=message.kind, robot=message.robot, can_restore=message.can_restore,
            can_fork=message.can_fork, auto_reset=message.auto_reset, embodiment=embodiment,
            task=parse_task(message.task_yaml, "world_info"),
        )
        self._leash = LeashedTargets(embodiment)
        if self._feed is not None:
            self._feed.close()
        self._feed = ObservationFeed(self, embodiment, self._on_observation)

    def _on_tick(self, message: Tick) -> None:
        if self._feed is not None:
            self._feed.tick(message)

    def _on_joy(self, topic: str, message: Joy) -> None:
        now = time.monotonic()
        self._joy[topic] = JoySample(
            axes=tuple(message.axes), buttons=tuple(message.buttons), received_s=now
        )
        if now - self._joy_read_at >= _JOY_GAP_S:
            self._joy_read_at = now
            self._read()

    def _on_observation(self, seen: Observation) -> None:
        if self._world is None or self._leash is None:
            return
        if self._tick is None or self._tick.epoch != seen.epoch:
            self._leash.forget()
        self._tick = TickView(
            stamp_ns=seen.stamp_ns, epoch=seen.epoch, step=seen.step, episode_id=seen.episode_id,
            branch_id=seen.branch_id, applied_source=Source(seen.applied_source),
            trust=seen.trust, progress=seen.progress, success=seen.success, images=seen.images,
            measured=seen.measured,
            applied=seen.applied_action,
        )
        of_person = seen.applied_source in (Source.HUMAN, Source.DEMONSTRATION)
        self._takeover_times.frame(
            of_person and seen.applied_device == self._device.name, time.monotonic()
        )
        self._ticks += 1
        self._rate.count()
        if self._device.synchronous:
            self._read()

    def _on_control(self, message: ControlState) -> None:
        changed = message.mode != self._control.mode
        self._control = message
        if changed and self._device.synchronous:
            self._read()

    def _on_answer(self, answer: Answer) -> None:
        self._answers.append(answer)
        if not answer.ok or (answer.message and answer.kind not in _ARBITER_SAYS):
            refused = "" if answer.ok else "refused: "
            self._say(f"{answer.kind.value}: {refused}{answer.message}")

    def _on_time(self) -> None:
        self._requests.pump()
        if self._leaving is not None and self._requests.idle:
            raise NodeEnd(self._leaving.exit_code)
        now = time.monotonic()
        held_up, self._turned_at = now - self._turned_at > _HELD_UP_S, now
        if not held_up:
            self._read()
        self._show_progress()

    # Input from the operator.

    def _read(self) -> None:
        """Read the device, and once more after answers: its next step may be possible already."""
        while True:
            answers, self._answers = tuple(self._answers), []
            self._take(self._device.read(self._view(answers)))
            if not answers and not self._answers:
                return

    def _view(self, answers: tuple[Answer, ...]) -> OperatorView:
        return OperatorView(
            now_s=time.monotonic(), world=self._world, tick=self._tick,
            mode=Mode(self._control.mode), reason=self._control.reason,
            takeovers=self._control.takeovers, answers=answers, joy=self._joy,
        )

    def _take(self, done: OperatorInput) -> None:
        if done.message:
            self._say(done.message)
        note = "" if done.silent else self._publish(done)
        self._steering = done.steering
        if done.problem:
            self._diagnostics.report(ERROR, done.problem)
        else:
            self._diagnostics.report(WARN if note else OK, note or "running")
        for event in done.events:
            if event.kind is EventKind.QUIT:
                self._leaving = event
            elif self._leaving is None:
                self._requests.ask(self._device.request(event, self._world))

    def _publish(self, done: OperatorInput) -> str:
        """Send a command; return what keeps the arms from where they are moved, as text."""
        tick, leash, world = self._tick, self._leash, self._world
        if tick is None or leash is None or world is None:
            return ""
        now = time.monotonic()
        mine = self._control.mode == Mode.HUMAN and self._control.device == self._device.name
        if not (done.deadman and mine):
            leash.forget()
        self._takeover_times.deadman(done.deadman, mine, now)
        self._deadman = done.deadman
        action = done.action
        scale = self._blend.scale(now, done.deadman and mine)
        if done.delta is not None:
            seconds = min(max(now - self._moved_at, _SHORTEST_S), _LONGEST_S)
            self._moved_at = now
            action = leash.move(
                scale * done.delta, tick.measured, tick.applied, fixed=done.action,
                tips={
                    arm: TipStep(displacement=scale * step.displacement, frame=step.frame)
                    for arm, step in done.tips.items()
                }, seconds=seconds,
            )
        key = (tick.epoch, tick.step, done.deadman, action is None)
        if self._device.synchronous and key == self._sent and now - self._sent_at < _REPEAT_S:
            return leash.note
        self._sent, self._sent_at = key, now
        message = OperatorCommand(
            epoch=tick.epoch, step=tick.step, device=self._device.name, deadman=done.deadman,
            synchronous=self._device.synchronous, demonstration=self._demonstration,
            action=array.array("d", [] if action is None else action), note=leash.note,
        )
        message.header.stamp = time_message(tick.stamp_ns)
        message.header.frame_id = world.embodiment.frame
        self._publisher.publish(message)
        return leash.note

    # Log lines and diagnostics.

    def _say(self, line: str) -> None:
        self._said_at = time.monotonic()
        if not self._device.shows_status:
            print(line, flush=True)

    def _show_progress(self) -> None:
        tick = self._tick
        if time.monotonic() - self._said_at < (_PROGRESS_S if tick else _WAITING_S):
            return
        if tick is None:
            self._say("waiting for the world")
            return
        self._say(
            f"{self._ticks} ticks, {self._rate.rate:.1f} per second, "
            f"{Mode(self._control.mode).name}, {tick.branch_id} step {tick.step}"
            + ("" if math.isnan(tick.trust) else f", trust {tick.trust:.2f}")
        )

    def _diagnostic_values(self) -> dict[str, object]:
        return {
            "device": self._device.name, "deadman": self._deadman, "steering": self._steering,
            "ticks_per_s": f"{self._rate.rate:.1f}",
            "observations_dropped": self._feed.dropped if self._feed else 0,
            "takeover_to_frame_p50_s": f"{self._takeover_times.quantile(0.5):.3f}",
            "takeover_to_frame_p95_s": f"{self._takeover_times.quantile(0.95):.3f}",
        }


def _refuse_device_file(node: Node, device: str) -> None:
    """Raise ConfigError if a file is given to a device that has none: it is a mistake."""
    file = str(parameter(node, "device_file", "", "for devices with a file in config/devices"))
    if file:
        raise ConfigError(
            f"device {device!r} reads no device file, and {file!r} was given",
            where="parameter device_file of teleop",
            remedy="leave it out, or choose the file's device",
        )


def main() -> None:
    """Run the teleop node until its operator quits."""
    sys.exit(run(TeleopNode))


if __name__ == "__main__":
    main()
