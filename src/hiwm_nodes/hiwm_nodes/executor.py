"""The executor every node of the graph spins on: rclpy's own, with its wait set kept.

rclpy gathers every entity anew and builds a wait set for each callback, which at a few hundred
messages a second is most of what a node does. This one keeps the wait set while no entity comes or
goes, and runs the callbacks of subscriptions, timers and guard conditions directly. Everything else
(services, clients, events, all that awaits) is left to rclpy, which is called for it.
test_executor.py holds that callbacks run as they do under rclpy.

A joint state at 500 Hz costs 0.16 to 0.28 ms of processor time here and 0.44 to 0.46 ms under
SingleThreadedExecutor. The EventsExecutor of rclpy 7.1.6 refuses guard conditions, which three of
our nodes need, and with the pinned wheels it kept a core busy without delivering a single message.
"""

import inspect
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rclpy.context import Context
from rclpy.event_handler import EventHandler
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.timer import Timer

# Longest wait at a stretch. Python handles a signal between waits only.
_LONGEST_WAIT_NS = 200_000_000
# Events of publishers and subscriptions (a QoS mismatch, above all) are looked at this often. There
# are more of them than of everything else, and waiting on each costs as much as on a message.
_EVENTS_EVERY_S = 0.5


class KeptWaitSetExecutor(SingleThreadedExecutor):
    """Runs callbacks in the thread that calls `spin`, as rclpy's SingleThreadedExecutor does."""

    def __init__(self, *, context: Context | None = None) -> None:
        self._wait_set: Any = None
        self._held = ExitStack()  # keeps every handle of the wait set from being destroyed
        self._add: list[Callable[[], None]] = []
        self._direct: dict[int, Callable[[], None]] = {}  # by pointer of what is run here
        self._guards: dict[int, Any] = {}  # the nodes' own
        self._waitables: list[Any] = []
        self._changed = True
        self._look_at_events = 0.0
        self._stop_asked = False
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

    def stop_soon(self) -> None:
        """Have `spin` return once the callback at hand is done; may be called by a signal handler.

        No message is lost by it: one that was taken reaches its callback, others stay to be taken.
        """
        self._stop_asked = True

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop, and let go of all entities."""
        self._release()
        return super().shutdown(timeout_sec)

    def spin(self) -> None:
        """Run callbacks until shut down or asked to stop, or until one raises.

        Raises:
            ExternalShutdownException: the context was shut down by something else.
        """
        try:
            while self.context.ok() and not self._is_shutdown and not self._stop_asked:
                if self._awaiting():
                    # What awaits holds its callback group, which rclpy keeps account of.
                    self._release()
                    self.spin_once(timeout_sec=_LONGEST_WAIT_NS / 1e9)
                else:
                    self._wait_and_run()
        finally:
            self._release()

    def _awaiting(self) -> bool:
        return any(not task.done() for task, _, _ in self._tasks)

    def _release(self) -> None:
        self._changed = True
        self._wait_set = None
        self._add, self._direct, self._guards, self._waitables = [], {}, {}, []
        self._held.close()

    def _wait_and_run(self) -> None:
        """Wait, let rclpy handle what is its own, and run what is ready besides."""
        if self._changed:
            self._gather()
        wait_set = self._wait_set
        wait_set.clear_entities()
        for add in self._add:
            add()
        wait_set.wait(_LONGEST_WAIT_NS)
        if self._is_shutdown or self._stop_asked:
            return
        if not self.context.ok():
            raise ExternalShutdownException()
        ready = [
            *(p for p in wait_set.get_ready_entities("guard_condition") if p in self._direct),
            *wait_set.get_ready_entities("timer"), *wait_set.get_ready_entities("subscription"),
        ]
        now = time.monotonic()
        if (
            self._others_ready() or now >= self._look_at_events
            or any(pointer not in self._direct for pointer in ready)
        ):
            self._look_at_events = now + _EVENTS_EVERY_S
            self.spin_once(timeout_sec=0.0)
        for i, pointer in enumerate(ready):
            if self._changed or self._stop_asked or self._awaiting():
                # An entity came or went, or something now awaits: what else is ready stays so, but
                # for triggers, which waiting has taken.
                for left in ready[i:]:
                    if left in self._guards:
                        self._guards[left].trigger()
                return
            run = self._direct.get(pointer)
            if run is not None:
                run()

    def _others_ready(self) -> bool:
        wait_set = self._wait_set
        triggered = [
            pointer for pointer in wait_set.get_ready_entities("guard_condition")
            if pointer not in self._direct
        ]
        for pointer in triggered:
            # Waiting has taken the trigger; rclpy is to find it.
            if pointer in self._guards:
                self._guards[pointer].trigger()
        return (
            bool(triggered)
            or bool(wait_set.get_ready_entities("service"))
            or bool(wait_set.get_ready_entities("client"))
            or any(waitable.is_ready(wait_set) for waitable in self._waitables)
        )

    def _gather(self) -> None:
        """Build the wait set of all entities there are."""
        self._release()
        self._changed = False
        nodes = self.get_nodes()
        subscriptions = [
            entity for node in nodes for entity in node.subscriptions
            # As rclpy asks. With nothing awaiting, this leaves out what its owner reads by itself.
            if entity.callback_group.can_execute(entity)
        ]
        timers = [entity for node in nodes for entity in node.timers]
        clients = [entity for node in nodes for entity in node.clients]
        services = [entity for node in nodes for entity in node.services]
        guards = [entity for node in nodes for entity in node.guards]
        self._guards = {guard.handle.pointer: guard for guard in guards}
        guards += [self._guard, self._sigint_gc]
        self._waitables = [
            entity for node in nodes for entity in node.waitables
            if not isinstance(entity, EventHandler)
        ]
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
        self._direct = {
            entity.handle.pointer: run
            for entity, run in (
                *((subscription, _delivery(subscription)) for subscription in subscriptions),
                *((timer, _expiry(timer)) for timer in timers),
                *((guard, _news(guard)) for guard in self._guards.values()),
            )
            if run is not None
        }


def _bound(call: Callable[[Any], None], argument: object) -> Callable[[], None]:
    return lambda: call(argument)


def _delivery(subscription: Subscription) -> Callable[[], None] | None:
    """Return what takes one message and hands it over; None for a callback that awaits."""
    callback = subscription.callback
    if inspect.iscoroutinefunction(callback):
        return None
    with_information = not _takes_one(callback)

    def deliver() -> None:
        taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if taken is None:
            return
        if with_information:
            callback(*taken)
        else:
            callback(taken[0])

    return deliver


def _takes_one(callback: Callable[..., Any]) -> bool:
    """Return whether a callback is called with the message alone, by rclpy's own rule."""
    try:
        inspect.signature(callback).bind(None)
    except TypeError:
        return False
    return True


def _expiry(timer: Timer) -> Callable[[], None] | None:
    """Return what calls a timer that is due; None for a callback that awaits."""
    callback = timer.callback
    if inspect.iscoroutinefunction(callback):
        return None

    def expire() -> None:
        # A wait set also shows timers that were cancelled meanwhile.
        if timer.handle.is_timer_ready():
            timer.handle.call_timer()
            callback()

    return expire


def _news(guard: GuardCondition) -> Callable[[], None] | None:
    """Return what a triggered guard condition calls; None for a callback that awaits."""
    callback: Callable[[], None] = guard.callback
    return None if inspect.iscoroutinefunction(callback) else callback
