"""Operator requests as service calls: without a server, and without an answer."""

import time
from dataclasses import replace

import pytest
import rclpy
from hiwm_interfaces.msg import PolicyPlan
from hiwm_interfaces.srv import ControlRequest
from hiwm_interfaces.srv import Label as LabelService
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from hiwm_core.branch_records import Label
from hiwm_core.ros_domains import domain_id
from hiwm_nodes import qos
from hiwm_teleop import service_requests
from hiwm_teleop.devices.base import EventKind, OperatorEvent
from hiwm_teleop.service_requests import ServiceRequests
from hiwm_teleop.service_routes import ROUTES
from hiwm_test_support.nodes import spin_until

pytestmark = pytest.mark.nodes
GUARD_S = 30.0


class Graph:
    """A spinning operator node, and a server node that never spins: nothing is answered."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain_id())
        self.node, self.silent = (
            Node(name, context=self.context) for name in ("operator", "silent")
        )
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.answers = []
        self.requests = ServiceRequests(self.node, self.answers.append)

    def ready(self, service):
        assert self.until(self.requests._clients[service].service_is_ready)

    def until(self, predicate):
        return spin_until(self.executor, predicate, GUARD_S)

    def answer(self):
        """Return the answer to the last request."""
        def answered():
            self.requests.pump()
            return bool(self.answers)

        assert self.until(answered)
        return self.answers.pop()


@pytest.fixture
def graph():
    graph = Graph()
    yield graph
    graph.executor.shutdown()
    graph.node.destroy_node()
    graph.silent.destroy_node()
    graph.context.shutdown()


def test_a_request_that_times_out_is_forgotten(graph, monkeypatch):
    monkeypatch.setitem(
        ROUTES, EventKind.LABEL, replace(ROUTES[EventKind.LABEL], patience_s=0.05)
    )
    graph.silent.create_service(LabelService, "branches/label", lambda request, response: response)
    graph.ready("branches/label")
    for _ in range(3):
        graph.requests.ask(OperatorEvent(kind=EventKind.LABEL, label=Label.SUCCESS))
        answer = graph.answer()
        assert not answer.ok and "did not answer" in answer.message
    assert graph.requests._clients["branches/label"]._pending_requests == {}


def test_without_a_policy_nothing_is_started_and_a_stop_need_not_wait(graph):
    graph.silent.create_service(ControlRequest, "control/request", lambda _, response: response)
    graph.ready("control/request")
    begun = time.monotonic()
    graph.requests.ask(OperatorEvent(kind=EventKind.START))
    answer = graph.answer()
    assert not answer.ok and "policy/plan" in answer.message and "take over" in answer.message
    assert time.monotonic() - begun < service_requests._FIND_S
    graph.silent.create_publisher(PolicyPlan, "policy/plan", qos.COMMAND)
    assert graph.until(lambda: graph.node.count_publishers("policy/plan") == 1)
    graph.requests.ask(OperatorEvent(kind=EventKind.START))
    assert graph.requests._clients["control/request"]._pending_requests
