"""Asking the world to restore a state, from a service callback, without stopping the executor."""

import time
from collections.abc import Callable

from hiwm_interfaces.msg import WorldInfo
from hiwm_interfaces.srv import RestoreState
from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from hiwm_core.branch_records import BranchKind
from hiwm_core.errors import HiwmError

_VERBS = {BranchKind.ROLLBACK: "rollback", BranchKind.FORK: "fork"}


class WorldRefusalError(HiwmError):
    """The world cannot, or does not want to, go on from a state."""


class WorldSilentError(HiwmError):
    """The world has not answered; it may still."""


class WorldClient:
    """The world's `restore_state` with a deadline on the steady clock."""

    def __init__(self, node: Node, group: CallbackGroup, timeout_s: float) -> None:
        self._node = node
        self._group = group
        self._timeout_s = timeout_s
        # A stopped /clock must not keep a deadline from passing.
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._client = node.create_client(RestoreState, "world/restore_state", callback_group=group)

    async def restore(
        self, *, state_id: str, branch_id: str, episode_id: str
    ) -> RestoreState.Response:
        """Return the world's answer.

        Raises WorldRefusalError where it refuses, WorldSilentError where none comes in time.
        """
        if not await self.until(self._client.service_is_ready):
            raise WorldRefusalError(
                "no world offers world/restore_state, nothing was changed",
                where=self._client.srv_name,
                remedy="start the world, or wait until it is up",
            )
        request = RestoreState.Request(
            state_id=state_id, branch_id=branch_id, episode_id=episode_id
        )
        future = self._client.call_async(request)
        await self._first_of(future, self._timeout_s)
        if not future.done():
            self._client.remove_pending_request(future)
            raise WorldSilentError(
                f"the world did not answer within {self._timeout_s:g} s, nothing was changed",
                where=self._client.srv_name,
                remedy="see the world's own log; should it go back after all, the tree follows",
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
    if info is None:
        raise WorldRefusalError(
            f"{verb} is not possible yet, no world has announced itself",
            where="world_info",
            remedy="start the world, or wait until it is up",
        )
    able = info.can_restore and (kind is BranchKind.ROLLBACK or info.can_fork)
    if not able:
        name = f"hardware (robot {info.robot})" if info.kind == "hardware" else info.kind
        raise WorldRefusalError(
            f"{verb} is not possible on {name}, no real scene can be put back by software",
            where="world_info",
            remedy="reset the scene by hand to the frame shown, then call world/reset for a new "
            "episode; or do this in a session with world:=imagination",
        )
