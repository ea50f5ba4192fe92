"""Asking the world to restore or continue a state, from a service callback.

Nothing here stops the executor.
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

# Longest wait at a stretch for continuations: a world that has died is noticed after it.
_LOOK_S = 1.0
_VERBS = {BranchKind.ROLLBACK: "rollback", BranchKind.FORK: "fork"}


class WorldRefusalError(HiwmError):
    """The world cannot, or does not want to, go on from a state."""


class WorldSilentError(HiwmError):
    """The world has not answered; it may still."""


class WorldClient:
    """The world's `restore_state` and `continue_state` with deadlines on the steady clock."""

    def __init__(
        self, node: Node, group: CallbackGroup, timeout_s: float, continue_timeout_s: float
    ) -> None:
        self._node = node
        self._group = group
        self._timeout_s = timeout_s
        self._continue_timeout_s = continue_timeout_s
        # A stopped /clock must not keep a deadline from passing.
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
        """Return the world's answer.

        Raises WorldRefusalError where it refuses, WorldSilentError where none comes in time.
        """
        await self._there(self._restore)
        request = RestoreState.Request(
            state_id=state_id, branch_id=branch_id, episode_id=episode_id
        )
        future = self._restore.call_async(request)
        await self._first_of(future, self._timeout_s)
        return self._accepted(
            self._restore, future, self._timeout_s, "should it go back after all, the tree follows"
        )

    async def continue_state(self, request: ContinueState.Request) -> ContinueState.Response:
        """Return the world's continuations.

        Raises as `restore`; and WorldSilentError where the world dies meanwhile.
        """
        await self._there(self._continue)
        future = self._continue.call_async(request)
        begun = time.monotonic()
        while not future.done() and self._continue.service_is_ready():
            left = begun + self._continue_timeout_s - time.monotonic()
            if left <= 0.0:
                break
            await self._first_of(future, min(left, _LOOK_S))
        return self._accepted(
            self._continue, future, time.monotonic() - begun, "ask for fewer or shorter ones"
        )

    async def _there(self, client: Client) -> None:
        """Raise WorldRefusalError where no world offers a service."""
        if not await self.until(client.service_is_ready):
            raise WorldRefusalError(
                f"no world offers {client.srv_name}, nothing was changed",
                where=client.srv_name,
                remedy="start the world, or wait until it is up",
            )

    def _accepted(self, client: Client, future: Future, seconds: float, remedy: str) -> Any:
        """Return an answer that is there and says yes."""
        if not future.done():
            client.remove_pending_request(future)
            raise WorldSilentError(
                f"the world did not answer within {seconds:g} s, nothing was changed",
                where=client.srv_name,
                remedy=f"see the world's own log; {remedy}",
            )
        answer = future.result()
        if not answer.ok:
            raise WorldRefusalError(answer.message, where="the world's answer")
        return answer

    async def until(self, predicate: Callable[[], bool]) -> bool:
        """Return whether the predicate holds before the timeout, looking now and then."""
        deadline = time.monotonic() + self._timeout_s
        while not predicate():
            if time.monotonic() > deadline:
                return False
            await self._first_of(Future(), 0.02)
        return True

    async def _first_of(self, future: Future, seconds: float) -> None:
        """Return when the future is done or the time has passed."""
        over = Future()

        def end(_: Future | None = None) -> None:
            if not over.done():
                over.set_result(None)

        future.add_done_callback(end)
        timer = self._node.create_timer(seconds, end, callback_group=self._group, clock=self._clock)
        try:
            await over
        finally:
            self._node.destroy_timer(timer)


def require_restorable(info: WorldInfo | None, kind: BranchKind) -> None:
    """Raise WorldRefusalError where this world cannot go back, with what is possible instead."""
    verb = _VERBS[kind]
    info = _world(info, verb)
    able = info.can_restore and (kind is BranchKind.ROLLBACK or info.can_fork)
    if not able:
        raise WorldRefusalError(
            f"{verb} is not possible on {_name(info)}, no real scene can be put back by software",
            where="world_info",
            remedy="reset the scene by hand to the frame shown, then call world/reset with "
            "by_hand: true for a new episode; or do this in a session with world:=imagination",
        )


def require_continuable(info: WorldInfo | None) -> None:
    """Raise WorldRefusalError where this world cannot try a state many times over."""
    info = _world(info, "continuing a state")
    if not info.can_fork:
        raise WorldRefusalError(
            f"continuing a state many times is not possible on {_name(info)}, which saves no "
            "states",
            where="world_info",
            remedy="let the policy go on from here, or do this in a session with "
            "world:=imagination",
        )


def _world(info: WorldInfo | None, verb: str) -> WorldInfo:
    """Return what the world said of itself; raise WorldRefusalError where it has not yet."""
    if info is None:
        raise WorldRefusalError(
            f"{verb} is not possible yet, no world has announced itself",
            where="world_info",
            remedy="start the world, or wait until it is up",
        )
    return info


def _name(info: WorldInfo) -> str:
    return f"hardware (robot {info.robot})" if info.kind == "hardware" else str(info.kind)
