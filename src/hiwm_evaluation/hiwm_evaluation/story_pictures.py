"""Three pictures that tell a study's story: a failure, its correction, the corrected policy.

    scripts/results pictures WORK_FOLDER BLOCK -o docs/results/STUDY/pictures

The first two are from the block's session of corrections in imagination: the policy's frames up to
the moment when the operator stepped in, and the operator's frames after the rollback. The third one
repeats a trial on the stand-in that the base policy failed and the corrected one solved. Tested by
``test_story_pictures.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hiwm_core.bags import Segment, read_segment
from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import Label
from hiwm_core.control import Source
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import HiwmError, StoreError
from hiwm_core.json_files import read_object
from hiwm_core.palette import SOURCE_COLOURS, SOURCE_NAMES, Colour
from hiwm_core.tasks import Task, load_task
from hiwm_evaluation.study.budgets import Budget, stored_budget
from hiwm_evaluation.study.policies import BlockKind, blocks, round_cell, start_cell
from hiwm_evaluation.study.settings import SETTINGS_FILE
from hiwm_evaluation.study_file import World, read_evaluation
from hiwm_evaluation.trials import Outcome, TrialResult
from hiwm_learning.datasets.usable_segments import find_bags

#: File names, in the order of the story.
PICTURES = ("failure.png", "correction.png", "corrected.png")
_FRAMES = 5
_SIDE, _GAP, _HEAD, _FOOT, _FRAME = 200, 8, 26, 22, 4  # px
_PAPER, _INK = (255, 255, 255), (40, 44, 52)
# A shorter correction shows nothing.
_LEAST_TICKS = 8


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One frame of a strip."""

    image: NDArray[np.uint8]  # [H, W, 3]
    text: str
    colour: Colour = (110, 110, 110)


def write_story(folder: Path, block_name: str, output: Path) -> list[Path]:
    """Write the pictures of a block of sets, and return their paths.

    Args:
        folder: work folder of the study; the block's stages are done.
        block_name: for example diffusion-s0.
        output: folder of the pictures.

    Raises:
        StoreError: the folder is not of a study, the block is not one of sets, or there is no such
            correction or trial.
    """
    task, budget = _settings(folder)
    found = [b for b in blocks(budget) if b.kind is BlockKind.SETS and b.name == block_name]
    if not found:
        names = ", ".join(b.name for b in blocks(budget) if b.kind is BlockKind.SETS)
        raise StoreError(
            f"{block_name!r} has no story", where=str(folder), remedy=f"use one of {names}"
        )
    corrected = round_cell(budget, found[0], "hi-wm", budget.rounds)
    base = start_cell(found[0])
    strips = [
        *correction_strips(corrected.sessions(folder)[0]),
        _corrected_strip(
            task, corrected.checkpoint(folder),
            base.evaluation(folder, "hardware"), corrected.evaluation(folder, "hardware"),
        ),
    ]
    output.mkdir(parents=True, exist_ok=True)
    paths = [output / name for name in PICTURES]
    for path, (title, shots) in zip(paths, strips, strict=True):
        strip(title, shots).save(path)
    return paths


def correction_strips(session: Path) -> list[tuple[str, list[Shot]]]:
    """Return title and frames of a failure and of its correction in a session.

    Raises:
        StoreError: no correction of the session succeeded.
        BagError: a bag cannot be read.
    """
    bags = _bags_by_branch(session)
    with BranchReader(session / "tree.sqlite") as reader:
        nodes, branches = reader.tree(), reader.branches()
    by_id = {node.node_id: node for node in nodes}
    for branch in branches:
        driven = [
            node for node in nodes
            if node.branch_id == branch.branch_id and node.source == Source.HUMAN
        ]
        before = by_id.get(branch.fork_node_id)
        if (
            branch.label != Label.SUCCESS or len(driven) < _LEAST_TICKS or before is None
            or not {branch.branch_id, before.branch_id} <= set(bags)
        ):
            continue
        failure, correction = (
            read_segment(bags[name]) for name in (before.branch_id, branch.branch_id)
        )
        return [
            (
                f"A failure of the policy, in imagination, {before.episode_id}; the operator "
                f"rolled back to step {before.step}", _shots(failure),
            ),
            (
                f"Its correction from step {before.step} on, in imagination, "
                f"{len(driven)} steps of the operator", _shots(correction),
            ),
        ]
    raise StoreError(
        "has no successful correction after a rollback", where=str(session),
        remedy="give another block",
    )


