"""Calling services without the ros2 CLI: type lookup, field checks, printed refusals."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import rclpy
from hiwm_interfaces.srv import ControlRequest, Rollback
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from hiwm_core.errors import ConfigError
from hiwm_core.ros_domains import domain_id
from hiwm_nodes.call import plain, request_of

pytestmark = pytest.mark.nodes


@pytest.fixture
def session() -> Iterator[int]:
    """A node with a rollback service; yields its domain."""
    domain = domain_id()
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("session", namespace="hiwm", context=context)

    def answer(request: Rollback.Request, response: Rollback.Response) -> Rollback.Response:
        response.ok = request.steps == 15
        response.message = f"{request.steps} steps"
        return response

    node.create_service(Rollback, "branches/rollback", answer)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield domain
    executor.shutdown()
    rclpy.shutdown(context=context)
    thread.join(10.0)


def call(domain: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hiwm_nodes.call", *arguments], capture_output=True, text=True,
        env=os.environ | {"ROS_DOMAIN_ID": str(domain)}, timeout=120, check=False,
    )


def test_a_service_is_found_and_called_and_its_response_printed(session: int) -> None:
    good = call(session, "branches/rollback", "steps:=15")
    assert good.returncode == 0 and "ok: true\nmessage: 15 steps" in good.stdout, good.stderr
    refused = call(session, "/hiwm/branches/rollback", "steps:=3")
    assert refused.returncode == 1 and "message: 3 steps" in refused.stdout
    assert "/hiwm/branches/rollback  hiwm_interfaces/srv/Rollback" in call(session, "--list").stdout
    wrong = call(session, "branches/rolback", "steps:=3")
    assert wrong.returncode == 1 and "did you mean '/hiwm/branches/rollback'?" in wrong.stderr
    key = call(session, "branches/rollback", "step:=3")
    assert key.returncode == 1 and "did you mean 'steps'?" in key.stderr


def test_fields_are_checked_before_anything_is_sent() -> None:
    request = request_of(ControlRequest, ["request:=1", "reason:='by hand'"], "x")
    assert (request.request, request.reason) == (1, "by hand")
    assert request_of(ControlRequest, ["reason:=12"], "x").reason == "12"
    for text, words in (
        ("request:=soon", "request is a uint8, not 'soon'"), ("request:=999", "uint8"),
        ("request", "write key:=value"), ("reasons:=x", "did you mean 'reason'?"),
    ):
        with pytest.raises(ConfigError, match=words.replace("?", "\\?")):
            request_of(ControlRequest, [text], "x")


def test_long_lists_are_printed_as_their_length() -> None:
    response = Rollback.Response(ok=True)
    assert plain(response)["ok"] is True
    assert plain([1] * 21) == "21 values" and plain([1, 2]) == [1, 2]
