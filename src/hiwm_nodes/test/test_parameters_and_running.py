"""Shared by every node: parameters with ranges, and shutdown."""

import os
import signal
import time
from contextlib import nullcontext

import numpy as np
import pytest
import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String

from hiwm_core.errors import ConfigError
from hiwm_core.ros_domains import domain_id
from hiwm_core.stamps import stamp_ns
from hiwm_nodes.messages import image_message, time_message
from hiwm_nodes.parameters import parameter
from hiwm_nodes.running import NodeEnd, run

pytestmark = pytest.mark.nodes


def node_with(value: str, ended: list[str], after: Exception | None = None) -> type[Node]:
    """Return a node that declares `rate` with a value from the command line, then stops."""

    class Sample(Node):
        def __init__(self) -> None:
            super().__init__("sample")
            ended.append(str(parameter(self, "rate", 10.0, "ticks per second", 0.0, 100.0)))
            self.create_timer(0.01, self.end)

        def end(self) -> None:
            raise after or NodeEnd(3, "done")

        def close(self) -> None:
            ended.append("closed")

    return Sample


def arguments(value: str) -> list[str]:
    """Return a command line that sets the rate."""
    os.environ["ROS_DOMAIN_ID"] = str(domain_id())
    return ["--ros-args", "-p", f"rate:={value}"]


@pytest.mark.parametrize("value", ["4e7", "12", "yes", "[a, b]"])
def test_text_that_ros_reads_as_something_else_is_refused_with_the_way_to_write_it(
    value: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """`-p session_dir:=4e7` gives the node a number, whatever the shell's quotes."""

    class Sample(Node):
        def __init__(self) -> None:
            super().__init__("sample")
            assert parameter(self, "session_dir", "", "folder of the session") == value
            self.create_timer(0.01, self.end)

        def end(self) -> None:
            raise NodeEnd(3)

    os.environ["ROS_DOMAIN_ID"] = str(domain_id())
    assert run(Sample, ["--ros-args", "-p", f"session_dir:={value}"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "parameter session_dir of sample" in line
    assert line.endswith("""a path as ./NAME, other text as session_dir:="'...'\"""")
    assert run(Sample, ["--ros-args", "-p", f"session_dir:='{value}'"]) == 3


def test_an_integer_is_accepted_for_a_float() -> None:
    """People write rate:=20; the node closes and exits with the requested code."""
    ended: list[str] = []
    assert run(node_with("20", ended), arguments("20")) == 3
    assert ended == ["20.0", "closed"]


@pytest.mark.parametrize("value", ["1000.0", "fast", "true"])
def test_a_bad_value_is_refused_by_name(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Out of range or not a number: one line that names the parameter, exit code 1."""
    assert run(node_with(value, []), arguments(value)) == 1
    assert "rate" in capsys.readouterr().err


def test_setting_a_parameter_of_a_running_node_is_refused_with_the_reason() -> None:
    """Nodes read parameters only at startup, so a successful response would be false."""
    context = Context()
    rclpy.init(context=context, domain_id=domain_id())
    node = rclpy.create_node("sample", context=context)
    client_node = rclpy.create_node("person", context=context)
    executor = SingleThreadedExecutor(context=context)
    for each in (node, client_node):
        executor.add_node(each)
    try:
        assert parameter(node, "rate", 10.0, "ticks per second", 0.0, 100.0) == 10.0
        client = client_node.create_client(SetParameters, "sample/set_parameters")
        assert client.wait_for_service(60.0)
        new = Parameter("rate", value=20.0).to_parameter_msg()
        future = client.call_async(SetParameters.Request(parameters=[new]))
        executor.spin_until_future_complete(future, timeout_sec=60.0)
        (result,) = future.result().results
        assert not result.successful and "read-only" in result.reason
        assert node.get_parameter("rate").value == 10.0
    finally:
        executor.shutdown()
        rclpy.shutdown(context=context)


def test_an_error_of_ours_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An error that the user can fix is printed without a traceback, and files are closed."""
    ended: list[str] = []
    error = ConfigError("it is wrong", where="here", remedy="fix it")
    assert run(node_with("1", ended, error), arguments("1")) == 1
    assert capsys.readouterr().err.strip() == "error: it is wrong (here): fix it"
    assert ended[-1] == "closed"
    assert not rclpy.ok()


@pytest.mark.parametrize("interrupted", [True, False])
@pytest.mark.parametrize("kind", [RuntimeError, SystemError])
def test_an_interrupt_that_rclpy_turned_into_its_own_error_stops_the_node_and_others_raise(
    interrupted: bool, kind: type[Exception],
) -> None:
    """pybind11 turns an exception of a signal handler during a conversion into one of these."""
    def convert() -> None:
        try:
            if interrupted:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1.2)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(30.0)
        finally:
            raise kind("Unable to convert call argument")

    def make() -> Node:
        node = Node("interrupted")
        node.create_timer(0.01, convert)
        return node

    with nullcontext() if interrupted else pytest.raises(kind, match="Unable"):
        assert run(make, arguments("1")) == 0
    assert not rclpy.ok()


def test_a_message_taken_when_a_signal_comes_still_reaches_its_callback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise a bag has the commands of its last step without the tick they answer."""
    sent = String(data="of the last step")
    received: list[str] = []
    make_message = String.__init__

    def interrupted(self: String, **fields: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)  # in the middle of taking
        make_message(self, **fields)

    def make() -> Node:
        node = Node("interrupted")
        publisher = node.create_publisher(String, "words", 10)
        node.create_subscription(
            String, "words", lambda message: received.append(message.data), 10
        )

        def publish() -> None:
            if publisher.get_subscription_count():
                monkeypatch.setattr(String, "__init__", interrupted)
                publisher.publish(sent)

        node.create_timer(0.02, publish)
        return node

    assert run(make, arguments("1")) == 0
    assert received == [sent.data]


def test_stamps_and_images_round_trip() -> None:
    """Nanoseconds and pixels come back unchanged."""
    assert stamp_ns(time_message(12_345_678_901)) == 12_345_678_901
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    message = image_message(pixels, time_message(1), "top_camera")
    assert bytes(message.data) == pixels.tobytes()
    assert (message.height, message.width, message.step) == (4, 5, 15)
