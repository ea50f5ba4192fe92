"""The branch manager: keeps the session's tree, and moves the world to saved states in it.

This node only connects: the tree is `hiwm_core.branch_store`, proposals are
`hiwm_core.fork_proposals`. Each tick is one transaction. Stored ticks survive a killed process, and
the next process continues from them.
"""

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from hiwm_interfaces.msg import BranchTree, ControlState, Tick, WorldInfo
from hiwm_interfaces.srv import (
    Continue,
    ContinueState,
    Discard,
    Fork,
    Label,
    ListBranches,
    Propose,
    Rollback,
)
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future

from hiwm_branching.tree_messages import session_record, tick_record, tree_message
from hiwm_branching.world_calls import (
    WorldClient,
    WorldSilentError,
    require_continuable,
    require_restorable,
)
from hiwm_core import branch_records
from hiwm_core.blob_store import read_pins
from hiwm_core.branch_records import BranchKind
from hiwm_core.branch_store import BranchStore
from hiwm_core.control import Source
from hiwm_core.episode_labels import newest_beside
from hiwm_core.errors import ConfigError, HiwmError, StoreError
from hiwm_core.fork_proposals import propose_forks
from hiwm_core.session_lineage import session_id
from hiwm_nodes.diagnostics import ERROR, OK, Diagnostics, RateMeter
from hiwm_nodes.listening import Listening
from hiwm_nodes.parameters import parameter
from hiwm_nodes.qos import LATCHED
from hiwm_nodes.running import run
from hiwm_nodes.session import hold_role, session_folder

# A rollback in a long tree takes longer than a tick; no tick may be lost meanwhile.
_EVERY_TICK = QoSProfile(depth=500, reliability=ReliabilityPolicy.RELIABLE)
_DEFAULT_PROPOSALS = 5
# Newest nodes that proposals are made of: looking through them takes less than a second.
_PROPOSED_FROM = 20_000
# Most nodes and branches in one BranchTree message: about 200 KB.
PAGE = 500


