"""Keys do what the help says, and control expires into silence, never into a handback."""

from hypothesis import example, given
from hypothesis import strategies as st

from hiwm_core.branch_records import Label
from hiwm_core.control import Mode
from hiwm_teleop.devices.base import EventKind
from hiwm_teleop.key_intents import DEFAULT_ROLLBACK, HOLD_S, MOVES, KeyIntents


def pressed(keys, mode=Mode.POLICY, now=0.0, intents=None):
    intents = intents or KeyIntents()
    for key in keys:
        intents.press(key, now, mode)
    return intents.take(now, mode), intents


def test_wasd_moves_left_and_ijkl_right_once_in_control():
    for key, move in MOVES.items():
        intent, _ = pressed("t" + key)
        assert intent.deadman
        assert intent.moves == (move,)
    both, _ = pressed("twl")
    assert set(both.moves) == {(1, 1), (2, 1)}


def test_the_next_arm_is_requested_once_and_stops_the_motion_of_this_one():
    intent, intents = pressed("twv")
    assert intent.next_arm
    assert not intent.moves
    assert not intents.take(0.0, Mode.HUMAN).next_arm


def test_movement_without_control_moves_nothing():
    intent, _ = pressed("w")
    assert intent.moves == ()
    assert not intent.deadman
    assert "t takes over" in intent.note


def test_a_tap_ends_by_itself_and_repeats_keep_it_going():
    _, intents = pressed("tw")
    assert intents.take(HOLD_S * 0.9, Mode.HUMAN).moves
    assert not intents.take(HOLD_S * 1.1, Mode.HUMAN).moves
    for i in range(20):
        intents.press("w", 1.0 + i * 0.05, Mode.HUMAN)
        assert intents.take(1.0 + i * 0.05 + 0.04, Mode.HUMAN).moves


def test_handing_back_is_explicit():
    _, intents = pressed("t")
    intents.press("h", 1.0, Mode.HUMAN)
    intent = intents.take(1.0, Mode.HUMAN)
    assert not intent.deadman
    assert not intent.silent


def test_no_key_for_the_window_is_silence_until_the_arbiter_ends_control():
    _, intents = pressed("t")
    assert intents.take(4.9, Mode.HUMAN).deadman
    lapsed = intents.take(5.1, Mode.HUMAN)
    assert lapsed.silent
    assert "t takes over" in lapsed.note
    intents.press("w", 5.2, Mode.HUMAN)  # a late key does not take control back
    assert intents.take(5.2, Mode.HUMAN).silent
    after = intents.take(5.7, Mode.PAUSED)
    assert not after.silent
    assert not after.deadman


def test_any_key_keeps_control():
    _, intents = pressed("t")
    for i in range(10):
        intents.press("?", 4.0 * (i + 1), Mode.HUMAN)
        assert intents.take(4.0 * (i + 1), Mode.HUMAN).deadman


@example("t q", [0.0, 0.0, 0.0])  # quit before the arbiter had paused
@given(st.text(st.sampled_from("wasdijklt \tbf0123yn?zxq"), max_size=30),
       st.lists(st.floats(0.0, 7.0), max_size=30))
def test_while_a_person_was_in_control_only_h_releases_explicitly(keys, gaps):
    """Only an explicit release resumes a policy, so only h may cause one."""
    intents, now, held = KeyIntents(), 0.0, False
    for key, gap in zip(keys, gaps, strict=False):
        now += gap
        mode = Mode.HUMAN if held else Mode.POLICY
        intents.press(key, now, mode)
        intent = intents.take(now, mode)
        if held and not intent.silent:
            assert intent.deadman
        held = intent.deadman or (held and intent.silent)


def test_space_pauses_and_resumes_and_clears_a_stop():
    for mode, kind in (
        (Mode.POLICY, EventKind.PAUSE), (Mode.HANDBACK, EventKind.PAUSE),
        (Mode.PAUSED, EventKind.START), (Mode.STOPPED, EventKind.CLEAR_STOP),
    ):
        intent, _ = pressed(" ", mode)
        assert [event.kind for event in intent.events] == [kind]


def test_pausing_while_in_control_does_not_hand_back():
    _, intents = pressed("t")
    intents.press(" ", 1.0, Mode.HUMAN)
    intent = intents.take(1.0, Mode.HUMAN)
    assert intent.silent
    assert not intent.deadman


def test_taking_over_after_a_pause_releases_once_first():
    _, intents = pressed("t")
    intents.press("t", 1.0, Mode.PAUSED)  # somebody else paused
    assert not intents.take(1.0, Mode.PAUSED).deadman
    assert intents.take(1.05, Mode.PAUSED).deadman


def test_counts_before_b():
    for keys, steps in (("b", DEFAULT_ROLLBACK), ("25b", 25), ("3?b", DEFAULT_ROLLBACK)):
        intent, _ = pressed(keys)
        assert intent.events[-1].kind is EventKind.ROLLBACK
        assert intent.events[-1].steps == steps


def test_fork_starts_where_the_last_rollback_went():
    intent, intents = pressed("f")
    assert intent.events[0].node_id == ""
    intents.rolled_back_to = "ep_0001-b000:42"
    again, _ = pressed("f", intents=intents)
    assert again.events[0].node_id == "ep_0001-b000:42"


def test_labels_reset_and_quit():
    intent, _ = pressed("ynrq")
    assert [event.kind for event in intent.events] == [
        EventKind.LABEL, EventKind.LABEL, EventKind.RESET, EventKind.PAUSE, EventKind.QUIT,
    ]
    assert [event.label for event in intent.events[:2]] == [
        Label.SUCCESS, Label.FAILURE,
    ]


def test_events_are_given_out_once():
    _, intents = pressed("b")
    assert intents.take(0.1, Mode.POLICY).events == ()


def test_help_is_given_once():
    intent, intents = pressed("?")
    assert intent.help_wanted
    assert not intents.take(0.1, Mode.POLICY).help_wanted


def test_unknown_keys_say_so():
    intent, _ = pressed("z")
    assert "'z'" in intent.note
