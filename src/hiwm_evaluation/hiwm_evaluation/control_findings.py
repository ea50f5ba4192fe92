"""Results of a study's controls of imagination: low trust, another world model, branching.

Tested by ``test_control_findings.py``. ``findings.py`` has rates, gains and the agreement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hiwm_evaluation.findings import (
    Agreement,
    Rate,
    agreement,
    agreement_of,
    pair,
    rate_of,
    total,
)
from hiwm_evaluation.statistics import PairedCounts
from hiwm_evaluation.study_file import BranchingPolicy, Cell, Evaluation, Study, World
from hiwm_evaluation.trials import TrialResult

#: Shares of the imagined trials to leave out, of least trust first.
LEFT_OUT = (0.0, 0.1, 0.25, 0.5)


@dataclass(frozen=True, kw_only=True)
class TrustedAgreement:
    """The worlds' agreement without the imagined trials of least trust."""

    left_out: float  # share of the imagined trials
    threshold: float  # mean trust of a trial from which it is kept
    agreed: Agreement  # over pairs of trials whose imagined one is kept
    pairs: PairedCounts  # imagination first, over all policies


def trusted_agreements(study: Study, shares: Sequence[float] = LEFT_OUT) -> list[TrustedAgreement]:
    """Return the agreement of the worlds without more and more trials of low trust.

    A pair of trials is left out with its imagined one, so both rates are of the same starts. Empty
    if the trials have no trust.
    """
    cells = [
        replace(cell, evaluations={
            **cell.evaluations, World.IMAGINATION: _with_trust(cell.evaluations[World.IMAGINATION])
        })
        for cell in agreement(study).cells
    ]
    trusts = [
        result.trust for cell in cells for result in cell.evaluations[World.IMAGINATION].results
        if result.trust is not None
    ]
    if not trusts:
        return []
    found = []
    for share in shares:
        threshold = float(np.quantile(trusts, share)) if share else 0.0
        kept = [paired for cell in cells if (paired := _trusted(cell, threshold)) is not None]
        found.append(TrustedAgreement(
            left_out=share, threshold=threshold, agreed=agreement_of(kept),
            pairs=total(
                pair(cell.evaluations[World.IMAGINATION], cell.evaluations[World.STAND_IN])
                for cell in kept
            ),
        ))
    return found


def other_agreements(study: Study) -> tuple[Agreement, Agreement] | None:
    """Return the agreement of both world models with the stand-in, over the same policies.

    The second one has the second world model's trials as its imagination. None without it.
    """
    cells = [
        cell for cell in agreement(study).cells
        if cell.other_imagined is not None and cell.other_imagined.judged
    ]
    if not cells:
        return None
    return agreement_of(cells), agreement_of(
        replace(cell, evaluations={
            **cell.evaluations, World.IMAGINATION: cell.other_imagined
        })
        for cell in cells if cell.other_imagined is not None
    )


@dataclass(frozen=True, kw_only=True)
class BranchingPoint:
    """One policy of the comparison, with its rate."""

    policy: BranchingPolicy
    rate: Rate


def branching_points(study: Study) -> list[BranchingPoint]:
    """Return the policies with trials, by backbone, way of correcting, and operator seconds."""
    found = [
        BranchingPoint(policy=policy, rate=rate_of([policy.evaluation]))
        for policy in study.branching if policy.evaluation is not None and policy.evaluation.judged
    ]
    return sorted(found, key=lambda point: (
        point.policy.backbone, point.policy.corrected, point.policy.operator_seconds,
    ))


def branching_pairs(points: Sequence[BranchingPoint]) -> list[tuple[BranchingPoint, ...]]:
    """Return policies with and without branches of equal place in the order of their budgets."""
    found: list[tuple[BranchingPoint, ...]] = []
    for backbone in dict.fromkeys(point.policy.backbone for point in points):
        some = [
            [p for p in points if (p.policy.backbone, p.policy.corrected) == (backbone, corrected)]
            for corrected in ("branched", "in place")
        ]
        found += zip(*some, strict=False)
    return found


def _with_trust(evaluation: Evaluation) -> Evaluation:
    return replace(
        evaluation, results=tuple(r for r in evaluation.judged if r.trust is not None)
    )


def _trusted(cell: Cell, threshold: float) -> Cell | None:
    """Return a policy with the pairs whose imagined trial is trusted; None if there is none."""
    imagined = {
        _key(result): result for result in cell.evaluations[World.IMAGINATION].results
        if result.trust is not None and result.trust >= threshold
    }
    real = {
        _key(result): result for result in cell.evaluations[World.STAND_IN].judged
        if _key(result) in imagined
    }
    if not real:
        return None
    return replace(cell, evaluations={
        World.STAND_IN: replace(
            cell.evaluations[World.STAND_IN], results=tuple(real.values())
        ),
        World.IMAGINATION: replace(
            cell.evaluations[World.IMAGINATION], results=tuple(imagined[key] for key in real)
        ),
    })


def _key(result: TrialResult) -> tuple[int, tuple[float, ...], int]:
    return result.trial, result.start, result.seed
