"""Any input from a page is parsed as one of our messages or refused."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_console import protocol, world_simulator
from hiwm_console.protocol import Act, Drive, Refused, Seen, parse

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=12), inner,
                                                                  max_size=5),
    max_leaves=12,
)
fields = st.sampled_from(
    ["type", "axes", "deadman", "t", "device", "why", "do", "id", "action", "node", "steps",
     "branch", "label", "note", "count", "seed", "restore", "n", "name", "task", "t_client"]
)
kinds = st.sampled_from(
    ["hello", "drive", "let_go", "seat", "act", "seen", "tree", "ping", "init", "action", "x"]
)
near_misses = st.builds(
    lambda kind, rest: {**rest, "type": kind}, kinds, st.dictionaries(fields, anything, max_size=6)
)


def understood(read, text):
    try:
        return read(text)
    except Refused as refused:
        assert str(refused) and len(str(refused)) < 300
        return None


@given(st.text(max_size=300))
def test_no_text_does_harm(text):
    understood(parse, text)
    understood(world_simulator.parse, text)


@settings(max_examples=400)
@given(near_misses)
def test_no_object_does_harm(data):
    text = json.dumps(data)
    message = understood(parse, text)
    if isinstance(message, Drive):
        assert all(-1.0 <= axis <= 1.0 for axis in message.axes)
        assert math.isfinite(message.t) and isinstance(message.deadman, bool)
    if isinstance(message, Act):
        assert message.action in protocol.ACTIONS
        assert message.node == "" or protocol.is_node_name(message.node)
    keys = understood(world_simulator.parse, text)
    if isinstance(keys, world_simulator.KeyState):
        assert math.isfinite(keys.t_client)


@given(st.lists(st.floats(-1.0, 1.0), max_size=protocol.MOST_AXES), st.booleans(),
       st.floats(0.0, 1e15))
def test_what_a_page_says_comes_through(axes, deadman, t):
    text = json.dumps({"type": "drive", "axes": axes, "deadman": deadman, "t": t})
    assert parse(text) == Drive(axes=tuple(axes), deadman=deadman, t=t)


@pytest.mark.parametrize(("text", "reason"), [
    ("{", "not JSON"),
    ("[1]", "not a JSON object"),
    ("[" * 3000, "not JSON"),
    ('{"type": "seen", "n": ' + "9" * 4000 + "}", "not"),
    ('{"type": "' + "x" * 5000 + '"}', "characters"),
    ('{"type": "fly"}', "type is not one of"),
    ('{"type": ["drive"]}', "type is not one of"),
    ('{"type": "seen"}', "no n"),
    ('{"type": "seen", "n": true}', "whole number"),
    ('{"type": "seen", "n": 1, "m": 2}', "unknown field"),
    ('{"type": "drive", "axes": [NaN], "deadman": true, "t": 1}', "not a number"),
    ('{"type": "drive", "axes": [1e999], "deadman": true, "t": 1}', "from -1 to 1"),
    ('{"type": "drive", "axes": [1.5], "deadman": true, "t": 1}', "from -1 to 1"),
    ('{"type": "drive", "axes": [0], "deadman": 1, "t": 1}', "true or false"),
    ('{"type": "drive", "axes": [0], "deadman": true, "t": -1}', "from 0"),
    ('{"type": "act", "id": 1, "action": "delete"}', "not one of"),
    ('{"type": "act", "id": 1, "action": "fork", "node": "../../etc/passwd"}', "not a node id"),
    ('{"type": "act", "id": 1, "action": "discard", "branch": "a/b"}', "not a branch id"),
    ('{"type": "act", "id": 1, "action": "label", "note": "' + "n" * 501 + '"}', "longer than"),
])
def test_refusals_say_why(text, reason):
    with pytest.raises(Refused, match=reason):
        parse(text)


def test_control_characters_of_a_note_do_not_reach_a_log():
    act = parse(json.dumps({"type": "act", "id": 1, "action": "label", "note": "a\nb\x1b[31m"}))
    assert act.note == "a b [31m"


def test_messages_without_arguments_and_with():
    assert parse('{"type": "tree"}') == protocol.TreeWish()
    assert parse('{"type": "seen", "n": 7}') == Seen(n=7)


def test_the_world_simulators_keys_move_both_arms():
    said = world_simulator.parse(
        '{"type": "action", "action": {"w": 1, "a": 0, "L": 1, "u": 1}, "t_client": 12.5}'
    )
    assert said.t_client == 12.5
    planes = [(0, 1), (3, 2)]
    assert world_simulator.axes_of(said.keys, planes, 4) == [0.0, 1.0, 0.0, 1.0]
    assert world_simulator.axes_of(frozenset("adws"), planes, 4) == [0.0] * 4
    # A robot with one arm, and one that does not move in a plane.
    assert world_simulator.axes_of(said.keys, [(0, 1)], 2) == [0.0, 1.0]
    assert world_simulator.axes_of(said.keys, [], 1) == [0.0]
    assert world_simulator.frame_message(1.0, b"png") == b"\x3f\xf0\0\0\0\0\0\0png"


@pytest.mark.parametrize("text", [
    '{"type": "action", "action": {"w": 2}}',
    '{"type": "action", "action": {"w": "1"}}',
    '{"type": "action", "action": [1]}',
    '{"type": "action", "action": {"w": 1}, "t_client": "now"}',
    '{"type": "action", "action": {"w": 1}, "t_client": -5}',
    '{"type": "init", "task": 7}',
    '{"type": "record_start"}',
])
def test_the_world_simulators_nonsense_is_refused(text):
    with pytest.raises(Refused):
        world_simulator.parse(text)
