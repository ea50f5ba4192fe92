"""What buttons mean: a level for the deadman, one request per press for the others."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_core.branch_records import Label
from hiwm_core.control import Mode
from hiwm_teleop.devices.base import Answer, EventKind, OperatorView
from hiwm_teleop.devices.buttons import EVENTS, Buttons, ByControl, Pressed

USES: dict[str, Any] = {
    "A": "deadman", "B": ByControl(driving="next_arm", watching="rollback"), "C": "gripper",
    "D": "fork", "P": "pause",
}


def buttons(**more: Any) -> Buttons[str]:
    made: Buttons[str] = Buttons({**USES, **more}, 12, "pad")
    made.feed({})
    made.take(view())
    return made


def view(mode: Mode = Mode.POLICY, *answers: Answer) -> OperatorView:
    return OperatorView(now_s=0.0, mode=mode, answers=answers)


def after(made: Buttons[str], *reports: str, mode: Mode = Mode.POLICY) -> Pressed:
    """Feed reports, each a string of the letters that are down, and return the result."""
    for down in reports:
        made.feed(dict.fromkeys(down, True))
    return made.take(view(mode))


def test_the_deadman_is_a_level() -> None:
    made = buttons()
    assert after(made, "A").deadman
    assert after(made).deadman
    assert not after(made, "AB", "").deadman


def test_a_press_asks_once_however_long_it_is_held() -> None:
    made = buttons()
    assert [event.kind for event in after(made, "B", "B", "B").events] == [EventKind.ROLLBACK]
    assert not after(made, "B").events
    assert len(after(made, "", "B", "", "B").events) == 2
    assert after(made, "C").grippers == 1


def test_one_button_means_two_things() -> None:
    made = buttons()
    driving = after(made, "A", "AB")
    assert driving.arms == 1 and not driving.events
    watching = after(made, "", "B")
    assert watching.arms == 0 and watching.events[0].steps == 12


def test_a_button_down_in_the_first_report_makes_no_request() -> None:
    made: Buttons[str] = Buttons(USES, 12, "pad")
    first = after(made, "AB")
    assert first.deadman and not first.events and not first.arms
    made.forget()
    again = after(made, "AC")
    assert again.deadman and not again.grippers


def test_a_fork_is_made_where_the_last_rollback_led() -> None:
    made = buttons()
    assert after(made, "D").events[0].node_id == ""
    done = Answer(kind=EventKind.ROLLBACK, ok=True, message="", node_id="b:3")
    made.take(view(Mode.PAUSED, done, Answer(kind=EventKind.ROLLBACK, ok=False, message="no")))
    assert after(made, "", "D").events[0].node_id == "b:3"
    made.take(view(Mode.PAUSED, Answer(kind=EventKind.RESET, ok=True, message="")))
    assert after(made, "", "D").events[0].node_id == ""


@pytest.mark.parametrize("mode", Mode)
def test_pause_resumes_from_a_pause_and_never_leaves_a_stop(mode: Mode) -> None:
    kind = after(buttons(), "P", mode=mode).events[0].kind
    assert kind is (EventKind.START if mode is Mode.PAUSED else EventKind.PAUSE)


@pytest.mark.parametrize("use", sorted(EVENTS))
def test_every_request_a_file_may_name_is_made(use: Any) -> None:
    event = after(buttons(X=use), "X").events[0]
    assert event.kind is EVENTS[use]
    labels = {"success": Label.SUCCESS, "failure": Label.FAILURE}
    assert event.label is labels.get(use, Label.NONE)


@given(st.lists(st.sets(st.sampled_from("ABCDP")), max_size=40), st.integers(1, 7))
def test_requests_are_the_rising_edges_whenever_they_are_looked_at(
    reports: list[set[str]], every: int
) -> None:
    made = buttons()
    grippers = forks = 0
    for i, down in enumerate(reports):
        made.feed(dict.fromkeys(down, True))
        if i % every == 0 or i == len(reports) - 1:
            pressed = made.take(view())
            grippers += pressed.grippers
            forks += sum(event.kind is EventKind.FORK for event in pressed.events)
            assert pressed.deadman == ("A" in down)
    edges = [now - before for before, now in zip([set(), *reports], reports, strict=False)]
    assert grippers == sum("C" in edge for edge in edges)
    assert forks == sum("D" in edge for edge in edges)
