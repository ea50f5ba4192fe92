"""The executor of every node in the graph: rclpy's SingleThreadedExecutor with a cached wait set.

rclpy collects all entities and rebuilds the wait set for each callback. At a few hundred messages
per second that is most of a node's work. This executor keeps the wait set until an entity is added
or removed, and runs the callbacks of subscriptions, timers and guard conditions directly. rclpy
handles everything else: services, clients, events and coroutines. A response that the middleware
could not deliver, because it had not yet discovered the client that asked, is sent again.
test_executor.py tests that callbacks run as they do under rclpy.

`scripts/bench --rows executor` compares it with those of rclpy (docs/benchmarks.md). The
EventsExecutor of rclpy 7.1.6 refuses guard conditions, which three of our nodes need, and with the
pinned wheels it keeps a core busy without delivering a single message.
"""

import inspect
import time
import warnings
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

from rclpy.context import Context
from rclpy.event_handler import EventHandler
from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ExternalShutdownException,
    SingleThreadedExecutor,
    await_or_execute,
)
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

# Longest single wait. Python handles signals only between waits.
_LONGEST_WAIT_NS = 200_000_000
# Period of checks for publisher and subscription events, mostly QoS mismatches. They outnumber all
# other entities, and waiting on one costs as much as waiting on a message.
_EVENTS_EVERY_S = 0.5
# Attempts to send a response. Each fails after 100 ms if Cyclone DDS does not know the client's
# reader yet; discovery takes a second or two on a loaded machine. Ended clients are not waited for.
_RESPONSE_ATTEMPTS = 20


