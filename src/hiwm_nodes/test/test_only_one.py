"""Which of two nodes with one role stays, if the clocks of their machines differ."""

import time
from collections.abc import Callable
from copy import deepcopy
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest

from hiwm_core.errors import BusyError
from hiwm_nodes import only_one
from hiwm_nodes.only_one import WORLD, OnlyOne


class Network:
    """Worlds on machines of their own, and the announcements that they receive."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.running: dict[str, World] = {}
        monkeypatch.setattr(only_one, "hold_until_end", lambda *_: None)

    def start(self, name: str, clock_s: int) -> "World":
        """Start a world whose system clock shows ``clock_s``; nothing is delivered yet."""
        self._monkeypatch.setattr(time, "time_ns", lambda: clock_s * 10**9)
        self.running[name] = World(name)
        return self.running[name]

    def deliver(self, to: str, sender: str) -> None:
        """Deliver the latched announcement of one world to another, if both still run."""
        if to in self.running and sender in self.running:
            try:
                self.running[to].hear(deepcopy(self.running[sender].latched))
            except BusyError:
                del self.running[to]

    def settle(self, order: list[tuple[str, str]]) -> set[str]:
        """Deliver what is latched, twice, and return the worlds that stay."""
        for to, sender in order * 2:
            self.deliver(to, sender)
        return set(self.running)


class World:
    """The part of a node that OnlyOne uses."""

    latched: Any = None
    hear: Callable[[Any], None]
    period: Callable[[], None]

    def __init__(self, name: str) -> None:
        self.name = name
        self.only = OnlyOne(self, WORLD)  # type: ignore[arg-type]

    def get_name(self) -> str:
        return self.name

    def get_namespace(self) -> str:
        return "/hiwm"

    def get_logger(self) -> Any:
        return SimpleNamespace(warning=lambda _text: None)

    def create_publisher(self, *_: Any) -> Any:
        return SimpleNamespace(publish=lambda message: setattr(self, "latched", deepcopy(message)))

    def create_subscription(self, _type: Any, _topic: str, callback: Any, _qos: Any) -> None:
        self.hear = callback

    def create_timer(self, _period: float, callback: Any, **_: Any) -> Any:
        self.period = callback
        return SimpleNamespace(cancel=lambda: None)

    def run(self, periods: int = 3) -> None:
        for _ in range(periods):
            self.period()


BOTH = [("old", "new"), ("new", "old")]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


@pytest.mark.parametrize("clock_s", [0, 900, 1000, 5000, 2**31 - 1])
@pytest.mark.parametrize("order", [BOTH, BOTH[::-1]])
def test_an_established_node_stays_whatever_the_newcomers_clock_says(
    network: Network, clock_s: int, order: list[tuple[str, str]]
) -> None:
    network.start("old", 1000).run()
    network.start("new", clock_s)
    assert network.settle(list(order)) == {"old"}


@pytest.mark.parametrize("clock_s", [0, 5000])
def test_a_node_established_between_the_two_deliveries_stays_alone(
    network: Network, clock_s: int
) -> None:
    old = network.start("old", 1000)
    old.run(2)
    network.start("new", clock_s)
    network.deliver("new", "old")
    old.run(1)
    assert network.settle(BOTH) == {"old"}


@pytest.mark.parametrize("established", [False, True])
@pytest.mark.parametrize("order", [BOTH, BOTH[::-1]])
def test_of_two_equals_the_earlier_start_stays(
    network: Network, established: bool, order: list[tuple[str, str]]
) -> None:
    worlds = [network.start("old", 1000), network.start("new", 1001)]
    if established:  # their networks were joined later
        for world in worlds:
            world.run()
    assert network.settle(list(order)) == {"old"}


def test_a_rival_of_the_first_seconds_delays_being_established(network: Network) -> None:
    first, rival = network.start("old", 1000), network.start("new", 1001)
    first.run(2)
    first.hear(rival.latched)
    first.run(1)
    assert first.latched.started.sec == 1000
    first.run(2)
    assert first.latched.started.sec < 0


def test_exactly_one_of_three_newcomers_stays(network: Network) -> None:
    for order in permutations(permutations("abc", 2)):
        for name, clock_s in (("a", 1000), ("b", 1000), ("c", 500)):
            network.start(name, clock_s)
        assert network.settle(list(order)) == {"c"}
