"""A namespace has one arbiter: a second one exits and names the first."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hiwm_core.ros_domains import domain_id
from hiwm_test_support.nodes import NodeProcess, wait_until

pytestmark = pytest.mark.nodes


class Arbiters:
    """Arbiters of one domain, each on its own machine by default."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        self._folder, self._environment, self._stack = folder, monkeypatch, stack
        self._domain = domain_id()

    def start(self, machine: str, namespace: str = "hiwm") -> NodeProcess:
        # A different temporary folder makes a process look like a container.
        folder = self._folder / machine
        folder.mkdir(exist_ok=True)
        self._environment.setenv("TMPDIR", str(folder))
        return self._stack.enter_context(
            NodeProcess("hiwm_control", "arbiter", domain=self._domain, namespace=namespace)
        )


@pytest.fixture
def arbiters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arbiters]:
    with ExitStack() as stack:
        yield Arbiters(tmp_path, monkeypatch, stack)


def running(node: NodeProcess) -> bool:
    return "PAUSED" in node.output


def check_refused(second: NodeProcess, first: NodeProcess) -> None:
    [line] = [line for line in second.output.splitlines() if "error: " in line]
    assert "arbiter already running in namespace /hiwm: arbiter" in line
    assert str(first.process.pid) in line and "ROS_DOMAIN_ID" in line
    assert "Traceback" not in second.output
    assert first.process.poll() is None, first.output


def test_a_second_one_on_this_machine_never_comes_up(arbiters: Arbiters) -> None:
    first = arbiters.start("here")
    wait_until(lambda: running(first))
    second = arbiters.start("here")
    assert second.wait() == 1
    check_refused(second, first)
    assert not running(second)
    elsewhere = arbiters.start("here", namespace="other")
    wait_until(lambda: running(elsewhere))
    first.kill9()
    third = arbiters.start("here")  # a killed one leaves nothing behind
    wait_until(lambda: running(third))


def test_of_two_in_different_containers_the_later_one_ends(arbiters: Arbiters) -> None:
    first = arbiters.start("one")
    wait_until(lambda: running(first))
    second = arbiters.start("two")
    assert second.wait() == 1
    check_refused(second, first)


def test_of_several_that_start_together_one_stays(arbiters: Arbiters) -> None:
    nodes = [arbiters.start(name) for name in ("one", "two", "three")]
    wait_until(lambda: sum(node.process.poll() is not None for node in nodes) == 2)
    [stays] = [node for node in nodes if node.process.poll() is None]
    wait_until(lambda: running(stays))
    for node in nodes:
        if node is not stays:
            assert node.wait() == 1 and "arbiter already running" in node.output
    assert stays.process.poll() is None
