"""The report's sections on controls of imagination: low trust, another world model, branching.

Each function returns parts of a page (``page.py``) from ``control_findings.py``; none if the study
has no such data. Tested by ``test_control_sections.py``.
"""

from collections.abc import Sequence

from hiwm_evaluation.control_figures import CORRECTED_NAMES
from hiwm_evaluation.control_findings import (
    BranchingPoint,
    TrustedAgreement,
    branching_pairs,
)
from hiwm_evaluation.figures import BACKBONE_NAMES
from hiwm_evaluation.findings import Agreement, pair
from hiwm_evaluation.page import (
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
from hiwm_evaluation.report_results import count_of
from hiwm_evaluation.statistics import paired_difference_interval
from hiwm_evaluation.study_file import Study

_NOT_REPORTED = "–"


def trust_section(found: Sequence[TrustedAgreement]) -> list[str]:
    """Return the agreement of the worlds without the imagined trials of least trust."""
    if not found:
        return []
    rows = [
        Row(cells=[
            f"{100 * some.left_out:.0f} %", number(some.threshold, 3), str(some.pairs.trials),
            str(len(some.agreed.cells)),
            *_estimates(some.agreed),
            count_of(some.pairs.first_only, some.pairs.both + some.pairs.first_only),
            count_of(some.pairs.second_only, some.pairs.neither + some.pairs.second_only),
        ])
        for some in found
    ]
    return [
        heading("Without imagined trials of low trust"),
        table(
            ["left out", "trust from", "pairs, n", "policies, n", "Pearson", "Spearman", "MMRV",
             "imagined successes that failed on the stand-in",
             "imagined failures that succeeded on the stand-in"], rows,
        ),
        paragraph(
            "The trust of a trial is the mean of the world model's trust in its frames. The trials "
            "of least trust of all policies are left out together with their pair on the stand-in, "
            "so that both rates are of the same starts."
        ),
    ]


def other_world_section(
    study: Study, found: tuple[Agreement, Agreement] | None, png: bytes
) -> list[str]:
    """Return the agreement of a second world model beside that of the first.

    Args:
        study: names the second world model.
        found: agreement of both over the same policies.
        png: scatter plot of the second.
    """
    if found is None:
        return []
    rows = [
        Row(cells=[name, str(len(some.cells)), *_estimates(some)])
        for name, some in zip(
            ("the study's world model", study.other_world.get("name", "the second one")), found,
            strict=True,
        )
    ]
    scores = study.other_world.get("scores", {})
    keys = [key for key in study.world_model if key in scores]
    numbers = [
        Row(cells=[key, f"{study.world_model[key]:.6g}", f"{scores[key]:.6g}"]) for key in keys
    ]
    return [
        heading("The same policies in a second world model"),
        picture(png, "Success in the second world model against success on the stand-in"),
        table(["world model", "policies, n", "Pearson", "Spearman", "MMRV"], rows),
        *([table(["held-out number", "first", "second"], numbers)] if numbers else []),
        paragraph(
            "Starts and seeds are equal. If both agree alike with the stand-in, the second world "
            "model is good enough to rank these policies."
        ),
    ]


def branching_section(found: Sequence[BranchingPoint], png: bytes) -> list[str]:
    """Return success with and without rollback and branches at equal operator seconds."""
    if not found:
        return []
    rows = []
    for point in found:
        policy = point.policy
        rows.append(Row(cells=[
            f"{BACKBONE_NAMES[policy.backbone]}, {CORRECTED_NAMES[policy.corrected]}",
            str(policy.operator_frames), number(policy.operator_seconds, 0),
            number(policy.session_seconds, 0), str(policy.corrections),
            str(policy.failure_states), f"{point.rate.successes}/{point.rate.trials}",
            percent(point.rate.rate), percent_range(point.rate.interval),
        ]))
    compared = []
    for one, other in branching_pairs(found):
        counts = pair(one.policy.evaluation, other.policy.evaluation)
        interval = paired_difference_interval(counts)
        compared.append(Row(cells=[
            BACKBONE_NAMES[one.policy.backbone],
            f"{one.policy.operator_seconds:.0f}, {other.policy.operator_seconds:.0f}",
            str(counts.trials), f"{counts.first_only}, {counts.second_only}",
            f"{points(counts.difference)} ({points_range(interval)})", about_zero(interval),
        ]))
    return [
        heading("Does branching pay?"),
        picture(
            png, "Success on the stand-in against operator seconds and against interventions, with "
            "and without rollback and branches",
        ),
        table(
            ["policy", "operator frames learnt from", "operator s", "session s", "interventions",
             "failure states", "stand-in, successes/n", "rate", "95 % interval"], rows,
        ),
        table(
            ["with minus without branches", "operator s of both", "pairs, n",
             "won by first only, second only", "points (95 %)", "its interval"], compared,
        ),
        paragraph(
            "All learn from one base policy per backbone, for equal steps, from whole corrections "
            "of one session in imagination, in order. With branches, the operator rolls back to "
            "the failure state and continues it several times. Without, it takes over in place and "
            "corrects once. Session seconds also include the policy's frames until then, which the "
            "operator watches."
        ),
    ]


def _estimates(agreed: Agreement) -> list[str]:
    """Return Pearson, Spearman and MMRV with their intervals."""
    if not agreed.estimates:
        return [_NOT_REPORTED] * 3
    return [
        f"{number(estimate.value, 3)} ({number(estimate.low, 3)} to {number(estimate.high, 3)})"
        for estimate in agreed.estimates.values()
    ]
