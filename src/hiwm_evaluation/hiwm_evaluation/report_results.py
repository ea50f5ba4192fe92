"""The report's sections on success: rates, gains, and predictions by imagination.

Each function returns parts of a page (``page.py``) from the results of ``findings.py``. Every
number has its number of trials, and missing data is shown. Tested by ``test_report.py``.
"""

from collections.abc import Sequence

from hiwm_evaluation.agreement import RESAMPLES
from hiwm_evaluation.figures import BACKBONE_NAMES, SET_NAMES, WORLD_NAMES
from hiwm_evaluation.findings import (
    BOOTSTRAP_SEED,
    LEAST_POLICIES,
    PAPER_GAINS,
    PAPER_SETS,
    Agreement,
    Gain,
    Rate,
    cells_of,
    differing_conditions,
    mean_costs,
    pooled,
    sets_of,
    total,
    worlds_paired,
)
from hiwm_evaluation.page import (
    MISSING,
    Row,
    about_zero,
    heading,
    number,
    paragraph,
    percent,
    percent_range,
    picture,
    points,
    points_range,
    table,
)
from hiwm_evaluation.statistics import PairedCounts, wilson_interval
from hiwm_evaluation.study_file import Backbone, Cell, Study, TrainingSet, World
from hiwm_evaluation.task_study import PaperFigures


def introduction_section(study: Study) -> list[str]:
    """Return the subject of the page, and how to read its numbers."""
    return [
        paragraph(
            f"Task {study.task}, {len(study.cells)} policies, made {study.date} with "
            f"{study.software}. Each policy was tried in two worlds: on the stand-in, a MuJoCo "
            "simulation behind the robot's driver topics, and in imagination, the learned world "
            "model. No number here is from a real robot, except for quotes from the paper."
        ),
        paragraph(
            "n is the number of trials that ended in success or failure, without aborted trials. "
            "Rates have Wilson intervals, differences Newcombe's, all at 95 %. Pooled intervals "
            "treat trials as independent. They do not include the variation between training "
            "seeds, which the rows of single seeds show; seeds may share start poses."
        ),
    ]


def success_section(study: Study, png: bytes) -> list[str]:
    """Return the rates of every policy in both worlds, pooled over seeds and seed by seed."""
    rows = []
    for backbone in Backbone:
        for training_set in sets_of(study):
            cells = cells_of(study, backbone, training_set)
            seeds = f", {len(cells)} training seeds pooled" if len(cells) > 1 else ""
            rows.append(_rate_row(
                f"{BACKBONE_NAMES[backbone]}, {SET_NAMES[training_set]}{seeds}", cells, pool=True
            ))
            rows += [_rate_row(f"seed {cell.seed}: {cell.name}", [cell]) for cell in cells]
    others = [cell for cell in study.cells if cell.set is TrainingSet.OTHER]
    rows += [
        _rate_row(f"{BACKBONE_NAMES[cell.backbone]}, other: {cell.name}", [cell])
        for cell in others
    ]
    parts = [
        heading("Success"),
        picture(png, "Success of each set and backbone on the stand-in and in imagination"),
        table(
            ["policy", "stand-in, successes/n", "rate", "95 % interval",
             "imagination, successes/n", "rate", "95 % interval", "remarks"], rows, text=(0, 7),
        ),
    ]
    for world in World:
        differing = differing_conditions(study, world)
        if differing:
            listed = "; ".join(f"{key}: {', '.join(vs)}" for key, vs in differing.items())
            parts.append(paragraph(
                f"Not all evaluations {_in(world)} were made under the same conditions: {listed}. "
                "Rates under different conditions are not comparable."
            ))
    return parts


def _rate_row(name: str, cells: Sequence[Cell], *, pool: bool = False) -> Row:
    texts = [name]
    remarks = [] if pool else [cell.note for cell in cells if cell.note]
    for world in (World.STAND_IN, World.IMAGINATION):
        rate = pooled(cells, world)
        lacking = sum(world not in cell.evaluations for cell in cells)
        if rate.trials:
            texts += [
                f"{rate.successes}/{rate.trials}", percent(rate.rate), percent_range(rate.interval)
            ]
        else:
            texts += [MISSING, "", ""]
        remarks += _shortfalls(rate, world, lacking if pool and rate.trials else 0)
    if not cells:
        remarks = ["no such policy in the study"]
    return Row(cells=[*texts, "; ".join(remarks)], sum=pool)


