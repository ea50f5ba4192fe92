"""A tick is published again for each subscriber that joins."""

from types import SimpleNamespace
from typing import Any

from hiwm_nodes.late_subscribers import REPEATS_S, LateSubscribers


def test_a_tick_is_repeated_when_a_subscriber_joins_and_some_times_after_the_last_one() -> None:
    counts, clock = [0, 0], [100.0]
    publishers: Any = [
        SimpleNamespace(get_subscription_count=lambda i=i: counts[i]) for i in range(2)
    ]
    late = LateSubscribers(publishers, lambda: clock[0])
    assert not late.joined()
    counts[0] = 1
    assert late.joined() and not late.joined()
    clock[0] += REPEATS_S[0]
    assert late.joined() and not late.joined()
    counts[1] = 2
    assert late.joined()
    clock[0] += REPEATS_S[0] - 0.1  # counted from the last subscriber
    assert not late.joined()
    counts[1] = 1  # one left
    assert not late.joined()
    for after, before in zip(REPEATS_S, (REPEATS_S[0] - 0.1, *REPEATS_S), strict=False):
        clock[0] += after - before
        assert late.joined() and not late.joined()
    clock[0] += 100.0
    assert not late.joined()
