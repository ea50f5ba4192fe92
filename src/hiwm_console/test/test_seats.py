"""Several look, one drives."""

from hypothesis import given
from hypothesis import strategies as st

from hiwm_console.flood import Bucket, Refusals
from hiwm_console.seats import Seats


def seats_of(*names):
    seats = Seats()
    for number, name in enumerate(names, 1):
        seats.join(number, name)
    return seats


def test_a_free_seat_is_taken_and_a_held_one_is_requested():
    seats = seats_of("Ann", "")
    assert "Ann has the controls" in seats.ask(1, holding=False)
    assert seats.ask(2, holding=True) == "viewer 2 asks Ann for the controls"
    assert (seats.driver, seats.asking) == (1, 2)
    assert "viewer 2 has the controls" in seats.give(1)
    assert (seats.driver, seats.asking) == (2, None)


def test_a_driver_with_hands_off_gives_way_at_once():
    seats = seats_of("Ann", "Bo")
    seats.ask(1, holding=False)
    seats.ask(2, holding=False)
    assert seats.driver == 2


def test_keeping_and_standing_up():
    seats = seats_of("Ann", "Bo")
    seats.ask(1, holding=False)
    seats.ask(2, holding=True)
    assert "Ann keeps" in seats.keep(1)
    assert (seats.driver, seats.asking) == (1, None)
    seats.ask(2, holding=True)
    assert "Bo has the controls" in seats.stand_up(1)
    assert seats.driver == 2


@given(st.lists(st.tuples(
    st.sampled_from(["join", "leave", "ask", "hold", "give", "keep", "stand_up"]),
    st.integers(1, 4),
), max_size=60))
def test_the_driver_is_always_here_and_nobody_takes_it_by_force(events):
    seats = Seats()
    for what, person in events:
        before = seats.driver
        if what == "join":
            seats.join(person, f"p{person}")
        elif what == "hold":
            seats.ask(person, holding=True)
            assert before is None or seats.driver == before
        elif what == "ask":
            seats.ask(person, holding=False)
        else:
            getattr(seats, what)(person)
        assert seats.driver is None or seats.driver in seats.people
        assert seats.asking is None or seats.asking in seats.people
        assert seats.asking is None or seats.asking != seats.driver


def test_a_bucket_lets_a_burst_through_and_then_its_rate():
    bucket = Bucket(rate=10.0, burst=5.0, now=0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.take(0.1) and not bucket.take(0.1)
    assert [bucket.take(100.0) for _ in range(6)] == [True] * 5 + [False]


def test_refusals_are_logged_once_and_invented_kinds_do_not_fill_the_log():
    lines = []
    refusals = Refusals(lines.append)
    for _ in range(1000):
        refusals.note("one")
    assert len(lines) == 1 and refusals.total == 1000
    for number in range(1000):
        refusals.note(f"invented {number}")
    assert len(lines) <= Refusals.MOST_KINDS + 1