def _shortfalls(rate: Rate, world: World, lacking: int) -> list[str]:
    found = []
    if lacking:
        found.append(f"{lacking} missing {_in(world)}")
    if rate.trials and rate.trials < rate.planned:
        found.append(
            f"{_in(world)} {rate.trials} of {rate.planned} trials judged, {rate.aborted} aborted"
        )
    return found


def _in(world: World) -> str:
    return "on the stand-in" if world is World.STAND_IN else "in imagination"


def paper_section(paper: PaperFigures | None) -> list[str]:
    """Return the paper's own numbers for the task, labelled as such."""
    if paper is None:
        return [paragraph("There are no figures of the paper for this task.")]
    rows = []
    for name in paper.success_percent:
        cells = [name]
        for which in PAPER_SETS:
            text = f"{paper.percent(name, which.value):.1f} %"
            if paper.trials is not None:
                wins = round(paper.share(name, which.value) * paper.trials)
                text += f" ({percent_range(wilson_interval(wins, paper.trials))})"
            cells.append(text)
        cells += [
            points(paper.share(name, a.value) - paper.share(name, b.value))
            for a, b in PAPER_GAINS
        ]
        rows.append(Row(cells=cells))
    known = (
        "which gives neither trials nor intervals." if paper.trials is None else
        f"n about {paper.trials} per cell. The paper gives no intervals; those in brackets are "
        f"Wilson's for n = {paper.trials}, computed here."
    )
    return [
        table(
            ["the paper's policy", *(SET_NAMES[which] for which in PAPER_SETS),
             *(f"{SET_NAMES[a]} minus {SET_NAMES[b]}, points" for a, b in PAPER_GAINS)],
            rows, caption=f"The paper's own numbers: {paper.subject} on real robots",
        ),
        paragraph(
            f"From Hi-WM, arXiv 2604.21741, {known} Robots, operators and policies differ from "
            "this study's; pi0 is not ACT."
        ),
    ]


def gains_section(found: Sequence[Gain], png: bytes) -> list[str]:
    """Return the gains of sets over others, over all trials and over pairs."""
    rows = []
    for gain in found:
        name = [
            WORLD_NAMES[gain.world], BACKBONE_NAMES[gain.backbone],
            f"{SET_NAMES[gain.more]} minus {SET_NAMES[gain.less]}",
        ]
        if not gain.known:
            rows.append(Row(cells=[*name, MISSING, "", "", "", "", "", ""]))
            continue
        pairs = gain.pairs
        paired = [
            str(pairs.trials), f"{pairs.first_only}, {pairs.second_only}",
            f"{points(pairs.difference)} ({points_range(gain.paired_interval)})",
            about_zero(gain.paired_interval),
        ] if pairs.trials else ["0", "", "no pairs", ""]
        counts = [f"{wins}/{n}" for wins, n in (gain.more_counts, gain.less_counts)]
        rows.append(Row(cells=[
            *name, ", ".join(counts),
            f"{points(gain.difference)} ({points_range(gain.interval)})",
            about_zero(gain.interval), *paired,
        ]))
    return [
        heading("Gains"),
        picture(png, "Gains in success with their intervals"),
        table(
            ["world", "backbone", "gain", "successes/n of both", "all trials: points (95 %)",
             "its interval", "pairs, n", "won by first only, second only",
             "pairs: points (95 %)", "its interval"], rows, text=(0, 1, 2),
        ),
        paragraph(
            "Pairs are trials of the same training seed, start pose and trial seed; the figure "
            "shows their difference where there are any. Where an interval includes zero, these "
            "trials do not show which of the two sets is better."
        ),
    ]


