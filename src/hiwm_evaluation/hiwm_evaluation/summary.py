"""A study's main numbers in markdown, for pages and terminals; the report has all numbers."""

from collections.abc import Sequence

from hiwm_evaluation.control_figures import CORRECTED_NAMES
from hiwm_evaluation.control_findings import BranchingPoint, TrustedAgreement
from hiwm_evaluation.figures import BACKBONE_NAMES, SET_NAMES
from hiwm_evaluation.findings import (
    Agreement,
    Gain,
    cells_of,
    mean_costs,
    pooled,
    sets_of,
    total,
    worlds_paired,
)
from hiwm_evaluation.page import number, percent, percent_range, points, points_range
from hiwm_evaluation.study_file import Backbone, Cell, Study, TrainingSet, World

_WORLDS = (World.STAND_IN, World.IMAGINATION)


def summary(
    study: Study, gained: Sequence[Gain], agreed: Agreement, apart: Agreement
) -> str:
    """Return rates, gains on the stand-in and the agreement of the worlds as markdown tables."""
    lines = [
        "| policy | stand-in | 95 % | imagination | 95 % |", "|---|---|---|---|---|",
    ]
    for backbone in Backbone:
        for which in sets_of(study):
            cells = cells_of(study, backbone, which)
            if cells:
                name = f"{BACKBONE_NAMES[backbone]}, {SET_NAMES[which]}"
                lines.append(_rate_line(name, cells))
    lines += [
        _rate_line(cell.name, [cell]) for cell in study.cells if cell.set is TrainingSet.OTHER
    ]
    lines += _cost_lines(study)
    lines += [
        "", "| gain on the stand-in, points | all trials (95 %) | pairs (95 %), n |",
        "|---|---|---|",
    ]
    for gain in gained:
        if gain.world is not World.STAND_IN or not gain.known:
            continue
        paired = f"{points(gain.pairs.difference)} ({points_range(gain.paired_interval)}), " \
            f"{gain.pairs.trials}" if gain.pairs.trials else "none"
        lines.append(
            f"| {BACKBONE_NAMES[gain.backbone]}, {SET_NAMES[gain.more]} minus "
            f"{SET_NAMES[gain.less]} | {points(gain.difference)} "
            f"({points_range(gain.interval)}) | {paired} |"
        )
    lines += ["", "| the worlds, over policies | n | value (95 %) |", "|---|---|---|"]
    for over, some in (("all", agreed), ("one of each base", apart)):
        lines += [
            f"| {name}, {over} | {len(some.cells)} | {number(estimate.value, 3)} "
            f"({number(estimate.low, 3)} to {number(estimate.high, 3)}) |"
            for name, estimate in some.estimates.items()
        ]
    paired_worlds = total(worlds_paired(cell) for cell in study.cells)
    lines += [
        "",
        f"Of {paired_worlds.trials} pairs of trials {paired_worlds.both} succeeded in both worlds, "
        f"{paired_worlds.first_only} only in imagination, {paired_worlds.second_only} only on the "
        f"stand-in, {paired_worlds.neither} in neither.",
    ]
    lines += [line for text in (agreement_limits(study), *study.remarks) if text
              for line in ("", text)]
    return "\n".join(lines) + "\n"


def controls_summary(
    study: Study, trusted: Sequence[TrustedAgreement],
    other: tuple[Agreement, Agreement] | None, branched: Sequence[BranchingPoint],
) -> str:
    """Return the agreement at higher trust and in another world, and branching, as tables."""
    lines: list[str] = []
    if trusted:
        lines += [
            "", "| imagined trials of least trust left out | pairs | Pearson (95 %) | Spearman "
            "(95 %) | MMRV (95 %) | false successes | false failures |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {100 * some.left_out:.0f} % | {some.pairs.trials} | {_estimates(some.agreed)} "
                f"| {some.pairs.first_only} | {some.pairs.second_only} |" for some in trusted
            ),
        ]
    if other is not None:
        second = study.other_world.get("name", "the second one")
        lines += [
            "", "| the same policies in two world models | n | Pearson (95 %) | Spearman (95 %) | "
            "MMRV (95 %) |", "|---|---|---|---|---|",
            *(
                f"| {name} | {len(some.cells)} | {_estimates(some)} |"
                for name, some in zip(("the study's", second), other, strict=True)
            ),
        ]
    if branched:
        lines += [
            "", "| does branching pay? | operator s | session s | interventions | success on the "
            "stand-in | 95 % |", "|---|---|---|---|---|---|",
            *(
                f"| {BACKBONE_NAMES[point.policy.backbone]}, "
                f"{CORRECTED_NAMES[point.policy.corrected]} | "
                f"{number(point.policy.operator_seconds, 0)} | "
                f"{number(point.policy.session_seconds, 0)} | {point.policy.corrections} | "
                f"{point.rate.successes}/{point.rate.trials}, {percent(point.rate.rate)} | "
                f"{percent_range(point.rate.interval)} |"
                for point in branched
            ),
        ]
    return "\n".join(lines) + "\n" if lines else ""


def _estimates(agreed: Agreement) -> str:
    """Return the three statistics with their intervals, as cells of a row."""
    return " | ".join(
        f"{number(estimate.value, 3)} ({number(estimate.low, 3)} to {number(estimate.high, 3)})"
        for estimate in agreed.estimates.values()
    ) or "too few | |"


def agreement_limits(study: Study) -> str:
    """Return the scope of the worlds' agreement; empty if the study does not state it."""
    return (
        f"The correlations are those of a world model whose state is {study.world_state}; they say "
        "nothing about a world model without such a state."
    ) if study.world_state else ""


def _cost_lines(study: Study) -> list[str]:
    """Return the cost of each set on top of its base policy's, one per line."""
    rows = [
        f"| {BACKBONE_NAMES[cost.backbone]}, {SET_NAMES[cost.set]} | "
        f"{percent(cost.rate.rate) if cost.rate.trials else 'missing'} | "
        f"{number(cost.learnt_frames, 0)} | {number(cost.operator_frames, 0)} | "
        f"{number(cost.operator_seconds, 0)} | {number(cost.robot_seconds, 0)} | "
        f"{number(cost.resets, 0)} |"
        for cost in mean_costs(study)
    ]
    return [
        "", "| mean per policy | success on the stand-in | operator frames learnt from | "
        "operator frames driven | operator s | robot s | resets |", "|---|---|---|---|---|---|---|",
        *rows,
    ] if rows else []


def _rate_line(name: str, cells: Sequence[Cell]) -> str:
    texts = []
    for world in _WORLDS:
        rate = pooled(cells, world)
        texts += [
            f"{rate.successes}/{rate.trials}, {percent(rate.rate)}", percent_range(rate.interval)
        ] if rate.trials else ["missing", ""]
    return f"| {name} | {' | '.join(texts)} |"
