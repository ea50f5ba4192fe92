"""Our executor runs callbacks as rclpy's own does: every test runs under both."""

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.service import Service
from rclpy.task import Future
from std_msgs.msg import Int32
from std_srvs.srv import Trigger

from hiwm_core.ros_domains import domain_id
from hiwm_nodes.drained import Drained
from hiwm_nodes.executor import KeptWaitSetExecutor

pytestmark = pytest.mark.nodes


class Done(Exception):  # noqa: N818 - raised to leave spin
    pass


class Bench:
    """A node on an executor, spun until a condition is true."""

    def __init__(self, kind: type[SingleThreadedExecutor]) -> None:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain_id())
        self.node: Node = rclpy.create_node("subject", context=self.context)
        self.executor = kind(context=self.context)
        self.executor.add_node(self.node)
        self.received: list[int] = []

    def spin(self, done: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Spin until `done`, checked twenty times a second; return whether it became true."""
        deadline = time.monotonic() + seconds

        def check() -> None:
            if done() or time.monotonic() > deadline:
                raise Done

        timer = self.node.create_timer(0.05, check)
        with pytest.raises(Done):
            self.executor.spin()
        self.node.destroy_timer(timer)
        return done()

    def listen(self, callback: Callable[..., Any], topic: str = "number") -> Any:
        return self.node.create_subscription(Int32, topic, callback, 100)

    def send(self, *numbers: int, topic: str = "number") -> None:
        publisher = self.node.create_publisher(Int32, topic, 100)
        assert self.spin(lambda: publisher.get_subscription_count() > 0)
        for number in numbers:
            publisher.publish(Int32(data=number))

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture(params=[SingleThreadedExecutor, KeptWaitSetExecutor], ids=["rclpy", "kept"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param)
    yield bench
    bench.close()


def test_messages_arrive_once_each_and_in_order(bench: Bench) -> None:
    bench.listen(lambda message: bench.received.append(message.data))
    bench.send(*range(50))
    assert bench.spin(lambda: len(bench.received) >= 50)
    assert bench.received == list(range(50))


def test_a_callback_can_take_the_message_info(bench: Bench) -> None:
    stamps: list[int] = []

    def receive(message: Int32, information: dict[str, int]) -> None:
        bench.received.append(message.data)
        stamps.append(information["received_timestamp"])

    bench.listen(receive)
    bench.send(1, 2)
    assert bench.spin(lambda: len(bench.received) >= 2)
    assert bench.received == [1, 2]
    assert all(stamp > 0 for stamp in stamps)


def test_raw_subscriptions_get_bytes(bench: Bench) -> None:
    raw: list[bytes] = []
    bench.node.create_subscription(Int32, "number", raw.append, 10, raw=True)
    bench.send(7)
    assert bench.spin(lambda: bool(raw))
    assert raw[0][-4:] == (7).to_bytes(4, "little")


def test_a_subscription_created_in_a_callback_receives(bench: Bench) -> None:
    second: list[int] = []

    def receive(message: Int32) -> None:
        if not bench.received:
            bench.listen(lambda later: second.append(later.data), "later")
        bench.received.append(message.data)

    bench.listen(receive)
    bench.send(1)
    assert bench.spin(lambda: bool(bench.received))
    bench.send(2, topic="later")
    assert bench.spin(lambda: second == [2])


def test_a_subscription_destroyed_in_a_callback_receives_nothing_more(bench: Bench) -> None:
    other = bench.listen(lambda message: bench.received.append(-message.data))

    def receive(message: Int32) -> None:
        bench.received.append(message.data)
        bench.node.destroy_subscription(other)

    bench.listen(receive, "first")
    bench.send(1, topic="first")
    assert bench.spin(lambda: bench.received == [1])
    publisher = bench.node.create_publisher(Int32, "number", 10)
    publisher.publish(Int32(data=2))
    bench.listen(lambda message: bench.received.append(message.data), "last")
    bench.send(3, topic="last")
    assert bench.spin(lambda: 3 in bench.received)
    assert bench.received == [1, 3]


def test_a_subscription_read_by_its_owner_wakes_nobody(bench: Bench) -> None:
    """Robots publish joint states at hundreds of hertz; the bridge reads them with each image."""
    drained = bench.node.create_subscription(
        Int32, "number", lambda message: bench.received.append(-1), 10, callback_group=Drained()
    )
    other: list[int] = []
    bench.listen(lambda message: other.append(message.data))
    bench.send(1, 2, 3)
    assert bench.spin(lambda: len(other) >= 3)
    assert not bench.received
    with drained.handle:
        taken = [drained.handle.take_message(Int32, False)[0].data for _ in range(3)]
    assert taken == [1, 2, 3]


def test_timers_run_beside_a_stream_of_messages(bench: Bench) -> None:
    fired: list[float] = []
    publisher = bench.node.create_publisher(Int32, "number", 10)

    def again(message: Int32) -> None:
        bench.received.append(message.data)
        publisher.publish(Int32(data=message.data + 1))

    bench.listen(again)
    bench.node.create_timer(0.02, lambda: fired.append(time.monotonic()))
    bench.send(0)
    assert bench.spin(lambda: len(fired) >= 10 and len(bench.received) >= 100)


def test_a_service_that_awaits_another_answers(bench: Bench) -> None:
    group = ReentrantCallbackGroup()
    inner = bench.node.create_client(Trigger, "inner", callback_group=group)

    def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = "inner"
        return response

    async def ask(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = f"outer of {(await inner.call_async(Trigger.Request())).message}"
        return response

    bench.node.create_service(Trigger, "inner", answer, callback_group=group)
    bench.node.create_service(Trigger, "outer", ask)
    outer = bench.node.create_client(Trigger, "outer", callback_group=group)
    assert bench.spin(lambda: outer.service_is_ready() and inner.service_is_ready())
    # Messages keep arriving while it awaits.
    bench.listen(lambda message: bench.received.append(message.data))
    bench.send(1)
    future = outer.call_async(Trigger.Request())
    assert bench.spin(lambda: future.done() and bool(bench.received))
    assert future.result().message == "outer of inner"


@pytest.mark.parametrize("lost", [3, 1000])
def test_a_response_is_sent_again_until_the_client_is_discovered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    if not isinstance(bench.executor, KeptWaitSetExecutor):
        pytest.skip("rclpy's own executor gives up")
    sent: list[str] = []
    send = Service.send_response

    def send_late(service: Service, response: Trigger.Response, header: object) -> None:
        sent.append(response.message)
        if len(sent) <= lost:
            warnings.warn("failed to send response (timeout): ...", RuntimeWarning, stacklevel=1)
        else:
            send(service, response, header)

    monkeypatch.setattr(Service, "send_response", send_late)

    def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = f"answer {len(sent)}"
        return response

    bench.node.create_service(Trigger, "late", answer)
    client = bench.node.create_client(Trigger, "late")
    assert bench.spin(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    assert bench.spin(lambda: future.done() or len(sent) >= 20)
    assert set(sent) == {"answer 0"}
    assert not future.done() if lost == 1000 else future.result().message == "answer 0"
    bench.listen(lambda message: bench.received.append(message.data))
    bench.send(1)
    assert bench.spin(lambda: bench.received == [1])


def test_messages_arrive_while_a_coroutine_waits(bench: Bench) -> None:
    gate: Future = Future()
    passed: list[str] = []

    async def wait() -> None:
        passed.append(await gate)

    bench.listen(lambda message: bench.received.append(message.data))
    bench.executor.create_task(wait)
    bench.send(1, 2, 3)
    assert bench.spin(lambda: len(bench.received) >= 3)
    assert not passed
    gate.set_result("through")
    assert bench.spin(lambda: passed == ["through"])


def test_a_task_from_another_thread_wakes_the_executor(bench: Bench) -> None:
    threading.Timer(0.3, lambda: bench.executor.create_task(bench.received.append, 5)).start()
    assert bench.spin(lambda: bench.received == [5])


def test_a_guard_condition_runs_its_callback(bench: Bench) -> None:
    guard = bench.node.create_guard_condition(lambda: bench.received.append(9))
    threading.Timer(0.3, guard.trigger).start()
    assert bench.spin(lambda: bool(bench.received))
    assert bench.received == [9]


def test_a_trigger_is_not_lost_when_entities_change(bench: Bench) -> None:
    sent, taken, rounds = 0, 0, 200

    def take() -> None:
        nonlocal taken
        taken = sent

    def make_and_trigger(message: Int32) -> None:
        nonlocal sent
        bench.node.destroy_subscription(bench.listen(lambda message: None, "other"))
        sent += 1
        guard.trigger()

    guard = bench.node.create_guard_condition(take)
    bench.listen(make_and_trigger)
    publisher = bench.node.create_publisher(Int32, "number", 100)
    bench.node.create_timer(0.005, lambda: sent < rounds and publisher.publish(Int32()))
    assert bench.spin(lambda: sent >= rounds)
    assert bench.spin(lambda: taken == sent)


def test_events_of_a_publisher_are_delivered(bench: Bench) -> None:
    """A subscription that requests more than the publisher offers causes an event in both."""
    seen: list[int] = []
    bench.node.create_publisher(
        Int32, "number", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
        event_callbacks=PublisherEventCallbacks(
            incompatible_qos=lambda event: seen.append(event.total_count)
        ),
    )
    bench.listen(lambda message: None)
    assert bench.spin(lambda: bool(seen))


def test_an_error_in_a_callback_leaves_spin_and_the_next_spin_continues(bench: Bench) -> None:
    def receive(message: Int32) -> None:
        bench.received.append(message.data)
        if message.data == 1:
            raise ValueError("one")

    bench.listen(receive)
    bench.send(1, 2)
    with pytest.raises(ValueError, match="one"):
        bench.executor.spin()
    assert bench.spin(lambda: bench.received == [1, 2])


def test_shutting_the_context_down_stops_spin(bench: Bench) -> None:
    threading.Timer(0.3, lambda: rclpy.try_shutdown(context=bench.context)).start()
    with contextlib.suppress(ExternalShutdownException):
        bench.executor.spin()
    assert not bench.context.ok()
