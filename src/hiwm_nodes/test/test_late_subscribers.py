"""A tick is published again for each subscriber that joins."""

from types import SimpleNamespace
from typing import Any

from hiwm_nodes.late_subscribers import SETTLE_S, LateSubscribers


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
