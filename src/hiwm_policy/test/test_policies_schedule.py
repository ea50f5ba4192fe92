"""When the policy plans, and when a plan is no longer valid."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.control import Mode
from hiwm_policy.plan_schedule import PlanSchedule, Remedy, TickId


def in_control(execute: int = 4) -> PlanSchedule:
    schedule = PlanSchedule(execute)
    schedule.on_control(Mode.POLICY, 0, 0, 0)
    return schedule


def plan_now(schedule: PlanSchedule) -> TickId:
    """Make and publish the plan that is due."""
    tick_id = schedule.due()
    assert tick_id is not None
    schedule.start(tick_id)
    assert schedule.finish(tick_id, usable=True)
    return tick_id


def test_a_chunk_runs_to_its_end_before_the_next_one() -> None:
    schedule = in_control(execute=4)
    planned = []
    for step in range(10):
        schedule.on_observation(1, step)
        if schedule.due():
            planned.append(plan_now(schedule).step)
    assert planned == [0, 4, 8]


def test_nothing_is_planned_unless_the_policy_is_in_control_or_next() -> None:
    for mode, expected in (
        (Mode.PAUSED, False), (Mode.HUMAN, False), (Mode.STOPPED, False),
        (Mode.POLICY, True), (Mode.HANDBACK, True),
    ):
        schedule = PlanSchedule(4)
        schedule.on_observation(1, 0)
        schedule.on_control(mode, 1, 0, 0)
        assert (schedule.due() is not None) is expected, mode


def test_a_new_epoch_is_planned_for_at_once() -> None:
    schedule = in_control()
    schedule.on_observation(1, 5)
    plan_now(schedule)
    assert schedule.on_observation(2, 3)
    assert schedule.due() == TickId(2, 3)


def test_a_plan_is_dropped_when_the_epoch_changed_meanwhile() -> None:
    schedule = in_control()
    schedule.on_observation(1, 5)
    schedule.start(TickId(1, 5))
    schedule.on_observation(2, 3)
    assert not schedule.finish(TickId(1, 5), usable=True)
    assert schedule.due() == TickId(2, 3)


def test_a_plan_is_dropped_when_a_person_took_over_meanwhile() -> None:
    schedule = in_control()
    schedule.on_observation(1, 5)
    schedule.start(TickId(1, 5))
    schedule.on_control(Mode.HUMAN, 1, 5, 1)
    assert not schedule.finish(TickId(1, 5), usable=True)
    assert schedule.due() is None


def test_handback_needs_a_plan_from_where_the_person_stopped() -> None:
    schedule = in_control(execute=8)
    schedule.on_observation(1, 5)
    plan_now(schedule)
    schedule.on_control(Mode.HUMAN, 1, 6, 1)
    schedule.on_observation(1, 6)
    # The control state overtakes the observation of its tick.
    schedule.on_control(Mode.HANDBACK, 1, 7, 1)
    assert schedule.due() is None
    schedule.on_observation(1, 7)
    assert schedule.due() == TickId(1, 7)
    plan_now(schedule)
    schedule.on_control(Mode.POLICY, 1, 9, 1)
    schedule.on_observation(1, 9)
    assert schedule.due() is None


def test_a_takeover_that_ended_before_its_state_arrived_still_counts() -> None:
    schedule = in_control(execute=8)
    schedule.on_observation(1, 5)
    plan_now(schedule)
    schedule.on_observation(1, 6)
    schedule.on_control(Mode.POLICY, 1, 6, 1)
    assert schedule.due() == TickId(1, 6)


def test_a_pause_keeps_the_chunk() -> None:
    schedule = in_control(execute=8)
    schedule.on_observation(1, 5)
    plan_now(schedule)
    schedule.on_control(Mode.PAUSED, 1, 5, 0)
    schedule.on_control(Mode.POLICY, 1, 5, 0)
    assert schedule.due() is None


def test_an_unusable_plan_is_not_retried_from_the_same_tick() -> None:
    schedule = in_control()
    schedule.on_observation(1, 5)
    schedule.start(TickId(1, 5))
    assert schedule.finish(TickId(1, 5), usable=False)
    assert schedule.due() is None
    schedule.on_observation(1, 6)
    assert schedule.due() == TickId(1, 6)


def test_a_world_that_waits_gets_the_plan_again_and_then_a_new_one() -> None:
    schedule = in_control()
    schedule.on_observation(1, 5)
    assert schedule.on_repeated_tick(1, 5) is Remedy.PLAN
    plan_now(schedule)
    assert schedule.on_repeated_tick(1, 4) is Remedy.NOTHING
    assert schedule.on_repeated_tick(1, 5) is Remedy.SEND_AGAIN
    assert schedule.on_repeated_tick(1, 5) is Remedy.PLAN
    assert schedule.due() == TickId(1, 5)
    schedule.on_control(Mode.PAUSED, 1, 5, 0)
    assert schedule.on_repeated_tick(1, 5) is Remedy.NOTHING


def test_a_restarted_world_gets_plans() -> None:
    schedule = in_control()
    schedule.on_control(Mode.HUMAN, 9, 40, 1)
    schedule.on_control(Mode.HANDBACK, 9, 41, 1)
    schedule.on_observation(9, 41)
    plan_now(schedule)
    schedule.on_observation(1, 0)
    assert schedule.due() == TickId(1, 0)


def test_a_failed_policy_plans_again_when_it_is_started() -> None:
    schedule = in_control()
    schedule.on_observation(1, 5)
    plan_now(schedule)
    schedule.fail()
    assert schedule.plan is None and schedule.due() is None
    schedule.on_control(Mode.PAUSED, 1, 5, 0)
    schedule.on_control(Mode.POLICY, 1, 5, 0)
    assert schedule.due() == TickId(1, 5)


def test_a_chunk_has_run_out_only_once_it_has_moved_the_robot() -> None:
    schedule = in_control(execute=2)
    schedule.on_observation(1, 0)
    assert not schedule.ran_out(4)  # the first plan is being made
    plan_now(schedule)
    for step in range(1, 5):
        schedule.on_observation(1, step)
        assert schedule.ran_out(4) is (step == 4)
    schedule.on_control(Mode.PAUSED, 1, 4, 0)
    schedule.on_control(Mode.POLICY, 1, 4, 0)
    schedule.on_observation(1, 5)
    assert not schedule.ran_out(4)


EVENTS = st.one_of(
    st.tuples(st.just("tick"), st.booleans()),
    st.tuples(st.just("control"), st.sampled_from(list(Mode)), st.booleans()),
    st.tuples(st.just("start")),
    st.tuples(st.just("finish"), st.booleans()),
)


@settings(deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_no_plan_outlives_its_epoch_or_a_person(events: list[tuple[object, ...]]) -> None:
    schedule = PlanSchedule(3)
    epoch, step, mode, takeovers = 1, 0, Mode.PAUSED, 0
    under_way: TickId | None = None
    invalid = False
    schedule.on_observation(epoch, step)
    for event in events:
        if event[0] == "tick":
            epoch, step = (epoch + 1, max(0, step - 2)) if event[1] else (epoch, step + 1)
            invalid = invalid or bool(event[1])
            schedule.on_observation(epoch, step)
        elif event[0] == "control":
            mode = Mode(event[1])  # type: ignore[arg-type]
            takeovers += bool(event[2])
            invalid = invalid or mode is Mode.HUMAN or bool(event[2])
            schedule.on_control(mode, epoch, step, takeovers)
        elif event[0] == "start" and (due := schedule.due()):
            assert mode in (Mode.POLICY, Mode.HANDBACK)
            assert due == TickId(epoch, step)
            schedule.start(due)
            under_way, invalid = due, False
        elif event[0] == "finish" and under_way is not None:
            published = schedule.finish(under_way, usable=bool(event[1]))
            if published:
                assert mode in (Mode.POLICY, Mode.HANDBACK)
                assert not invalid
                assert under_way.epoch == epoch
            under_way = None