def strip(title: str, shots: Sequence[Shot]) -> Image.Image:
    """Return frames side by side, framed in the colour of who acted, with a title."""
    width = len(shots) * (_SIDE + _GAP) + _GAP
    page = Image.new("RGB", (width, _HEAD + _SIDE + _FOOT), _PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    pen.text((_GAP, _HEAD / 2), title, fill=_INK, font=font, anchor="lm")
    for place, shot in enumerate(shots):
        left = _GAP + place * (_SIDE + _GAP)
        pen.rectangle((left, _HEAD, left + _SIDE - 1, _HEAD + _SIDE - 1), fill=shot.colour)
        inner = _SIDE - 2 * _FRAME
        view = Image.fromarray(shot.image).resize((inner, inner), Image.Resampling.LANCZOS)
        page.paste(view, (left + _FRAME, _HEAD + _FRAME))
        pen.text(
            (left + _SIDE / 2, _HEAD + _SIDE + _FOOT / 2), shot.text, fill=_INK, font=font,
            anchor="mm",
        )
    return page


def _settings(folder: Path) -> tuple[Task, Budget]:
    path = folder / SETTINGS_FILE
    remedy = "give the work folder of a study"
    kept = read_object(path, remedy)
    try:
        return load_task(kept["task"]), stored_budget(kept["budget"], f"{path}: budget")
    except KeyError as error:
        raise StoreError(f"has no {error}", where=str(path), remedy=remedy) from None


def _bags_by_branch(session: Path) -> dict[str, Path]:
    """Return the first bag of each branch of a session."""
    found: dict[str, Path] = {}
    for bag in find_bags([session]):
        try:
            found.setdefault(read_segment(bag, cameras=()).lineage.branch_id, bag)
        except HiwmError:
            continue  # damaged or unfinished
    return found


def _shots(segment: Segment) -> list[Shot]:
    """Return frames of a segment, evenly spaced, the first and the last among them."""
    camera = next(iter(segment.observations))
    return [
        Shot(
            image=segment.observations[camera][i],
            text=f"step {segment.steps[i]}, {SOURCE_NAMES[Source(int(segment.applied_source[i]))]}",
            colour=SOURCE_COLOURS[Source(int(segment.applied_source[i]))],
        )
        for i in _spaced(segment.length)
    ]


def _spaced(count: int) -> list[int]:
    """Return indices of a sequence, evenly spaced, both ends among them."""
    return sorted({round(float(i)) for i in np.linspace(0, count - 1, _FRAMES)})


def _corrected_strip(
    task: Task, policy: Path, before: Path, after: Path
) -> tuple[str, list[Shot]]:
    """Return title and frames of a trial that the base policy failed and this one solves."""
    camera = load_embodiment(task.embodiment).cameras[0].name
    for trial in _solved_now(task, before, after):
        images: list[Mapping[str, NDArray[np.uint8]]] = []
        again = _repeated(task, policy, trial, images)
        if again.outcome is Outcome.SUCCESS:
            return (
                f"The corrected policy on the stand-in solves trial {trial.trial}, which the base "
                "policy failed",
                [
                    Shot(image=images[i][camera], text=f"step {i}, policy",
                         colour=SOURCE_COLOURS[Source.POLICY])
                    for i in _spaced(len(images))
                ],
            )
    raise StoreError(
        "none of its successes at starts that the base policy failed repeats", where=str(after),
        remedy="give another block",
    )


def _solved_now(task: Task, before: Path, after: Path) -> list[TrialResult]:
    """Return the trials that failed before and succeeded after."""
    evaluations = [read_evaluation(folder, World.STAND_IN, task.name) for folder in (before, after)]
    failed, solved = (
        {result.trial: result for result in evaluation.judged} if evaluation else {}
        for evaluation in evaluations
    )
    return [
        result for number, result in solved.items()
        if result.outcome is Outcome.SUCCESS and number in failed
        and failed[number].outcome is Outcome.FAILURE
    ]


def _repeated(
    task: Task, policy: Path, trial: TrialResult, images: list[Mapping[str, NDArray[np.uint8]]]
) -> TrialResult:
    """Run a trial on the stand-in again; add the images of every step."""
    from hiwm_evaluation.judges import GroundTruthJudge
    from hiwm_evaluation.rollout.standin import StandinTrials
    from hiwm_evaluation.rollout.trial import JudgedTrial
    from hiwm_learning.policies.planning import load_planner

    # MuJoCo selects its renderer at import.
    from hiwm_robot.standin_robot import StandinRobot

    embodiment = load_embodiment(task.embodiment)
    seed = trial.seed - trial.trial
    starts = [trial.start] * (trial.trial + 1)
    planner = load_planner(policy)
    body = StandinRobot(task, embodiment)
    try:
        trials = StandinTrials(
            body, task, embodiment, lambda number: planner,
            lambda number, label: JudgedTrial(
                number=number, starts=starts, seed=seed, horizon=task.horizon_steps,
                judge=GroundTruthJudge(task.success_progress), policy=label,
            ),
            starts=starts, seed=seed, watch=images.append,
        )
        ((_, result),) = trials.run([(0, trial.trial)])
    finally:
        body.close()
    return result