def costs_section(study: Study) -> list[str]:
    """Return the cost of each set and its success rate."""
    rows = [
        Row(cells=[
            f"{BACKBONE_NAMES[cost.backbone]}, {SET_NAMES[cost.set]}", str(cost.policies),
            f"{cost.rate.successes}/{cost.rate.trials}" if cost.rate.trials else MISSING,
            *(
                number(value, 0) for value in (
                    cost.learnt_frames, cost.operator_frames, cost.operator_seconds,
                    cost.robot_seconds, cost.resets,
                )
            ),
        ])
        for cost in mean_costs(study)
    ]
    if not rows:
        return []
    return [
        heading("Cost of each set"),
        table(
            ["policy", "policies, n", "stand-in, successes/n", "operator frames learnt from",
             "operator frames driven", "operator s", "robot s", "resets"], rows,
        ),
        paragraph(
            "Means per policy, on top of the cost of its base policy. Seconds are frames at the "
            "control rate. Robot seconds are seconds of the stand-in: they include the policy's "
            "frames, but not the time of resets. Evaluation trials are not included, nor are the "
            "data of the world model, which the sets in imagination need."
        ),
        *(paragraph(text) for text in study.remarks),
    ]


def agreement_section(
    agreed: Agreement, apart: Agreement, png: bytes, limits: str = ""
) -> list[str]:
    """Return how well imagination predicts the stand-in, over policies.

    Args:
        agreed: agreement over all policies.
        apart: agreement over independently trained policies.
        png: the scatter plot of all.
        limits: the scope of the numbers, as text for people.
    """
    n = len(agreed.cells)
    parts = [
        heading("Imagination against the stand-in"),
        picture(png, "Success in imagination against success on the stand-in, one mark per policy"),
    ]
    if not agreed.estimates:
        parts.append(paragraph(
            f"{n} policies have trials in both worlds; correlations need {LEAST_POLICIES} or more."
        ))
        return parts
    rows = [
        Row(cells=[
            over, name, str(len(some.cells)), number(estimate.value, 3),
            f"{number(estimate.low, 3)} to {number(estimate.high, 3)}",
            "0 is best" if name == "MMRV" else about_zero((estimate.low, estimate.high)),
            str(estimate.undefined),
        ])
        for over, some in (("all policies", agreed), ("independently trained ones", apart))
        for name, estimate in some.estimates.items()
    ]
    families = (
        "the second half of the table uses one policy per family: "
        f"{', '.join(cell.name for cell in apart.cells)}."
        if apart.estimates
        else f"there are too few families, {len(apart.cells)}, to use one policy of each."
    )
    parts += [
        table(
            ["over", "statistic", "policies, n", "value", "95 % interval", "its interval",
             "resamples without value"], rows, text=(0, 1),
        ),
        paragraph(
            f"Percentile bootstrap over policies, {RESAMPLES} resamples, seed {BOOTSTRAP_SEED}. "
            "MMRV (SIMPLER, arXiv 2405.05941) is the mean over policies of the largest difference "
            "on the stand-in to another policy that imagination puts in the wrong order: 0 is "
            "best, 1 worst. Policies that were post-trained from one base are a family: they are "
            f"not independent, although the bootstrap assumes it; {families}"
        ),
        *([paragraph(limits)] if limits else []),
    ]
    return parts


def false_outcomes_section(study: Study) -> list[str]:
    """Return how often imagination was wrong about single trials."""
    every = [(cell.name, worlds_paired(cell)) for cell in study.cells]
    rows = [_false_row(name, counts) for name, counts in every]
    rows.append(_false_row("all", total(counts for _, counts in every), sum_row=True))
    return [
        heading("False successes and false failures of imagination"),
        table(
            ["policy", "pairs, n", "both succeed", "false success", "false failure", "both fail",
             "imagined successes that failed on the stand-in",
             "imagined failures that succeeded on the stand-in"], rows,
        ),
        paragraph(
            "Pairs are trials of one policy with the same start pose and seed in both worlds. A "
            "false success succeeded in imagination and failed on the stand-in; a false failure "
            "is the reverse. In brackets: 95 % Wilson interval."
        ),
    ]


def _false_row(name: str, counts: PairedCounts, *, sum_row: bool = False) -> Row:
    if not counts.trials:
        return Row(cells=[name, MISSING, *[""] * 6], sum=sum_row)
    return Row(sum=sum_row, cells=[
        name, str(counts.trials), str(counts.both), str(counts.first_only),
        str(counts.second_only), str(counts.neither),
        count_of(counts.first_only, counts.both + counts.first_only),
        count_of(counts.second_only, counts.neither + counts.second_only),
    ])


def count_of(count: int, n: int) -> str:
    """Return a count out of n with its Wilson interval."""
    return f"{count}/{n} ({percent_range(wilson_interval(count, n))})" if n else "0/0"
