"""The report of a study: one page, its figures, and its main numbers in markdown.

    python -m hiwm_evaluation.report STUDY_FOLDER [-o FOLDER]

Reads a study (``study_file.py``) and shows every number with its number of trials. ``findings.py``
computes the numbers. Tested by ``test_report.py``.
"""

import argparse
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import HiwmError, StoreError
from hiwm_core.output_folders import check_output_file
from hiwm_core.provenance import Provenance
from hiwm_core.user_paths import path_argument
from hiwm_evaluation.control_figures import branching_figure
from hiwm_evaluation.control_findings import (
    branching_points,
    other_agreements,
    trusted_agreements,
)
from hiwm_evaluation.control_sections import (
    branching_section,
    other_world_section,
    trust_section,
)
from hiwm_evaluation.figures import agreement_figure, gains_figure, rates_figure
from hiwm_evaluation.findings import agreement, agreement_of, effort, gains, independent
from hiwm_evaluation.page import (
    MISSING,
    Row,
    document,
    heading,
    number,
    paragraph,
    ratio,
    table,
    verbatim,
)
from hiwm_evaluation.report_results import (
    agreement_section,
    costs_section,
    count_of,
    false_outcomes_section,
    gains_section,
    introduction_section,
    paper_section,
    success_section,
)
from hiwm_evaluation.study_file import OperatorSession, Study, World, read_study
from hiwm_evaluation.summary import agreement_limits, controls_summary, summary
from hiwm_evaluation.task_study import task_study

PAGE_FILE = "report.html"
SUMMARY_FILE = "summary.md"
OWN_FOLDER = "report"  # in the study
_PICTURES = ("rates.png", "gains.png", "agreement.png")
# Only of studies with such results.
_OTHER_WORLD_PICTURE, _BRANCHING_PICTURE = "agreement_other.png", "branching.png"
# Yields of sessions of unequal length are compared per this operator time.
_YIELD_S = 600.0


def write_report(study_folder: Path, folder: Path) -> Path:
    """Write the page of a study and its figures, and return the page's path.

    Raises:
        StoreError: the study or an evaluation cannot be read, or the folder cannot be written.
        ConfigError: a field of study.json is invalid, or the folder contains other files. A report
            belongs in `report` of its study, or outside of the study.
    """
    own = folder.resolve() == (study_folder / OWN_FOLDER).resolve()
    check_output_file(
        folder / PAGE_FILE, "a report", _is_report, inputs=[] if own else [study_folder],
        companions=[
            folder / name
            for name in (SUMMARY_FILE, *_PICTURES, _OTHER_WORLD_PICTURE, _BRANCHING_PICTURE)
        ],
    )
    study = read_study(study_folder)
    agreed = agreement(study)
    apart = agreement_of(independent(agreed.cells))
    gained = [gain for world in World for gain in gains(study, world)]
    pictures = dict(zip(_PICTURES, map(_png, (
        rates_figure(study), gains_figure(gained), agreement_figure(agreed)
    )), strict=True))
    other, branched = other_agreements(study), branching_points(study)
    trusted = trusted_agreements(study)
    if other is not None:
        pictures[_OTHER_WORLD_PICTURE] = _png(agreement_figure(other[1], "the second world model"))
    if branched:
        pictures[_BRANCHING_PICTURE] = _png(branching_figure(branched))
    parts = [
        *introduction_section(study),
        *success_section(study, pictures["rates.png"]),
        *paper_section(task_study(study.task).paper),
        *gains_section(gained, pictures["gains.png"]),
        *costs_section(study),
        *agreement_section(agreed, apart, pictures["agreement.png"], agreement_limits(study)),
        *false_outcomes_section(study),
        *trust_section(trusted),
        *other_world_section(study, other, pictures.get(_OTHER_WORLD_PICTURE, b"")),
        *branching_section(branched, pictures.get(_BRANCHING_PICTURE, b"")),
        *_operator(study.operator),
        *_sets(study),
        *_world_model(study.world_model),
        *_how_made(study),
    ]
    page = folder / PAGE_FILE
    try:
        for name, content in pictures.items():
            replace_file(folder / name, content)
        replace_file(page, document(f"Study of {study.task}", parts))
        replace_file(
            folder / SUMMARY_FILE,
            summary(study, gained, agreed, apart)
            + controls_summary(study, trusted, other, branched),
        )
    except OSError as error:
        raise StoreError(
            f"cannot be written: {error.strerror or error}", where=str(folder),
            remedy="check permissions and free space, or give another folder with -o",
        ) from error
    return page


