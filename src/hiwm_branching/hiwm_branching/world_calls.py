"""Calls to the world from a service callback: restore a state, compute continuations.

Nothing here blocks the executor.
"""

import time
from collections.abc import Callable
from typing import Any

from hiwm_interfaces.msg import WorldInfo
from hiwm_interfaces.srv import ContinueState, RestoreState
from rclpy.callback_groups import CallbackGroup
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from hiwm_core.branch_records import BranchKind
from hiwm_core.errors import HiwmError

# Period of the check whether the world still runs during continuations.
_POLL_S = 1.0
_VERBS = {BranchKind.ROLLBACK: "rollback", BranchKind.FORK: "fork"}


class WorldRefusalError(HiwmError):
    """The world refuses to restore or continue a state."""


class WorldSilentError(HiwmError):
    """The world has not responded in time; it may still act."""


class WorldClient:
    """The world's `restore_state` and `continue_state` with deadlines on the steady clock."""

    def __init__(
        self, node: Node, group: CallbackGroup, timeout_s: float, continue_timeout_s: float
    ) -> None:
        self._node = node
        self._group = group
        self._timeout_s = timeout_s
        self._continue_timeout_s = continue_timeout_s
        # A stopped /clock must not stop a timeout.
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._restore = node.create_client(
            RestoreState, "world/restore_state", callback_group=group
        )
        self._continue = node.create_client(
            ContinueState, "world/continue_state", callback_group=group
        )

    async def restore(
        self, *, state_id: str, branch_id: str, episode_id: str
    ) -> RestoreState.Response:
        """Return the world's response.

        Raises WorldRefusalError if it refuses, WorldSilentError after the timeout.
        """
        await self._require_service(self._restore)
        request = RestoreState.Request(
            state_id=state_id, branch_id=branch_id, episode_id=episode_id
        )
        future = self._restore.call_async(request)
        await self._first_of(future, self._timeout_s)
        return self._accepted(
            self._restore, future, self._timeout_s, "if it restores later, the tree follows"
        )

    async def continue_state(self, request: ContinueState.Request) -> ContinueState.Response:
        """Return the world's continuations.

        Raises as `restore`; and WorldSilentError if the world dies meanwhile.
        """
        await self._require_service(self._continue)
        future = self._continue.call_async(request)
        started = time.monotonic()
        while not future.done() and self._continue.service_is_ready():
            left = started + self._continue_timeout_s - time.monotonic()
            if left <= 0.0:
                break
            await self._first_of(future, min(left, _POLL_S))
        return self._accepted(
            self._continue, future, time.monotonic() - started, "request fewer or shorter ones"
        )

    async def _require_service(self, client: Client) -> None:
        """Raise WorldRefusalError if no world offers a service."""
        if not await self.until(client.service_is_ready):
            raise WorldRefusalError(
                f"no world offers {client.srv_name}, nothing was changed",
                where=client.srv_name,
                remedy="start the world, or wait until it runs",
            )

    def _accepted(self, client: Client, future: Future, seconds: float, remedy: str) -> Any:
        """Return the response; raise if there is none or it is a refusal."""
        if not future.done():
            client.remove_pending_request(future)
            raise WorldSilentError(
                f"the world did not respond within {seconds:g} s, nothing was changed",
                where=client.srv_name,
                remedy=f"check the world's log; {remedy}",
            )
        answer = future.result()
        if not answer.ok:
            raise WorldRefusalError(answer.message, where="the world's response")
        return answer

    async def until(self, predicate: Callable[[], bool]) -> bool:
        """Poll the predicate; return whether it becomes true before the timeout."""
        deadline = time.monotonic() + self._timeout_s
        while not predicate():
            if time.monotonic() > deadline:
                return False
            await self._first_of(Future(), 0.02)
        return True

    async def _first_of(self, future: Future, seconds: float) -> None:
        """Return when the future is done or the time has passed."""
        either = Future()

        def end(_: Future | None = None) -> None:
            if not either.done():
                either.set_result(None)

        future.add_done_callback(end)
        timer = self._node.create_timer(seconds, end, callback_group=self._group, clock=self._clock)
        try:
            await either
        finally:
            self._node.destroy_timer(timer)


def require_restorable(info: WorldInfo | None, kind: BranchKind) -> None:
    """Raise WorldRefusalError if this world cannot restore states, with the alternatives."""
    verb = _VERBS[kind]
    info = _world(info, verb)
    able = info.can_restore and (kind is BranchKind.ROLLBACK or info.can_fork)
    if not able and info.kind == "imagination":
        raise WorldRefusalError(
            f"{verb} is not possible in this imagination, which restores no state: it saves none, "
            "or its world model's server cannot restore one", where="world_info",
            remedy="call world/reset for a new episode; or use a session folder and a model that "
            "hands out its states",
        )
    if not able:
        raise WorldRefusalError(
            f"{verb} is not possible on {_name(info)}, software cannot restore a real scene",
            where="world_info",
            remedy="reset the scene by hand to the frame shown, then call world/reset with "
            "by_hand: true for a new episode; or use a session with world:=imagination",
        )


def require_continuable(info: WorldInfo | None) -> None:
    """Raise WorldRefusalError if this world cannot compute continuations."""
    info = _world(info, "continuing a state")
    if not info.can_fork:
        raise WorldRefusalError(
            f"continuing a state many times is not possible on {_name(info)}, which restores no "
            "states",
            where="world_info",
            remedy="let the policy continue from here, or use a session with "
            "world:=imagination",
        )


def _world(info: WorldInfo | None, verb: str) -> WorldInfo:
    """Return the world's info; raise WorldRefusalError if it has not published it yet."""
    if info is None:
        raise WorldRefusalError(
            f"{verb} is not possible yet, no world has announced itself",
            where="world_info",
            remedy="start the world, or wait until it runs",
        )
    return info


def _name(info: WorldInfo) -> str:
    return f"hardware (robot {info.robot})" if info.kind == "hardware" else str(info.kind)
