"""The hardware world: a robot's drivers below, the world contract above.

A lifecycle node. Configuring connects to the drivers and checks their messages. Only an active
bridge moves the robot. Deactivating holds. `bridge_core` makes all decisions.
"""

import functools
import time
import traceback
from collections.abc import Callable
from typing import Any

from hiwm_interfaces.msg import Command, WorldInfo
from hiwm_interfaces.srv import Reset
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError, DeviceError, HiwmError
from hiwm_core.named_values import named_values
from hiwm_core.robot_config import load_robot
from hiwm_core.session_lineage import EpisodeCounter, write_session
from hiwm_core.tasks import load_task
from hiwm_nodes import diagnostics, qos
from hiwm_nodes.listening import AwaitedListeners
from hiwm_nodes.only_one import WORLD, OnlyOne
from hiwm_nodes.parameters import parameter
from hiwm_nodes.robot_workspace import robot_workspace
from hiwm_nodes.running import run
from hiwm_nodes.session import hold_role, session_folder
from hiwm_robot.bridge_core import BridgeCore
from hiwm_robot.bridge_state import Answer, Phase, TickPlan
from hiwm_robot.episode_reset import EpisodeReset
from hiwm_robot.output_map import holds_last
from hiwm_robot.pairing import PairTimer
from hiwm_robot.problems import Problems
from hiwm_robot.readiness import Readiness
from hiwm_robot.refused_services import RefusedServices
from hiwm_robot.robot_outputs import RobotOutputs
from hiwm_robot.robot_side import RobotSide
from hiwm_robot.slow_drivers import SlowDrivers
from hiwm_robot.tick_rate import TickRate
from hiwm_robot.world_description import lineage, world_info
from hiwm_robot.world_side import WorldSide

# Period of age checks, and so the resolution of every timeout here.
POLL_S = 0.05
# Looking for other publishers on command topics reads the whole graph: once a second is enough to
# see a tool that was left running.
PUBLISHERS_S = 1.0
# A configured bridge has heard every driver; without data after this time, its stamps are unusable.
FIRST_DATA_S = 2.0
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


Transition = Callable[["RobotBridge", LifecycleState], TransitionCallbackReturn]