def _operator(sessions: Sequence[OperatorSession]) -> list[str]:
    parts = [heading("Operator")]
    if not sessions:
        return [*parts, paragraph("The study has no operator session.")]
    rows = [
        _effort_row([session], f"{session.session}, operator {session.operator}")
        for session in sessions
    ]
    seconds = {}
    for branching in (True, False):
        some = [session for session in sessions if session.branching is branching]
        seconds[branching] = sum(session.seconds for session in some)
        if some:
            rows.append(_effort_row(some, "all", sum_row=True))
    parts.append(table(
        ["session", "branching", "operator s", "robot s", "resets", "frames", "corrections",
         "failure states", "s per correction", "frames per correction",
         "corrections per failure state", "corrections that succeeded",
         f"corrections per {_YIELD_S:.0f} s", f"successful ones per {_YIELD_S:.0f} s"],
        rows, text=(0, 1),
    ))
    parts.append(paragraph(_seconds_compared(seconds)))
    if any(session.operator == "scripted" for session in sessions):
        parts.append(paragraph("The operator named scripted is a program, not a person."))
    return parts


def _seconds_compared(seconds: Mapping[bool, float]) -> str:
    """Return a comparison of operator time with and without branching."""
    if not all(seconds.values()):
        return "Sessions with and without branching cannot be compared: one kind is missing."
    same = "equal" if seconds[True] == seconds[False] else "not equal"
    return (
        f"Operator seconds with branching {seconds[True]:.0f}, without {seconds[False]:.0f}: "
        f"{same}. The last two columns scale every row to {_YIELD_S:.0f} s."
    )


def _effort_row(
    sessions: Sequence[OperatorSession], name: str, *, sum_row: bool = False
) -> Row:
    done = effort(sessions)
    return Row(sum=sum_row, cells=[
        f"{name}, {done.sessions} {'session' if done.sessions == 1 else 'sessions'}"
        if sum_row else name,
        "with" if sessions[0].branching else "without", number(done.seconds, 0),
        number(done.robot_seconds, 0), str(done.resets),
        str(done.frames), str(done.corrections), str(done.failure_states),
        ratio(done.seconds, done.corrections, 1), ratio(done.frames, done.corrections, 1),
        ratio(done.corrections, done.failure_states, 2), count_of(done.succeeded, done.corrections),
        ratio(_YIELD_S * done.corrections, done.seconds, 1),
        ratio(_YIELD_S * done.succeeded, done.seconds, 1),
    ])


def _sets(study: Study) -> list[str]:
    parts = [heading("Contents of each set")]
    if not study.sets:
        return [*parts, paragraph("The study does not list the contents of the sets.")]
    used = {
        name for content in study.sets
        for name in (*content.frames_by_provenance, *content.mass_by_provenance)
    }
    known = [str(provenance) for provenance in Provenance]
    names = [name for name in known if name in used] + sorted(used.difference(known))
    rows = []
    for cell in study.cells:
        content = next((item for item in study.sets if item.cell == cell.name), None)
        if content is None:
            rows.append(Row(cells=[cell.name, MISSING, *[""] * (len(names) + 1)]))
            continue
        frames, mass = content.frames_by_provenance, content.mass_by_provenance
        whole = sum(mass.values())
        shares = [
            f"{frames.get(name, 0):g} ({ratio(100 * mass.get(name, 0), whole, 1)})"
            for name in names
        ]
        rows.append(Row(cells=[
            cell.name, f"{sum(frames.values()):g}", *shares,
            str(content.dropped_low_trust),
        ]))
    parts += [
        table(["policy", "frames", *names, "frames dropped for low trust"], rows),
        paragraph(
            "Frames by provenance; in brackets their share of the training weight, in percent."
        ),
    ]
    return parts


def _world_model(numbers: Mapping[str, Any]) -> list[str]:
    parts = [heading("World model")]
    if not numbers:
        return [*parts, paragraph("The study has no numbers of the world model.")]
    rows = [Row(cells=[name, value]) for name, value in _flat(numbers)]
    return [*parts, table(["number", "value"], rows)]


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            pair for key, inner in value.items()
            for pair in _flat(inner, f"{name}, {key}" if name else str(key))
        ]
    if isinstance(value, list):
        return [(name, ", ".join(_plain(item) for item in value))]
    return [(name, _plain(value))]


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _how_made(study: Study) -> list[str]:
    return [
        heading("How to reproduce this"),
        verbatim(study.command),
        paragraph(f"Seeds: {', '.join(str(seed) for seed in study.seeds) or 'none given'}."),
        table(["policy", "checkpoint"], [
            Row(cells=[cell.name, cell.checkpoint or MISSING]) for cell in study.cells
        ], text=(0, 1)),
    ]


def _is_report(page: Path) -> bool:
    try:
        return "<title>Study of " in page.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without date and version, equal studies give equal files.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report of the study named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/report", description="Write a study's report: report.html and its figures."
    )
    parser.add_argument("study", type=path_argument, help="folder with study.json")
    parser.add_argument(
        "-o", "--output", type=path_argument,
        help="folder to write to (default: report in the study)"
    )
    options = parser.parse_args(arguments)
    try:
        print(write_report(options.study, options.output or options.study / OWN_FOLDER))
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
