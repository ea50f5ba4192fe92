"""The executor every node of the graph spins on: rclpy's own, with its wait set kept.

rclpy gathers every entity anew and builds a wait set for each callback, which at a few hundred
messages a second is most of what a node does. This one keeps the wait set while no entity comes or
goes, and takes plain messages from it directly. Everything else (timers, services, clients, tasks
that await) is left to rclpy, which is woken for it. test_executor.py holds that callbacks run as
they do under rclpy.
"""

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription

# Longest wait at a stretch. Python handles a signal between waits only.
_LONGEST_WAIT_NS = 200_000_000


class KeptWaitSetExecutor(SingleThreadedExecutor):
    """Runs callbacks in the thread that calls `spin`, as rclpy's SingleThreadedExecutor does."""

    def __init__(self, *, context: Context | None = None) -> None:
        self._wait_set: Any = None
        self._held = ExitStack()  # keeps every handle of the wait set from being destroyed
        self._add: list[Callable[[], None]] = []
        self._plain: dict[int, Subscription] = {}
        self._left_to_rclpy: set[int] = set()
        self._guards: dict[int, Any] = {}  # the nodes' own
        self._waitables: list[Any] = []
        self._changed = True
        super().__init__(context=context)

    def wake(self) -> None:
        """Look at the entities anew; nodes call it when theirs have changed."""
        self._changed = True
        super().wake()

    def add_node(self, node: Node) -> bool:
        """Add a node."""
        self._changed = True
        return super().add_node(node)

    def remove_node(self, node: Node) -> None:
        """Remove a node."""
        self._changed = True
        super().remove_node(node)

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop, and let go of all entities."""
        self._release()
        return super().shutdown(timeout_sec)

    def spin(self) -> None:
        """Run callbacks until shut down, or until one raises.

        Raises:
            ExternalShutdownException: the context was shut down by something else.
        """
        try:
            while self.context.ok() and not self._is_shutdown:
                if self._awaiting():
                    # What awaits holds its callback group, which rclpy keeps account of.
                    self._release()
                    self.spin_once(timeout_sec=_LONGEST_WAIT_NS / 1e9)
                elif self._wait():
                    self._deliver()
        finally:
            self._release()

    def _awaiting(self) -> bool:
        return any(not task.done() for task, _, _ in self._tasks)

    def _release(self) -> None:
        self._changed = True
        self._wait_set = None
        self._add, self._plain, self._guards, self._waitables = [], {}, {}, []
        self._held.close()

    def _wait(self) -> bool:
        """Wait for messages and let rclpy handle all else; returns whether messages came."""
        if self._changed:
            self._gather()
        wait_set = self._wait_set
        wait_set.clear_entities()
        for add in self._add:
            add()
        wait_set.wait(_LONGEST_WAIT_NS)
        if self._is_shutdown:
            return False
        if not self.context.ok():
            raise ExternalShutdownException()
        if self._others_ready():
            self.spin_once(timeout_sec=0.0)
        return not self._changed

    def _others_ready(self) -> bool:
        wait_set = self._wait_set
        triggered = wait_set.get_ready_entities("guard_condition")
        for pointer in triggered:
            # Waiting has taken the trigger; rclpy is to find it.
            if pointer in self._guards:
                self._guards[pointer].trigger()
        return (
            bool(triggered)
            or bool(wait_set.get_ready_entities("timer"))
            or bool(wait_set.get_ready_entities("service"))
            or bool(wait_set.get_ready_entities("client"))
            or not self._left_to_rclpy.isdisjoint(wait_set.get_ready_entities("subscription"))
            or any(waitable.is_ready(wait_set) for waitable in self._waitables)
        )

    def _deliver(self) -> None:
        """Hand over one message of each subscription that has one."""
        for pointer in self._wait_set.get_ready_entities("subscription"):
            subscription = self._plain.get(pointer)
            if subscription is None:
                continue
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is not None:
                subscription.callback(taken[0])
            if self._changed or self._awaiting():
                # An entity came or went, or something now awaits: what else is ready stays so.
                return

    def _gather(self) -> None:
        """Build the wait set of all entities there are."""
        self._release()
        self._changed = False
        nodes = self.get_nodes()
        subscriptions = [entity for node in nodes for entity in node.subscriptions]
        timers = [entity for node in nodes for entity in node.timers]
        clients = [entity for node in nodes for entity in node.clients]
        services = [entity for node in nodes for entity in node.services]
        guards = [entity for node in nodes for entity in node.guards]
        self._guards = {guard.handle.pointer: guard for guard in guards}
        guards += [self._guard, self._sigint_gc]
        self._waitables = [entity for node in nodes for entity in node.waitables]
        for entity in (*subscriptions, *timers, *clients, *services, *guards):
            self._held.enter_context(entity.handle)
        counts = [len(subscriptions), len(guards), len(timers), len(clients), len(services), 0]
        for waitable in self._waitables:
            self._held.enter_context(waitable)
            more = waitable.get_num_entities()
            counts = [count + extra for count, extra in zip(counts, (
                more.num_subscriptions, more.num_guard_conditions, more.num_timers,
                more.num_clients, more.num_services, more.num_events,
            ), strict=True)]
        self._held.enter_context(self.context.handle)
        wait_set = rclpy_implementation.WaitSet(*counts, self.context.handle)
        self._wait_set = wait_set
        self._add = [
            *(_bound(wait_set.add_subscription, entity.handle) for entity in subscriptions),
            *(_bound(wait_set.add_client, entity.handle) for entity in clients),
            *(_bound(wait_set.add_service, entity.handle) for entity in services),
            *(_bound(wait_set.add_timer, entity.handle) for entity in timers),
            *(_bound(wait_set.add_guard_condition, entity.handle) for entity in guards),
            *(_bound(waitable.add_to_wait_set, wait_set) for waitable in self._waitables),
        ]
        self._plain = {
            entity.handle.pointer: entity for entity in subscriptions if _is_plain(entity)
        }
        self._left_to_rclpy = {
            entity.handle.pointer for entity in subscriptions if not _is_plain(entity)
        }


def _bound(call: Callable[[Any], None], argument: object) -> Callable[[], None]:
    return lambda: call(argument)


def _is_plain(subscription: Subscription) -> bool:
    """Return whether a callback takes the message alone, by rclpy's own rule, and never awaits."""
    if inspect.iscoroutinefunction(subscription.callback):
        return False
    try:
        inspect.signature(subscription.callback).bind(None)
    except TypeError:
        return False
    return True
