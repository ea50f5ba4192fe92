"""The imagination node: a learned world model behind the world contract.

It runs in lock-step: a tick waits for its command, so results do not depend on the machine's speed.
"""

import contextlib
import sys
import time
from collections import deque

import numpy as np
import torch
from hiwm_interfaces.msg import Command, WorldInfo
from hiwm_interfaces.srv import (
    ContinueState,
    ControlRequest,
    Reset,
    RestoreState,
    SaveState,
    SetRate,
)
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from hiwm_core.blob_store import BlobStore
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError, HiwmError, ServerError, StoreError, WireError
from hiwm_core.named_values import named_values
from hiwm_core.session_lineage import EpisodeCounter, write_session
from hiwm_nodes import diagnostics, qos
from hiwm_nodes.listening import AwaitedListeners
from hiwm_nodes.messages import time_message
from hiwm_nodes.only_one import WORLD, OnlyOne
from hiwm_nodes.running import run
from hiwm_nodes.session import hold_role, session_folder
from hiwm_world.check_view import PICTURE, StartCheck
from hiwm_world.continuation_service import ContinuationService, continuation_message
from hiwm_world.continuations import ContinuationSpec
from hiwm_world.episode_starts import EpisodeStarts
from hiwm_world.imagination_settings import MAX_RATE, ImaginationSettings
from hiwm_world.imagined_world import ImaginedWorld, PresentTick, load_starts
from hiwm_world.loaded_model import loaded_model
from hiwm_world.observation_publishers import ObservationPublishers
from hiwm_world.tick_priority import TickPriority
from hiwm_world.world_description import lineage, world_info

# Period of three checks: for the nodes that the first tick waits for, for late subscribers, which
# missed the waiting tick, and for free space on a full disk.
LISTEN_S = 0.1
SAVES_KEPT = 1000  # for the quantiles in diagnostics


