"""A tick is published again for each subscriber that joins."""

from types import SimpleNamespace
from typing import Any

from hiwm_nodes.late_subscribers import SETTLE_S, LateSubscribers


def test_subscribers_have_settled_when_none_has_come_for_a_while() -> None:
    count, clock = [0], [100.0]
    publishers: Any = [SimpleNamespace(get_subscription_count=lambda: count[0])]
    late = LateSubscribers(publishers, lambda: clock[0])

    def settled() -> bool:
        late.joined()
        return late.settled(2.0)

    clock[0] += 10.0
    assert not settled()  # nobody is there
    count[0] = 1
    assert not settled()
    clock[0] += 1.9
    count[0] = 2
    assert not settled()
    clock[0] += 1.9
    assert not settled()
    clock[0] += 0.2
    assert settled()


def test_a_tick_is_repeated_when_a_subscriber_joins_and_when_the_last_one_has_settled() -> None:
    counts, clock = [0, 0], [100.0]
    publishers: Any = [
        SimpleNamespace(get_subscription_count=lambda i=i: counts[i]) for i in range(2)
    ]
    late = LateSubscribers(publishers, lambda: clock[0])
    assert not late.joined()
    counts[0] = 1
    assert late.joined() and not late.joined()
    clock[0] += SETTLE_S - 1.0
    counts[1] = 2
    assert late.joined()
    clock[0] += SETTLE_S - 0.5  # the first subscriber has settled, the last one has not
    assert not late.joined()
    counts[1] = 1  # one left
    assert not late.joined()
    clock[0] += 0.5
    assert late.joined() and not late.joined()
