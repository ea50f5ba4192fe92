"""Provenance of steps: by source, before takeovers, behind rollbacks."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.control import Source
from hiwm_core.provenance import (
    PRE_INTERVENTION_STEPS,
    Provenance,
    assign,
    line_provenance,
    tree_provenance,
)

POLICY, HUMAN = Source.POLICY, Source.HUMAN


@dataclass
class Step:
    node_id: str
    parent_id: str
    source: int
    rolled_back: bool = False


def line(branch: str, sources: list[int], parent: str = "", first: int = 0) -> list[Step]:
    steps = []
    for i, source in enumerate(sources, first):
        steps.append(Step(f"{branch}:{i}", parent, source))
        parent = f"{branch}:{i}"
    return steps


@pytest.mark.parametrize(("source", "provenance"), [
    (Source.NONE, Provenance.NONE),
    (Source.POLICY, Provenance.POLICY),
    (Source.HUMAN, Provenance.HUMAN),
    (Source.DEMONSTRATION, Provenance.DEMONSTRATION),
    (Source.HANDBACK, Provenance.HUMAN),
])
def test_a_lone_step_goes_by_its_source(source: Source, provenance: Provenance) -> None:
    assert line_provenance([source]) == [provenance]
    assert tree_provenance(line("a", [source])) == {"a:0": provenance}


def test_the_fifteen_policy_steps_before_a_takeover_led_to_it() -> None:
    steps = line_provenance([POLICY] * 20 + [HUMAN] * 3 + [POLICY] * 2)
    assert steps == (
        [Provenance.POLICY] * 5 + [Provenance.PRE_INTERVENTION] * 15
        + [Provenance.HUMAN] * 3 + [Provenance.POLICY] * 2
    )


def test_a_takeover_after_a_hold_still_counts() -> None:
    assert line_provenance([POLICY, Source.NONE, HUMAN]) == [
        Provenance.PRE_INTERVENTION, Provenance.NONE, Provenance.HUMAN,
    ]


def test_steps_before_a_correction_may_be_on_the_parent_branch() -> None:
    trunk = line("a", [Source.NONE] + [POLICY] * 29)
    for step in trunk[25:]:
        step.rolled_back = True
    fork = line("b", [HUMAN] * 4, parent="a:24", first=25)
    result = tree_provenance(trunk + fork)
    assert [result[f"a:{i}"] for i in range(10, 25)] == [Provenance.PRE_INTERVENTION] * 15
    assert result["a:9"] is Provenance.POLICY
    assert {result[f"a:{i}"] for i in range(25, 30)} == {Provenance.ROLLED_BACK}
    assert {result[f"b:{i}"] for i in range(25, 29)} == {Provenance.HUMAN}


def test_a_correction_that_was_rolled_back_itself_marks_nothing_before_it() -> None:
    steps = line("a", [POLICY] * 5) + line("b", [HUMAN], parent="a:4", first=5)
    steps[-1].rolled_back = True
    result = tree_provenance(steps)
    assert result["b:5"] is Provenance.ROLLED_BACK
    assert result["a:4"] is Provenance.POLICY


def test_steps_missing_from_the_tree_use_their_own_line() -> None:
    assert assign([POLICY, HUMAN], ["a:1", "a:2"], {"a:1": Provenance.ROLLED_BACK}) == [
        Provenance.ROLLED_BACK, Provenance.HUMAN,
    ]


@settings(deadline=None)
@given(st.lists(st.sampled_from(list(Source)), max_size=60))
def test_an_unbranched_tree_and_its_line_agree(sources: list[int]) -> None:
    assert list(tree_provenance(line("a", sources)).values()) == line_provenance(sources)


@settings(deadline=None)
@given(st.lists(st.sampled_from(list(Source)), max_size=60))
def test_only_policy_steps_close_to_a_later_human_become_pre_intervention(
    sources: list[int],
) -> None:
    for i, step in enumerate(line_provenance(sources)):
        if step is Provenance.PRE_INTERVENTION:
            assert sources[i] == POLICY
            assert {Source.HUMAN, Source.HANDBACK} & set(
                sources[i + 1 : i + 1 + PRE_INTERVENTION_STEPS]
            )