class Imagination(Node):
    """Wires a world model to the graph."""

    def __init__(self) -> None:
        super().__init__("imagination")
        settings = ImaginationSettings.declared(self)
        self._task = settings.task
        self._set_rate(settings.rate)
        self._listeners = AwaitedListeners(self)
        self._session = session_folder(self, "session folder; empty saves nothing")
        if self._session is not None:
            hold_role(self._session, "world")
        self._sender = OnlyOne(self, WORLD, self._session).sender
        torch.set_num_threads(settings.threads)
        self._embodiment = load_embodiment(self._task.embodiment)
        simulator, checkpoint = loaded_model(self, settings, self._embodiment)
        self._checkpoint_hash = checkpoint.hash
        self._heads = sorted(simulator.heads)
        self._can_restore = simulator.can_restore
        self._cameras = [self._embodiment.camera(name) for name in simulator.cameras]
        store = BlobStore(self._session / "states") if self._session else None
        known = load_starts(settings.starts, self._task)
        self._world = ImaginedWorld(
            simulator, known, store, EpisodeCounter(self._session), checkpoint.hash, settings.seed,
            checkpoint.info.earlier_hashes,
        )
        self._starts = EpisodeStarts(
            self, settings, self._world, self._embodiment, StartCheck(simulator, known),
            picture=self._session / PICTURE if self._session else None,
        )
        if self._session:
            write_session(self._session, lineage(
                self._session, self._embodiment, self._task, heads=self._heads,
                checkpoint_hash=checkpoint.hash, seed=settings.seed,
            ))
        self._dropped = 0
        self._fault = ""
        self._step_s = float("nan")
        self._save_s: deque[float] = deque(maxlen=SAVES_KEPT)
        self._store = store
        self._meter = diagnostics.RateMeter()
        self._last_tick = 0.0  # steady clock
        self._last_stamp_ns = 0
        self._waiting: PresentTick | None = None  # computed, not due yet
        # Its step could not be saved, or the model's server did not answer; it is tried again.
        self._untaken: Command | None = None
        self._started = False
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        # Its callback awaits the policy, and must not block others.
        self._awaiting = ReentrantCallbackGroup()
        self._priority = TickPriority()
        self._continuations = ContinuationService(
            self, self._awaiting, simulator, self._embodiment.action_dim, self._priority
        )
        self._make_interfaces()
        self._diagnostics = diagnostics.Diagnostics(self, self._values)
        self._publish_info()
        self._starts.begin("", {}, -1)
        self.create_timer(LISTEN_S, self._on_listen, clock=self._steady)
        self.get_logger().info(
            f"imagining {self._task.name} with {checkpoint.label}, "
            + (f"{self._rate:g} ticks/s" if self._rate else "as fast as commands arrive")
        )
        if "success" not in self._heads:
            self.get_logger().warning(
                "the world model's success head was never trained: ticks report no success"
            )

    def _make_interfaces(self) -> None:
        self._shown = ObservationPublishers(self, self._embodiment, self._cameras, self._sender)
        self._info_pub = self.create_publisher(WorldInfo, "world_info", qos.LATCHED)
        self._arbiter = self.create_client(ControlRequest, "control/request")
        self._asked: Future | None = None  # the last pause
        self.create_subscription(Command, "command", self._on_command, qos.COMMAND)
        self.create_service(Reset, "world/reset", self._on_reset)
        self.create_service(SaveState, "world/save_state", self._on_save)
        self.create_service(RestoreState, "world/restore_state", self._on_restore)
        self.create_service(SetRate, "world/set_rate", self._on_set_rate)
        self.create_service(
            ContinueState, "world/continue_state", self._on_continue,
            callback_group=self._awaiting,
        )
        # One-shot: armed by a step that is not due yet.
        self._pace = self.create_timer(1.0, self._on_pace, clock=self._steady)
        self._pace.cancel()

    def _publish_info(self) -> None:
        info = world_info(
            self._session, self._embodiment, self._task, rate=self._rate, cameras=self._cameras,
            heads=self._heads, checkpoint_hash=self._checkpoint_hash,
            can_restore=self._can_restore,
        )
        info.header.stamp = self.get_clock().now().to_msg()
        self._info_pub.publish(info)

    def _set_rate(self, rate: float) -> None:
        self._rate = rate
        self._period = 1.0 / rate if rate else 0.0

    # Steps

    def _on_command(self, message: Command) -> None:
        if self._waiting is not None or not self._world.expects(message.epoch, message.step):
            self._dropped += 1
            return
        started = time.perf_counter()
        try:
            with self._priority.tick():
                present = self._world.step(
                    np.array(message.action), int(message.source), message.device
                )
        except (StoreError, ServerError, WireError) as error:
            # The present tick stays; the command is retried until there is space, or a server.
            if self._untaken is None and not isinstance(error, StoreError):
                self._pause(str(error))
            self._untaken = message
            self._diagnostics.report(diagnostics.ERROR, str(error))
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
            return
        self._step_s = time.perf_counter() - started
        self._untaken = None
        self._report(self._world.fault)
        if self._store is not None:
            self._save_s.append(self._store.last_put.seconds)
        left = self._last_tick + self._period - time.monotonic()
        if left <= 0.0:
            self._show(present)
            return
        self._waiting = present
        self._pace.timer_period_ns = int(left * 1e9)
        self._pace.reset()

    def _pause(self, reason: str) -> None:
        """Pause the session: what comes after an outage is a person's decision."""
        if self._arbiter.service_is_ready():
            if self._asked is not None:  # forgotten, answered or not
                self._arbiter.remove_pending_request(self._asked)
            self._asked = self._arbiter.call_async(
                ControlRequest.Request(request=ControlRequest.Request.PAUSE, reason=reason)
            )

    def _report(self, fault: str) -> None:
        """Say why an action was refused, as the robot bridge does."""
        if fault and fault != self._fault:
            self.get_logger().error(fault)
        self._fault = fault
        level = diagnostics.ERROR if fault else diagnostics.OK
        self._diagnostics.report(level, fault or "running")

    def _on_pace(self) -> None:
        self._pace.cancel()
        if self._waiting is not None:
            self._show(self._waiting)

    def _show(self, present: PresentTick) -> None:
        """Publish an observation under a new stamp, the tick last.

        Before the first tick, a reset or a restored state only changes what that tick will show.
        """
        if not self._started:
            return
        self._waiting = self._untaken = None
        self._pace.cancel()
        now = self.get_clock().now().nanoseconds
        self._last_stamp_ns = max(now, self._last_stamp_ns + 1)
        self._last_tick = time.monotonic()
        self._meter.count()
        self._shown.publish(present, time_message(self._last_stamp_ns))

    def _on_listen(self) -> None:
        """Show the first tick, or publish the waiting one again, with its stamp, for who joined."""
        joined, present = self._shown.late.joined(), self._world.now
        if not self._started:
            if present is not None and self._listeners.complete(self._shown.ticks):
                self._started = True
                self._show(present)
        elif joined and present is not None and not self._waiting:
            self._shown.publish(present, time_message(self._last_stamp_ns))
        if self._untaken is not None:
            self._on_command(self._untaken)

    # Services

    def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        where = "start of world/reset"
        try:
            values = named_values(request.start_names, request.start_values, where)
            problem = self._task.start_problem(values) if values else ""
            if problem:
                raise ConfigError(
                    problem, where=where, remedy="correct it, or give a name or a seed"
                )
            if request.by_hand:
                raise ConfigError(
                    "an imagined scene cannot be reset by hand", where="world/reset",
                    remedy="omit by_hand: the world starts from one of its recorded frames",
                )
            present = self._starts.begin(request.start, values, int(request.seed))
        except HiwmError as error:
            response.message = str(error)
            return response
        self._continuations.cancel("the world was reset")
        self._show(present)
        response.ok = True
        response.epoch = present.epoch
        response.episode_id = present.episode_id
        response.state_id = present.state_id
        return response

    def _on_save(
        self, request: SaveState.Request, response: SaveState.Response
    ) -> SaveState.Response:
        try:
            present = self._world.pin(request.note)
        except HiwmError as error:
            response.message = str(error)
            return response
        response.ok = True
        response.state_id = present.state_id
        response.epoch, response.step = present.epoch, present.step
        return response

    def _on_restore(
        self, request: RestoreState.Request, response: RestoreState.Response
    ) -> RestoreState.Response:
        try:
            with self._priority.tick():
                present = self._world.restore(
                    request.state_id, request.branch_id, request.episode_id
                )
        except HiwmError as error:
            response.message = str(error)
            return response
        self._continuations.cancel("the world moved to another state")
        self._show(present)
        response.ok = True
        response.epoch, response.step = present.epoch, present.step
        return response

    async def _on_continue(
        self, request: ContinueState.Request, response: ContinueState.Response
    ) -> ContinueState.Response:
        spec = ContinuationSpec(
            count=request.count, steps=request.steps, seed=request.seed, frames=request.frames
        )
        camera = self._cameras[0]
        try:
            spec.check(camera.height * camera.width * 3)
            found = await self._continuations.serve(self._world.state(request.state_id), spec)
        except HiwmError as error:
            response.message = str(error)
            return response
        response.ok = True
        response.continuations = [continuation_message(one, camera.name) for one in found]
        return response

    def _on_set_rate(
        self, request: SetRate.Request, response: SetRate.Response
    ) -> SetRate.Response:
        response.ok = bool(0.0 <= request.rate <= MAX_RATE)
        if response.ok:
            self._set_rate(request.rate)
            self._publish_info()
        else:
            response.message = f"rate {request.rate}: use 0 (flat out) to {MAX_RATE:g} ticks/s"
        response.rate = self._rate
        return response

    def _values(self) -> dict[str, object]:
        present = self._world.now
        stamp_age = (self.get_clock().now().nanoseconds - self._last_stamp_ns) / 1e9
        saves = self._save_s or [float("nan")]
        save_p50, save_p99 = np.quantile(saves, (0.5, 0.99))
        return {
            "ticks_per_s": f"{self._meter.rate:.1f}", "step_s": f"{self._step_s:.4f}",
            "save_p50_s": f"{save_p50:.5f}", "save_p99_s": f"{save_p99:.5f}",
            "tick_age_s": f"{stamp_age:.2f}",
            "commands_dropped": self._dropped, "actions_held": self._world.holds,
            "trust": f"{present.observation.trust:.3f}"
            if present and "trust" in self._heads else "",
        }

    def close(self) -> None:
        """Cancel running continuations, and close the store."""
        self._continuations.close()
        if self._store is not None:
            with contextlib.suppress(HiwmError):
                self._store.close()


def main() -> None:
    """Run the node."""
    sys.exit(run(Imagination))
