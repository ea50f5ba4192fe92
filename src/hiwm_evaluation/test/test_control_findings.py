"""Low trust, a second world model and branching, with numbers worked out by hand."""

from collections.abc import Sequence

import pytest

from hiwm_evaluation.control_findings import (
    branching_pairs,
    branching_points,
    other_agreements,
    trusted_agreements,
)
from hiwm_evaluation.study_file import (
    Backbone,
    BranchingPolicy,
    Cell,
    Evaluation,
    Study,
    TrainingSet,
    World,
)
from hiwm_evaluation.trials import Outcome, TrialResult


def evaluation(ends: str, trusts: Sequence[float | None] | None = None) -> Evaluation:
    """Return trials, one letter each: s, f; with their trust."""
    return Evaluation(planned=len(ends), conditions={}, results=tuple(
        TrialResult(
            trial=trial, start=(0.1 * trial,), seed=trial, reason="", steps=9, best=0.5,
            outcome=Outcome.SUCCESS if end == "s" else Outcome.FAILURE, judged_by="", policy="",
            episode_id="", seconds=1.0, trust=trusts[trial] if trusts else None,
        )
        for trial, end in enumerate(ends)
    ))


def cell(
    seed: int, real: str, imagined: str, trusts: Sequence[float | None] | None = None,
    other: str = "",
) -> Cell:
    return Cell(
        name=f"policy-{seed}", backbone=Backbone.ACT, set=TrainingSet.OTHER, seed=seed,
        checkpoint="", note="",
        evaluations={
            World.STAND_IN: evaluation(real), World.IMAGINATION: evaluation(imagined, trusts)
        },
        other_imagined=evaluation(other) if other else None,
    )


def study(cells: Sequence[Cell] = (), branching: Sequence[BranchingPolicy] = ()) -> Study:
    return Study(
        task="toy", command="", seeds=(), software="", date="", cells=tuple(cells), operator=(),
        sets=(), costs=(), branching=tuple(branching), other_world={}, remarks=(),
        world_model={}, world_state="",
    )


LOW, HIGH = 0.1, 0.9


def test_trials_of_low_trust_are_left_out_with_their_pair() -> None:
    """The two lies of imagination have the lowest trust."""
    cells = [
        cell(0, "ffff", "sfff", [LOW, HIGH, HIGH, HIGH]),
        cell(1, "sfff", "sfff", [HIGH] * 4),
        cell(2, "ssss", "sfss", [HIGH, LOW, HIGH, HIGH]),
    ]
    everything, trusted = trusted_agreements(study(cells), (0.0, 0.2))
    assert everything.pairs.trials == 12
    assert (everything.pairs.first_only, everything.pairs.second_only) == (1, 1)
    assert everything.agreed.estimates["Pearson"].value < 1.0
    assert trusted.threshold == HIGH and trusted.pairs.trials == 10
    assert (trusted.pairs.first_only, trusted.pairs.second_only) == (0, 0)
    assert trusted.agreed.estimates["Pearson"].value == pytest.approx(1.0)
    # Both rates of a policy are of the same starts.
    assert trusted.agreed.cells[2].evaluations[World.STAND_IN].counts == (3, 3)


def test_trials_without_trust_have_no_such_agreement() -> None:
    assert trusted_agreements(study([cell(n, "sf", "sf") for n in range(3)])) == []
    mixed = [cell(n, "sf", "sf", [0.5, None]) for n in range(3)]
    assert trusted_agreements(study(mixed), (0.0,))[0].pairs.trials == 3


def test_a_second_world_model_is_compared_over_the_same_policies() -> None:
    cells = [
        cell(0, "ffff", "ffff", other="ssss"), cell(1, "ssff", "ssff", other="ssff"),
        cell(2, "ssss", "ssss", other="ffff"), cell(3, "ssss", "ffff"),
    ]
    found = other_agreements(study(cells))
    assert found is not None
    first, second = found
    assert len(first.cells) == len(second.cells) == 3
    assert first.estimates["Pearson"].value == pytest.approx(1.0)
    assert second.estimates["Pearson"].value == pytest.approx(-1.0)
    assert other_agreements(study(cells[3:])) is None


def policy(corrected: str, seconds: float, ends: str) -> BranchingPolicy:
    return BranchingPolicy(
        cell=f"{corrected}-{seconds}", backbone=Backbone.ACT, seed=300,
        corrected=corrected,  # type: ignore[arg-type]
        operator_frames=int(10 * seconds), operator_seconds=seconds, session_seconds=2 * seconds,
        corrections=int(seconds), failure_states=1, evaluation=evaluation(ends) if ends else None,
    )


def test_policies_with_and_without_branches_are_paired_by_their_budget() -> None:
    points = branching_points(study(branching=[
        policy("in place", 20.0, "sfff"), policy("branched", 21.0, "ssff"),
        policy("branched", 10.0, "sfff"), policy("in place", 10.5, "ffff"),
        policy("", 0.0, "ffff"), policy("branched", 30.0, ""),
    ]))
    assert [point.policy.operator_seconds for point in points] == [0.0, 10.0, 21.0, 10.5, 20.0]
    assert points[2].rate.rate == 0.5
    pairs = branching_pairs(points)
    assert [(a.policy.operator_seconds, b.policy.operator_seconds) for a, b in pairs] == [
        (10.0, 10.5), (21.0, 20.0),
    ]