class KeptWaitSetExecutor(SingleThreadedExecutor):
    """Runs callbacks in the thread that calls `spin`, like rclpy's SingleThreadedExecutor."""

    def __init__(self, *, context: Context | None = None) -> None:
        self._wait_set: Any = None
        self._handles = ExitStack()  # keeps every handle in the wait set alive
        self._add: list[Callable[[], None]] = []
        self._direct: dict[int, Callable[[], None]] = {}  # entity pointer to its callback
        self._guards: dict[int, Any] = {}  # guard conditions of nodes, by pointer
        self._waitables: list[Any] = []
        self._changed = True
        self._next_event_check = 0.0
        self._stop_requested = False
        super().__init__(context=context)

    def wake(self) -> None:
        """Rebuild the wait set before the next wait; nodes call it when their entities change."""
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
        """Make `spin` return after the current callback; safe to call from a signal handler.

        No message is lost: one already taken reaches its callback, the others stay queued.
        """
        self._stop_requested = True

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop, and release all entities."""
        self._release()
        return super().shutdown(timeout_sec)

    def spin(self) -> None:
        """Run callbacks until shutdown, until `stop_soon`, or until one raises.

        Raises:
            ExternalShutdownException: something else shut the context down.
        """
        try:
            while self.context.ok() and not self._is_shutdown and not self._stop_requested:
                if self._awaiting():
                    # A suspended coroutine holds its callback group; rclpy tracks that.
                    self._release()
                    self.spin_once(timeout_sec=_LONGEST_WAIT_NS / 1e9)
                else:
                    self._wait_and_run()
        finally:
            self._release()

    def _take_service(self, srv: Service) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """Take a request; return a coroutine function that answers it, as in rclpy."""
        try:
            with srv.handle:
                request, header = srv.handle.service_take_request(srv.srv_type.Request)
        except InvalidHandle:  # the service was destroyed
            return None

        async def answer() -> None:
            if header is None:
                return
            response = await await_or_execute(srv.callback, request, srv.srv_type.Response())
            _send(srv, response, header)

        return answer

    def _awaiting(self) -> bool:
        return any(not task.done() for task, _, _ in self._tasks)

    def _release(self) -> None:
        self._changed = True
        self._wait_set = None
        self._add, self._direct, self._guards, self._waitables = [], {}, {}, []
        self._handles.close()

    def _wait_and_run(self) -> None:
        """Wait, let rclpy run what it handles, then run the other ready callbacks."""
        if self._changed:
            self._gather()
        wait_set = self._wait_set
        wait_set.clear_entities()
        for add in self._add:
            add()
        wait_set.wait(_LONGEST_WAIT_NS)
        if self._is_shutdown or self._stop_requested:
            return
        if not self.context.ok():
            raise ExternalShutdownException()
        ready = [
            *(p for p in wait_set.get_ready_entities("guard_condition") if p in self._direct),
            *wait_set.get_ready_entities("timer"), *wait_set.get_ready_entities("subscription"),
        ]
        now = time.monotonic()
        if (
            self._others_ready() or now >= self._next_event_check
            or any(pointer not in self._direct for pointer in ready)
        ):
            self._next_event_check = now + _EVENTS_EVERY_S
            self.spin_once(timeout_sec=0.0)
        for i, pointer in enumerate(ready):
            if self._changed or self._stop_requested or self._awaiting():
                # An entity was added or removed, or a coroutine is suspended. The other entities
                # stay ready, except guard conditions: the wait cleared their triggers.
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
            # The wait cleared the trigger; set it again for rclpy.
            if pointer in self._guards:
                self._guards[pointer].trigger()
        return (
            bool(triggered)
            or bool(wait_set.get_ready_entities("service"))
            or bool(wait_set.get_ready_entities("client"))
            or any(waitable.is_ready(wait_set) for waitable in self._waitables)
        )

    def _gather(self) -> None:
        """Build the wait set from all current entities."""
        self._release()
        self._changed = False
        nodes = self.get_nodes()
        subscriptions = [
            entity for node in nodes for entity in node.subscriptions
            # rclpy's own condition. With no coroutine suspended, it only excludes subscriptions
            # that their owner reads itself.
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
            self._handles.enter_context(entity.handle)
        counts = [len(subscriptions), len(guards), len(timers), len(clients), len(services), 0]
        for waitable in self._waitables:
            self._handles.enter_context(waitable)
            more = waitable.get_num_entities()
            counts = [count + extra for count, extra in zip(counts, (
                more.num_subscriptions, more.num_guard_conditions, more.num_timers,
                more.num_clients, more.num_services, more.num_events,
            ), strict=True)]
        self._handles.enter_context(self.context.handle)
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
                *((guard, _trigger(guard)) for guard in self._guards.values()),
            )
            if run is not None
        }


def _send(service: Service, response: object, header: object) -> None:
    """Send a response, again if the client's reader was not discovered yet."""
    with warnings.catch_warnings(record=True) as lost:
        warnings.simplefilter("always")
        for _ in range(_RESPONSE_ATTEMPTS):
            lost.clear()
            service.send_response(response, header)
            if not any("failed to send response" in str(each.message) for each in lost):
                return
    get_logger("hiwm").warning(
        f"a response of {service.service_name} was not delivered: its client cannot be reached"
    )


def _bound(call: Callable[[Any], None], argument: object) -> Callable[[], None]:
    return lambda: call(argument)


def _delivery(subscription: Subscription) -> Callable[[], None] | None:
    """Return a function that takes one message and calls the callback; None for a coroutine."""
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
    """Return whether a callback takes only the message, by rclpy's own rule."""
    try:
        inspect.signature(callback).bind(None)
    except TypeError:
        return False
    return True


def _expiry(timer: Timer) -> Callable[[], None] | None:
    """Return a function that calls a timer if it is due; None for a coroutine."""
    callback = timer.callback
    if inspect.iscoroutinefunction(callback):
        return None

    def expire() -> None:
        # The wait set also reports timers cancelled in the meantime.
        if timer.handle.is_timer_ready():
            timer.handle.call_timer()
            callback()

    return expire


def _trigger(guard: GuardCondition) -> Callable[[], None] | None:
    """Return the callback of a guard condition; None for a coroutine."""
    callback: Callable[[], None] = guard.callback
    return None if inspect.iscoroutinefunction(callback) else callback
