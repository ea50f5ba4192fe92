"""docs/results.md: the story of each task's studies in a screenful, and what has not been run.

    scripts/results page STUDY_FOLDER... [-o docs/results.md]
    scripts/results pictures WORK_FOLDER BLOCK -o STUDY_FOLDER/pictures

Every number is computed from the studies' trials (``findings.py``). Tasks with a stand-in that no
study is given for are listed as not run. Tested by ``test_results_page.py``.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hiwm_core.atomic_files import replace_file
from hiwm_core.config_files import config_directories
from hiwm_core.errors import HiwmError, StoreError
from hiwm_core.output_folders import check_output_file, check_output_folder
from hiwm_core.tasks import Task, load_task
from hiwm_core.user_paths import path_argument
from hiwm_evaluation.control_findings import branching_points
from hiwm_evaluation.figures import BACKBONE_NAMES, SET_NAMES
from hiwm_evaluation.findings import (
    PAPER_GAINS,
    PAPER_SETS,
    Agreement,
    Gain,
    agreement,
    agreement_of,
    cells_of,
    gains,
    independent,
    mean_costs,
    pooled,
    total,
    worlds_paired,
)
from hiwm_evaluation.page import number, percent, percent_range, points, points_range
from hiwm_evaluation.report import OWN_FOLDER, SUMMARY_FILE
from hiwm_evaluation.story_pictures import PICTURES, write_story
from hiwm_evaluation.study_file import Backbone, Study, TrainingSet, World, read_study
from hiwm_evaluation.task_study import task_study

_TITLE = "# Results"
PICTURES_FOLDER = "pictures"  # in a study
_CAPTIONS = ("a failure", "its correction", "the corrected policy")
_CONTROLS = (
    TrainingSet.HI_WM, TrainingSet.STAND_IN_CORRECTIONS, TrainingSet.DEMONSTRATIONS,
)


def write_page(studies: Sequence[Path], page: Path) -> None:
    """Write the page of some studies; a task without one is listed as not run.

    Raises:
        StoreError: a study cannot be read, or the page cannot be written.
        ConfigError: the page is another file.
    """
    check_output_file(page, "a page of results", _is_page, inputs=list(studies))
    by_task: dict[str, list[tuple[Path, Study]]] = {}
    for folder in studies:
        study = read_study(folder)
        by_task.setdefault(study.task, []).append((folder, study))
    lines = [
        _TITLE, "",
        "Each task was run on its stand-in, a MuJoCo simulation behind a robot's driver topics, "
        "and in imagination, a learned world model. No number here is from a real robot, except "
        "for the paper's own, which are labelled. Rates have Wilson intervals, gains Newcombe's "
        "for paired trials, all at 95 %. [study.md](study.md) explains the sets and the costs.",
    ]
    for task in _tasks(by_task):
        lines += ["", f"## {task.name}: {task.instruction}", ""]
        found = by_task.get(task.name, [])
        for folder, study in found:
            lines += _story(study, folder, page, several=len(found) > 1)
        if not found:
            lines += [
                f"Not run yet: `scripts/reproduce {task.name} --budget small --world-model "
                f"models/world_{task.name}.safetensors`.",
                *_paper_lines(study=None, task=task.name),
            ]
    named = " ".join(_relative(folder, page.parent.parent) for folder in studies)
    lines += ["", f"`scripts/results page {named}` writes this page."]
    try:
        replace_file(page, "\n".join(lines) + "\n")
    except OSError as error:
        raise StoreError(
            f"cannot be written: {error.strerror or error}", where=str(page),
            remedy="check permissions and free space, or give another file with -o",
        ) from error


def _tasks(named: Sequence[str] | dict[str, list[tuple[Path, Study]]]) -> list[Task]:
    """Return the tasks with a stand-in, and those of the studies; tasks with studies first."""
    names = dict.fromkeys([*named, *sorted(
        path.stem for folder in config_directories() for path in (folder / "tasks").glob("*.yaml")
    )])
    tasks = [load_task(name) for name in names]
    return [
        task for task in tasks
        if task.name in named or (task.plugin is not None and task.plugin.data_kinds)
    ]


def _story(study: Study, folder: Path, page: Path, *, several: bool) -> list[str]:
    place = _relative(folder, page.parent)
    agreed = agreement(study)
    apart = agreement_of(independent(agreed.cells))
    lines = [f"### {folder.name}", ""] if several else []
    lines += [
        f"`{study.command}`, {study.date}, {study.software}"
        + (f", with a world model whose state is {study.world_state}" if study.world_state else "")
        + f". [All numbers]({place}/{OWN_FOLDER}/{SUMMARY_FILE}).",
        *_paper_lines(study, study.task), *_control_lines(study), "",
        *_agreement_lines(study, agreed, apart), *_branching_lines(study),
    ]
    return lines + _picture_lines(folder, place)


def _paper_lines(study: Study | None, task: str) -> list[str]:
    """Return the rates of the paper's sets beside the paper's own."""
    paper = task_study(task).paper
    names = [SET_NAMES[which] for which in PAPER_SETS]
    lines = [
        "", f"| policy | {' | '.join(names)} | "
        + " | ".join(f"{SET_NAMES[a]} minus {SET_NAMES[b]}" for a, b in PAPER_GAINS) + " |",
        "|---|" + "---|" * (len(names) + len(PAPER_GAINS)),
    ]
    if study is not None:
        found = gains(study, World.STAND_IN)
        for backbone in Backbone:
            rates = [pooled(cells_of(study, backbone, s), World.STAND_IN) for s in PAPER_SETS]
            lines.append(
                f"| {BACKBONE_NAMES[backbone]}, stand-in | "
                + " | ".join(
                    f"{percent(rate.rate)} of {rate.trials}" if rate.trials else "missing"
                    for rate in rates
                ) + " | "
                + " | ".join(_gain(found, backbone, a, b) for a, b in PAPER_GAINS) + " |"
            )
    if paper is not None:
        of = f" of about {paper.trials}" if paper.trials else ""
        for name in paper.success_percent:
            gained = [
                points(paper.share(name, a.value) - paper.share(name, b.value))
                for a, b in PAPER_GAINS
            ]
            lines.append(
                f"| *the paper's {name}, real robot* | "
                + " | ".join(
                    f"*{paper.percent(name, which.value):.1f} %{of}*" for which in PAPER_SETS
                ) + " | "
                + " | ".join(f"*{value}*" for value in gained) + " |"
            )
    return lines if len(lines) > 3 else []


def _gain(
    found: Sequence[Gain], backbone: Backbone, more: TrainingSet, less: TrainingSet
) -> str:
    for gain in found:
        if (gain.backbone, gain.more, gain.less) == (backbone, more, less) and gain.pairs.trials:
            interval = points_range(gain.paired_interval)
            return f"{points(gain.pairs.difference)} ({interval})"
    return "missing"


def _control_lines(study: Study) -> list[str]:
    """Return success and costs at equal operator frames."""
    rows = [
        f"| {BACKBONE_NAMES[cost.backbone]}, {SET_NAMES[cost.set]} | "
        + (
            f"{percent(cost.rate.rate)} ({percent_range(cost.rate.interval)})"
            if cost.rate.trials else "missing"
        )
        + f" | {number(cost.learnt_frames, 0)} | {number(cost.operator_seconds, 0)} | "
        f"{number(cost.robot_seconds, 0)} |"
        for cost in mean_costs(study) if cost.set in _CONTROLS
    ]
    if not rows:
        return ["", "The study has no controls at equal operator frames."]
    return [
        "", "| at equal operator frames | stand-in | frames learnt from | operator s | robot s |",
        "|---|---|---|---|---|", *rows,
    ]


def _agreement_lines(study: Study, agreed: Agreement, apart: Agreement) -> list[str]:
    counts = total(worlds_paired(cell) for cell in study.cells)
    texts = []
    for some, over in ((agreed, "policies"), (apart, "independently trained ones")):
        if some.estimates:
            listed = ", ".join(
                f"{name} {number(estimate.value, 3)} ({number(estimate.low, 3)} to "
                f"{number(estimate.high, 3)})" for name, estimate in some.estimates.items()
            )
            texts.append(f"over {len(some.cells)} {over}: {listed}")
    if not texts:
        return ["Imagination against the stand-in: too few policies to compare."]
    return [
        f"Imagination against the stand-in, {'; '.join(texts)}. Of "
        f"{counts.both + counts.first_only} imagined successes {counts.first_only} failed on the "
        f"stand-in; of {counts.neither + counts.second_only} imagined failures "
        f"{counts.second_only} succeeded there.",
    ]


def _branching_lines(study: Study) -> list[str]:
    shown = branching_points(study)
    if not shown:
        return ["", "Corrections with and without branches have not been compared yet."]
    lines = [
        "", "| does branching pay? | operator s | interventions | stand-in |", "|---|---|---|---|",
    ]
    for point in shown:
        policy = point.policy
        lines.append(
            f"| {BACKBONE_NAMES[policy.backbone]}, {policy.corrected or 'base'} | "
            f"{number(policy.operator_seconds, 0)} | {policy.corrections} | "
            f"{percent(point.rate.rate)} ({percent_range(point.rate.interval)}) |"
        )
    return lines


def _picture_lines(folder: Path, place: str) -> list[str]:
    missing = [name for name in PICTURES if not (folder / PICTURES_FOLDER / name).is_file()]
    if missing:
        return [
            "", "Pictures of a failure, its correction and the corrected policy are not there: "
            "they are made from a study's work folder, with `scripts/results pictures`.",
        ]
    return [
        line for name, caption in zip(PICTURES, _CAPTIONS, strict=True)
        for line in ("", f"![{caption}]({place}/{PICTURES_FOLDER}/{name})")
    ]


def _relative(path: Path, start: Path) -> str:
    return Path(os.path.relpath(path, start)).as_posix()


def _is_page(page: Path) -> bool:
    try:
        return page.read_text(encoding="utf-8").startswith(_TITLE + "\n")
    except (OSError, ValueError):
        return False


def _holds_pictures(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= set(PICTURES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page or the pictures from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/results", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    page = commands.add_parser("page", help="write the page of some studies")
    page.add_argument("studies", nargs="*", type=path_argument, metavar="STUDY_FOLDER")
    page.add_argument("-o", "--output", type=path_argument, default=Path("docs/results.md"))
    pictures = commands.add_parser("pictures", help="make the three pictures of a block")
    pictures.add_argument("folder", type=path_argument, metavar="WORK_FOLDER")
    pictures.add_argument("block", metavar="BLOCK", help="for example diffusion-s0")
    pictures.add_argument("-o", "--output", type=path_argument, required=True)
    options = parser.parse_args(arguments)
    try:
        if options.command == "page":
            write_page(options.studies, options.output)
            print(options.output)
        else:
            check_output_folder(
                options.output, "a study's pictures", _holds_pictures, inputs=[options.folder]
            )
            for path in write_story(options.folder, options.block, options.output):
                print(path)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    # MuJoCo selects its renderer at import.
    os.environ.setdefault("MUJOCO_GL", "egl")
    sys.exit(main())