class BranchManager(Node):
    """Ticks in, tree out; rollback, fork, continue, label, list, discard, propose as services."""

    def __init__(self) -> None:
        super().__init__("branch_manager")
        folder = session_folder(self, "session folder; the tree is kept in its tree.sqlite")
        timeout_s = parameter(
            self, "world_timeout_s", 5.0, "how long the world may take to respond [s]", 0.1, 600.0
        )
        continue_timeout_s = parameter(
            self, "continue_timeout_s", 300.0,
            "how long the world may take for continuations [s]", 0.1, 3600.0,
        )
        if folder is None:
            raise ConfigError(
                "no session folder given",
                where="parameter session_dir of branch_manager",
                remedy="set session_dir:=sessions/<name>",
            )
        hold_role(folder, "branch_manager")
        self._session = folder
        self._session_id = session_id(folder)
        self._store = BranchStore(self._session / "tree.sqlite")
        self._info: WorldInfo | None = None
        self._mode = ControlState.PAUSED
        self._recent: deque[tuple[tuple[int, int], str]] = deque(maxlen=100)  # newest tick last
        self._taken_over: tuple[int, int] | None = None  # tick of a takeover, not stored yet
        self._restoring: Future | None = None
        self._pins_changed_ns = 0
        self._ticks = RateMeter()
        self._counts = {
            "rollbacks": 0, "forks": 0, "continued": 0, "refused": 0, "ticks not stored": 0
        }
        self._tick_ms: deque[float] = deque(maxlen=200)
        self._restore_ms = float("nan")

        # A callback that awaits the world must not block ticks and other services. One thread runs
        # them all, so no locks are needed.
        group = ReentrantCallbackGroup()
        self._world = WorldClient(self, group, timeout_s, continue_timeout_s)
        self._tree = self.create_publisher(BranchTree, "branches/tree", LATCHED)
        self._diagnostics = Diagnostics(self, self._values)
        self._listening = Listening(self)
        self._subscribe(group)
        self._serve(group)
        self.create_timer(
            1.0,
            self._take_pins,
            callback_group=group,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self._revision = self._store.revision
        # An empty increment: a subscriber that lacks earlier changes requests them.
        self._publish(self._store.page(self._revision, PAGE))
        if self._store.head_id:
            self.get_logger().info(
                f"continuing {self._store.path}: revision {self._revision}, "
                f"head {self._store.head_id}"
            )

    def _subscribe(self, group: ReentrantCallbackGroup) -> None:
        for message_type, topic, callback, profile in (
            (WorldInfo, "world_info", self._on_world_info, LATCHED),
            (ControlState, "control_state", self._on_control_state, LATCHED),
            (Tick, "tick", self._on_tick, _EVERY_TICK),
        ):
            self.create_subscription(message_type, topic, callback, profile, callback_group=group)

    def _serve(self, group: ReentrantCallbackGroup) -> None:
        for service_type, name, callback in (
            (Rollback, "rollback", self._rollback),
            (Fork, "fork", self._fork),
            (Continue, "continue", self._continue),
            (Label, "label", self._label_when_known),
            (Discard, "discard", self._refusable(self._discard)),
            (ListBranches, "list", self._refusable(self._list)),
            (Propose, "propose", self._refusable(self._propose)),
        ):
            self.create_service(service_type, f"branches/{name}", callback, callback_group=group)

    def close(self) -> None:
        """Close the tree."""
        self._store.close()

    # -- subscriptions --------------------------------------------------------------------------

    def _on_world_info(self, info: WorldInfo) -> None:
        self._info = info
        self._listening.on_world(info)
        self._stored(lambda: self._store.open_session(session_record(info, self._session_id)))

    def _on_tick(self, tick: Tick) -> None:
        started = time.perf_counter()
        if self._stored(lambda: self._store.add_tick(tick_record(tick))):
            self._ticks.count()
            self._tick_ms.append((time.perf_counter() - started) * 1e3)
            self._recent.append(((tick.epoch, tick.step), self._store.head_id))
            self._mark_takeover()
        else:
            self._counts["ticks not stored"] += 1

    def _on_control_state(self, state: ControlState) -> None:
        entered = state.mode == ControlState.HUMAN and self._mode != ControlState.HUMAN
        self._mode = state.mode
        if entered:
            self._taken_over = (state.epoch, state.step)
            self._mark_takeover()

    def _mark_takeover(self) -> None:
        """Mark the node of a takeover, if the policy led to it.

        The control state names the tick. The world may be past it, or not there yet.
        """
        for tick, node_id in self._recent:
            if tick == self._taken_over:
                self._taken_over = None
                if self._store.node(node_id).source == Source.POLICY:
                    self._stored(partial(self._store.mark_takeover, node_id))
                return

    def _take_pins(self) -> None:
        """Mark pinned states; the world writes a note for each beside the states."""
        states = self._session / "states"
        try:
            changed_ns = (states / "pins").stat().st_mtime_ns
        except OSError:
            return
        if changed_ns != self._pins_changed_ns:
            for state_id, note in read_pins(states).items():
                self._stored(partial(self._store.pin, state_id, note))
            self._pins_changed_ns = changed_ns

    def _stored(self, write: Callable[[], object]) -> bool:
        """Write to the tree and publish the change; report a failed write and return False."""
        try:
            write()
            self._publish_changes()
        except StoreError as error:
            self._diagnostics.report(ERROR, str(error))
            self.get_logger().error(str(error), throttle_duration_sec=10.0)
            return False
        self._diagnostics.report(OK, "running")
        return True

    # -- rollback, fork, continue ---------------------------------------------------------------

    async def _rollback(
        self, request: Rollback.Request, response: Rollback.Response
    ) -> Rollback.Response:
        def target() -> branch_records.Node:
            if request.node_id:
                return self._store.node(request.node_id)
            if request.steps == 0:
                raise StoreError(
                    "a rollback by 0 steps changes nothing",
                    where="branches/rollback",
                    remedy="give node_id, or 1 or more steps; to branch from the present state "
                    "call branches/fork",
                )
            return self._store.node_steps_back(self._present(), request.steps)

        return await self._continue_from(target, BranchKind.ROLLBACK, response)

    async def _fork(self, request: Fork.Request, response: Fork.Response) -> Fork.Response:
        def target() -> branch_records.Node:
            return self._store.node(request.node_id or self._present())

        return await self._continue_from(target, BranchKind.FORK, response)

    async def _continue_from(
        self, choose: Callable[[], branch_records.Node], kind: BranchKind, response: Any
    ) -> Any:
        """Restore a node as a new branch; respond once the world is at the node."""
        started = time.perf_counter()
        while self._restoring is not None:  # one at a time: each starts where the last ended
            await self._restoring
        self._restoring = Future()
        try:
            # A latched message may arrive after the ticks of its sender.
            await self._world.until(lambda: self._info is not None)
            require_restorable(self._info, kind)
            node = self._with_state(choose())
            branch_id = self._store.next_branch_id(node.episode_id)
            self._store.plan_branch(branch_id, node.node_id, kind)
            try:
                answer = await self._world.restore(
                    state_id=node.state_id, branch_id=branch_id, episode_id=node.episode_id
                )
            except WorldSilentError:
                raise  # the plan stays: if the world restores later, its tick finds the branch
            except HiwmError:
                self._store.drop_plan(branch_id)
                raise
            self._restore_ms = (time.perf_counter() - started) * 1e3
            self._store.begin_branch(branch_id, answer.epoch)
            self._publish_changes()
        except HiwmError as error:
            self._counts["refused"] += 1
            response.ok, response.message = False, str(error)
            self.get_logger().warning(str(error))
        else:
            self._counts["rollbacks" if kind is BranchKind.ROLLBACK else "forks"] += 1
            response.ok, response.message = True, f"the world is at {node.node_id}"
            response.node_id, response.branch_id = node.node_id, branch_id
            response.epoch, response.step = answer.epoch, answer.step
        finally:
            done, self._restoring = self._restoring, None
            done.set_result(None)
        return response

    async def _continue(
        self, request: Continue.Request, response: Continue.Response
    ) -> Continue.Response:
        """Let the world compute continuations of a node's state; the tree does not change."""
        try:
            await self._world.until(lambda: self._info is not None)
            require_continuable(self._info)
            node = self._with_state(self._store.node(request.node_id or self._present()))
            answer = await self._world.continue_state(ContinueState.Request(
                state_id=node.state_id, count=request.count, steps=request.steps,
                seed=request.seed, frames=request.frames,
            ))
        except HiwmError as error:
            self._counts["refused"] += 1
            response.message = str(error)
            return response
        self._counts["continued"] += 1
        response.ok, response.node_id = True, node.node_id
        response.continuations = answer.continuations
        return response

    def _with_state(self, node: branch_records.Node) -> branch_records.Node:
        """Return the node; raise StoreError if it has no saved state."""
        if not node.state_id:
            raise StoreError(
                f"{node.node_id} has no saved state",
                where=str(self._store.path),
                remedy="choose a node recorded in imagination (branches/list: state_id)",
            )
        return node

    def _present(self) -> str:
        """Return the id of the world's present node. Raises StoreError before the first tick."""
        head_id = self._store.head_id
        if not head_id:
            raise StoreError(
                "there is no state yet",
                where=str(self._store.path),
                remedy="wait for the world's first tick, or call world/reset",
            )
        return head_id

    # -- other services -------------------------------------------------------------------------

    def _refusable(self, serve: Callable[[Any, Any], None]) -> Callable[[Any, Any], Any]:
        """Return a service callback that responds to an error with its text."""

        def callback(request: Any, response: Any) -> Any:
            try:
                serve(request, response)
                self._publish_changes()
                response.ok = True
            except HiwmError as error:
                self._counts["refused"] += 1
                response.ok, response.message = False, str(error)
            return response

        return callback

    async def _label_when_known(
        self, request: Label.Request, response: Label.Response
    ) -> Label.Response:
        # A latched message may arrive after the ticks of its sender.
        await self._world.until(lambda: self._info is not None)
        labelled: Label.Response = self._refusable(self._label)(request, response)
        return labelled

    def _label(self, request: Label.Request, response: Label.Response) -> None:
        if self._info is None:
            raise StoreError(
                "the labels of this task are not known", where="branches/label",
                remedy="start the world first: its world_info lists them",
            )
        labels = list(self._info.labels)
        if request.label and request.label not in labels:
            raise StoreError(
                f"{request.label!r} is not a label of this task",
                where="branches/label",
                remedy=f"use one of {', '.join(labels)}; empty removes the label",
            )
        branch_id = request.branch_id or self._store.branch(self._store.head_branch_id).branch_id
        self._store.label(
            branch_id, request.label, request.note, request.who,
            after_ns=newest_beside(self._session, branch_id),
        )
        response.message = f"{branch_id}: {request.label or 'no label'}"

    def _discard(self, request: Discard.Request, response: Discard.Response) -> None:
        self._store.discard(request.branch_id, restore=request.restore)
        response.message = f"{request.branch_id} {'restored' if request.restore else 'discarded'}"

    def _list(self, request: ListBranches.Request, response: ListBranches.Response) -> None:
        limit = min(request.limit or PAGE, PAGE)
        response.tree = self._message(self._store.page(request.since, limit))

    def _propose(self, request: Propose.Request, response: Propose.Response) -> None:
        proposals = propose_forks(
            self._store.newest(_PROPOSED_FROM), request.count or _DEFAULT_PROPOSALS
        )
        response.node_ids = [proposal.node_id for proposal in proposals]
        response.scores = [proposal.score for proposal in proposals]
        response.reasons = [proposal.reason for proposal in proposals]
        response.message = f"{len(proposals)} states" if proposals else "nothing stands out yet"

    # -- publishing -----------------------------------------------------------------------------

    def _publish_changes(self) -> None:
        revision = self._store.revision
        if revision > self._revision:
            page = self._store.page(self._revision, PAGE)
            self._revision = revision
            # Readers ask for a change that needs several pages.
            self._publish(page if page.revision == revision else self._store.page(revision, PAGE))

    def _publish(self, page: branch_records.TreePage) -> None:
        self._tree.publish(self._message(page))

    def _message(self, page: branch_records.TreePage) -> BranchTree:
        return tree_message(
            page, session_id=self._session_id, stamp=self.get_clock().now().to_msg()
        )

    def _values(self) -> dict[str, object]:
        stored_ms = sorted(self._tick_ms)
        return {
            "ticks per second": f"{self._ticks.rate:.1f}",
            "revision": self._revision,
            "head": self._store.head_id,
            "tick stored, p50 [ms]": f"{stored_ms[len(stored_ms) // 2]:.2f}" if stored_ms else "",
            "last restore, call to answer [ms]": f"{self._restore_ms:.1f}",
            **self._counts,
        }


def main() -> int:
    """Run the branch manager."""
    return run(BranchManager)