def _reported(transition: Transition) -> Transition:
    """Log what rclpy swallows: an exception in a transition."""

    @functools.wraps(transition)
    def run_transition(node: "RobotBridge", state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception:
            node.get_logger().error(traceback.format_exc())
            raise

    return run_transition


class RobotBridge(LifecycleNode):
    """Connects a robot's topics to the bridge's decisions."""

    def __init__(self) -> None:
        super().__init__("robot_bridge")
        self._robot = load_robot(parameter(self, "robot", "standin", "name or path of the robot"))
        self._task = load_task(parameter(self, "task", default_task(), "name or path of the task"))
        self._embodiment = load_embodiment(self._robot.embodiment)
        self._check_configs()
        self._lockstep = self._robot.lockstep or parameter(
            self, "lockstep", False, "the driver waits for commands, although its file has none"
        )
        self._autostart = parameter(self, "autostart", True, "configure and activate by itself")
        self._auto_reset = parameter(
            self, "auto_reset", True, "reset the scene on activation, if the robot can"
        )
        self._seed = parameter(self, "seed", 0, "first seed of sampled starts", 0, 2**31 - 1)
        self._connect_s = parameter(
            self, "connect_timeout_s", 3.0, "wait this long for each driver topic, s", 0.1, 60.0
        )
        self._slow_drivers = SlowDrivers(self.get_logger(), parameter(
            self, "drivers_start_s", 30.0, "drivers that start with the bridge, cameras above "
            "all, may take this long before their silence is an error, s", 0.0, 600.0
        ))
        reset_timeout_s = parameter(
            self, "reset_timeout_s", 10.0, "wait this long for the driver's reset, s", 0.5, 600.0
        )
        self._listeners = AwaitedListeners(self)
        self._note = Problems(self.get_logger(), self._report).note
        self._session = session_folder(self, "session folder; empty writes nothing")
        if self._session is not None:
            hold_role(self._session, "world")
        sender = OnlyOne(self, WORLD, self._session).sender
        self._counter = EpisodeCounter(self._session)
        epoch, episode = self._counter.read()
        # A reset waits for the driver, and must not block anything else.
        self._reset_group = ReentrantCallbackGroup()
        self._side = RobotSide(
            self, self._robot, self._embodiment, reliable=self._lockstep,
            on_image=self._on_image, note=self._note, reset_group=self._reset_group,
        )
        streams = self._side.streams
        self._outputs = RobotOutputs(
            self, self._robot, self._embodiment, lambda: streams.position, self._note,
            lockstep=self._lockstep,
        )
        self._readiness = Readiness(
            self, self._robot, self._outputs.topics, lockstep=self._lockstep,
            on_interlock=self._check_interlocks,
        )
        self._core = BridgeCore(
            embodiment=self._embodiment, streams=streams, lockstep=self._lockstep,
            stale_after_s=self._robot.stale_after_s, activation=self._robot.activation,
            holds_last=holds_last(self._robot, self._embodiment),
            epoch=epoch, episode=episode,
        )
        if not self._urdf_topic:
            self._core.workspace = robot_workspace(self, self._robot, self._embodiment, 0.0)
        self._by_camera = self._robot.pace == "camera"
        self._reset = EpisodeReset(
            self, self._robot, self._task, self._core, self._side, lockstep=self._lockstep,
            seed=self._seed, timeout_s=reset_timeout_s, activating=lambda: self._activating,
        )
        self._activating = self._autostart
        self._connected = False
        self._configured_at = time.monotonic()
        self._plan: TickPlan | None = None  # the present tick
        self._rate = diagnostics.RateMeter()
        self._answer_s = float("nan")
        self._world = WorldSide(self, self._embodiment, self._side, sender=sender)
        self._make_services()
        self._diagnostics = diagnostics.Diagnostics(self, self._values)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(POLL_S, self._on_poll, clock=steady)
        self.create_timer(PUBLISHERS_S, self._check_publishers, clock=steady)
        self._pairing = PairTimer(self, self._tick_if_due)
        if not self._by_camera:
            self.create_timer(1.0 / self._embodiment.rate_hz, self._tick_if_due, clock=steady)
        if self._autostart:
            self._start_timer = self.create_timer(0.2, self._on_autostart, clock=steady)

    @property
    def _urdf_topic(self) -> str:
        """Topic of the URDF of the workspace; empty if there is none."""
        return self._robot.workspace.urdf_topic if self._robot.workspace else ""

    def _check_configs(self) -> None:
        if self._task.embodiment != self._embodiment.name:
            raise ConfigError(
                f"task {self._task.name} is for {self._task.embodiment}, robot {self._robot.name} "
                f"is a {self._embodiment.name}", where="parameters task, robot",
                remedy="choose a task and a robot of one embodiment",
            )

    def _make_services(self) -> None:
        self._info_pub = self.create_publisher(WorldInfo, "world_info", qos.LATCHED)
        self.create_subscription(Command, "command", self._on_command, qos.COMMAND)
        self.create_service(
            Reset, "world/reset", self._on_reset, callback_group=self._reset_group
        )
        self._tick_rate = TickRate(
            self, self._robot.name, self._core, self._embodiment.rate_hz, lockstep=self._lockstep,
            on_change=self._publish_info,
        )
        RefusedServices(self, self._robot.name, self._core.state)
        self.create_service(Trigger, "world/rearm", self._on_rearm)

    # Lifecycle

    @_reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Connect to the drivers and check their messages."""
        try:
            self._side.check(self._connect_s)
            if self._urdf_topic and self._core.workspace is None:
                self._core.workspace = robot_workspace(
                    self, self._robot, self._embodiment, self._connect_s
                )
            if self._session is not None:
                write_session(self._session, lineage(
                    self._session, self._robot, self._embodiment, self._task, seed=self._seed,
                    lockstep=self._lockstep,
                ))
        except DeviceError as error:
            if not (self._autostart and self._slow_drivers.wait(error.what, self._diagnostics)):
                self._note("configure", f"not configured: {error}")
            return FAILURE
        except HiwmError as error:
            self._note("configure", f"not configured: {error}")
            return FAILURE
        self._note("configure", "")
        self._slow_drivers.heard(self._diagnostics)
        if not self._connected:
            self._connected = True
            self._side.connect()
            self._outputs.connect()
            self._readiness.connect()
        self._configured_at = time.monotonic()
        self._publish_info()
        return super().on_configure(state)

    @_reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the robot and start an episode; from now on commands move it."""
        self._side.take_states()
        streams = self._side.streams
        problem = (
            self._readiness.enable(streams.stamps()) if streams.complete
            else streams.stale_reason(time.monotonic(), 0.0) or "no data from the drivers yet"
        )
        self._note("activate", f"not activated: {problem}" if problem else "")
        if problem:
            return FAILURE
        result = super().on_activate(state)
        self._core.start(time.monotonic())
        self._outputs.start()
        if self._auto_reset and self._robot.reset_service:
            self._core.begin_reset()
            assert self.executor is not None
            self.executor.create_task(self._first_reset())
        self.get_logger().info(f"active: {self._robot.name} follows commands")
        return result

    @_reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold the arms where they are, and send nothing more."""
        self._stop_moving()
        self._note("deactivate", self._readiness.disable())
        self.get_logger().info(f"inactive: {self._robot.name} holds")
        return super().on_deactivate(state)

    @_reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold, as on deactivation."""
        self._stop_moving()
        return super().on_shutdown(state)

    def close(self) -> None:
        """Hold the robot before the process exits."""
        self._stop_moving()

    def _stop_moving(self) -> None:
        self._outputs.stop(self._core.stop())
        self._note("stopped", "")

    def _on_autostart(self) -> None:
        name = self._state_machine.current_state[1]
        if name == "unconfigured":
            self.trigger_configure()
            return
        if name == "inactive":
            self._side.take_states()
            if not self._listeners.complete(self._world.ticks):
                return
            waited = time.monotonic() - self._configured_at > FIRST_DATA_S
            # Tried again: data is on its way, or a person is switching a controller.
            if not (self._side.streams.complete or waited) or self.trigger_activate() != SUCCESS:
                return
        self._activating = False
        self._start_timer.cancel()

    # Observations

    def _on_image(self) -> None:
        if self._by_camera:
            self._tick_if_due()

    def _tick_if_due(self) -> None:
        self._side.take_states()
        now = time.monotonic()
        clock_ns = None if self._by_camera else self.get_clock().now().nanoseconds
        if not self._core.due(now, clock_ns):
            self._pairing.wait(self._core.expected(now, clock_ns))
            return
        self._pairing.wait(False)
        plan = self._plan = self._core.tick(now, clock_ns)
        if plan.hold is not None:
            self._outputs.hold(plan.hold)
        self._world.publish(plan)
        self._rate.count()
        if plan.shifted:
            self.get_logger().warning(
                "the driver's clock was set back; stamps continue from the last one"
            )
        if plan.applied is None:
            self._counter.write(plan.epoch, plan.episode)
        self._reset.poll()

    # Commands

    def _on_command(self, message: Command) -> None:
        now = time.monotonic()
        answer = self._core.command(
            epoch=message.epoch, step=message.step, action=message.action, source=message.source,
            device=message.device, now=now,
        )
        if answer.dropped:
            return
        self._answer_s = now - self._core.state.tick_wall
        self._send(answer)
        self._note("command", answer.fault)

    def _send(self, answer: Answer) -> None:
        if answer.send is None:
            return
        if answer.holds:
            self._outputs.hold(answer.send)
        else:
            self._outputs.target(answer.send, 1.0 / self._core.rate)

    def _trip(self, reason: str) -> None:
        """Stop the robot until a person re-arms it, if it may move."""
        hold = self._core.trip(reason)
        if hold is not None:
            self._outputs.hold(hold)
        if self._core.state.tripped:
            self._note("stopped", f"stopped: {self._core.state.tripped}; then call world/rearm")

    def _check_interlocks(self) -> None:
        if problem := self._readiness.interlock_problem():
            self._trip(problem)

    def _check_publishers(self) -> None:
        moving = self._core.state.phase not in (Phase.INACTIVE, Phase.STOPPED)
        if moving and (problem := self._readiness.publisher_problem()):
            self._trip(problem)

    def _on_poll(self) -> None:
        if self._by_camera:
            self._tick_if_due()
        self._check_interlocks()
        self._send(self._core.poll(time.monotonic()))
        if self._lockstep:
            self._repeat_for_late_subscribers()
        stale = self._core.state.stale
        self._note("streams", f"holding: {stale}; ticks resume with the data" if stale else "")
        self._reset.poll()

    def _repeat_for_late_subscribers(self) -> None:
        """Publish the tick that waits again; without lock-step, none waits."""
        if self._world.late.joined() and self._plan is not None and self._core.waits_for_command:
            self._world.publish(self._plan, again=True)

    # Services

    async def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        try:
            values = named_values(
                request.start_names, request.start_values, "start of world/reset"
            )
            problem = await self._reset.reset(
                values, int(request.seed), request.start, by_hand=request.by_hand
            )
        except ConfigError as error:
            problem = str(error)
        response.ok = not problem
        response.message = problem
        response.epoch = self._core.state.epoch
        response.episode_id = self._world.episode_id
        return response

    def _on_rearm(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        stopped = self._core.state.phase is Phase.STOPPED
        problem = self._readiness.enable(self._side.streams.stamps()) if stopped else ""
        problem = problem or self._core.rearm(time.monotonic())
        if not problem:
            self._note("stopped", "")
        response.success = not problem
        response.message = problem or "a new epoch starts with the next observation"
        return response

    async def _first_reset(self) -> None:
        problem = await self._reset.place({}, -1)
        if problem:
            self.get_logger().error(f"reset at start failed: {problem}")

    # Reports

    def _publish_info(self) -> None:
        info = world_info(
            self._session, self._robot, self._embodiment, self._task,
            rate=self._tick_rate.in_force, lockstep=self._lockstep,
        )
        info.header.stamp = self.get_clock().now().to_msg()
        self._info_pub.publish(info)

    def _report(self, worst: str) -> None:
        level = diagnostics.ERROR if worst else diagnostics.OK
        self._diagnostics.report(level, worst or "running")

    def _values(self) -> dict[str, Any]:
        now = time.monotonic()
        state = self._core.state
        ages = self._side.streams.ages(now)
        return {
            "phase": state.phase.name.lower(), "epoch": state.epoch, "step": state.step,
            "ticks_per_s": f"{self._rate.rate:.1f}", "answer_ms": f"{self._answer_s * 1e3:.1f}",
            **{f"{name} age_s": f"{age:.3f}" for name, age in ages.items()}, **state.counts,
            **self._outputs.grippers,
        }


def main() -> None:
    """Run the bridge."""
    raise SystemExit(run(RobotBridge))
