"""How early a robot in real time asks for its next chunk, and when its policy is too slow."""

from hypothesis import given
from hypothesis import strategies as st

from hiwm_policy.chunk_pace import PATIENCE_S, ChunkPace


def paced(*latencies: float, horizon: int = 16, execute: int = 8) -> ChunkPace:
    pace = ChunkPace(horizon, execute, 0.1)
    for latency in latencies:
        pace.answered(latency, in_time=True)
    return pace


def test_a_fast_policy_executes_as_trained_and_a_slow_one_asks_earlier() -> None:
    assert paced().execute == 8
    assert paced(0.05).execute == 8
    assert paced(0.75).execute == 8  # 7 ticks ahead of 15
    assert paced(0.9).execute == 6
    assert paced(0.9, *[0.05] * 7).execute == 6  # the longest of the last eight
    assert paced(0.9, *[0.05] * 8).execute == 8
    assert paced(60.0).execute == 1


def test_the_bound_is_half_a_chunk() -> None:
    assert paced().bound_s == 0.8
    assert paced(horizon=7).bound_s == 0.1 * 3
    assert paced(horizon=1).bound_s == 0.0
    assert "0.90 s" in paced().reason(0.9) and "0.80 s" in paced().reason(0.9)


def test_one_late_answer_is_forgiven_and_a_second_or_a_long_wait_is_not() -> None:
    pace = paced(0.1)
    pace.answered(0.9, in_time=False)
    assert not pace.too_slow(PATIENCE_S)
    assert pace.too_slow(PATIENCE_S + 0.01)
    pace.answered(0.9, in_time=False)
    assert pace.too_slow(0.0)
    pace.forget()
    assert not pace.too_slow(0.0) and pace.execute == 8


def test_late_answers_far_apart_are_forgiven() -> None:
    pace = paced()
    for number in range(40):
        pace.answered(0.1, in_time=number % 4 > 0)
        assert not pace.too_slow(0.0)


@given(st.integers(1, 64), st.integers(1, 64), st.lists(st.floats(0.0, 20.0), max_size=20))
def test_the_next_chunk_is_asked_for_in_time_unless_the_policy_is_slower_than_the_chunk(
    horizon: int, execute: int, latencies: list[float]
) -> None:
    pace = paced(*latencies, horizon=horizon, execute=execute)
    assert 1 <= pace.execute <= max(1, execute)
    assert pace.execute + pace.ahead <= horizon - 1 or pace.execute == 1
