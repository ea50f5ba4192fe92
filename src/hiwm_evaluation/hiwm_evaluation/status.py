"""The status message of an evaluation, and its prompts to a person."""

import math
from collections.abc import Sequence

from hiwm_interfaces.msg import EvaluationStatus

from hiwm_core.tasks import Task
from hiwm_evaluation.evaluation import Evaluation
from hiwm_evaluation.evaluation_messages import Phase
from hiwm_evaluation.judges import PersonJudge
from hiwm_evaluation.trials import Outcome, TrialResult, duration_text, seconds_left, summarize


def prompt_text(
    evaluation: Evaluation, task: Task, trials: int, continue_service: str, label_service: str
) -> str:
    """Return the current prompt to a person; empty if there is none."""
    if evaluation.trial is None:
        return ""
    which = f"trial {evaluation.trial + 1}/{trials}"
    if evaluation.phase is Phase.PLACING:
        start = dict(zip(task.start_names, evaluation.start, strict=True))
        wanted = (task.start_text(start), task.picture(evaluation.trial))
        return (
            f"{which}: {task.reset or 'arrange the scene'}"
            f"{''.join(f'; {part}' for part in wanted if part)}. Step back, and run: "
            f"scripts/call {continue_service} (nothing moves until then)"
        )
    if evaluation.phase is Phase.JUDGING:
        return (
            f"{which}: did it succeed? Run: scripts/call {label_service} "
            f"trial:={evaluation.trial} success:=true who:=NAME (or success:=false)"
        )
    return ""


def result_text(
    result: TrialResult, results: Sequence[TrialResult], trials: int,
    evaluation: Evaluation | None,
) -> str:
    """Return one line about a finished trial, the success so far, and the time left if known.

    Args:
        result: of the trial.
        results: the newest result of each trial.
        trials: total number of trials.
        evaluation: the running evaluation; None if it has not begun.
    """
    so_far = summarize(results)
    text = f"trial {result.trial + 1}/{trials}: {result.outcome.value}"
    if result.outcome is Outcome.ABORTED:
        text += f", {result.reason}"
    elif result.judged_by.startswith(PersonJudge.name):
        text += f" after {result.steps} ticks, judged by {result.judged_by}"
    else:
        text += f" after {result.steps} ticks, best {result.best:.2f} by {result.judged_by}"
    text += f"; so far {so_far['successes']}/{so_far['trials']}"
    if evaluation and (left := time_left(evaluation, results)) > 0:
        text += f", {duration_text(left)}"
    return text


def time_left(evaluation: Evaluation, results: Sequence[TrialResult]) -> float:
    """Return the estimated time left, s; NaN before the first finished trial."""
    judged = [result for result in results if result.outcome is not Outcome.ABORTED]
    return seconds_left(judged, *evaluation.left)


def status_message(
    evaluation: Evaluation, results: Sequence[TrialResult], trials: int, prompt: str,
    start_names: Sequence[str],
) -> EvaluationStatus:
    """Return the status of an evaluation, without a stamp.

    Args:
        evaluation: the running evaluation.
        results: the newest result of each trial.
        trials: total number of trials.
        prompt: the current prompt.
        start_names: names of a start's values.
    """
    summary = summarize(results)
    left = time_left(evaluation, results)
    return EvaluationStatus(
        phase=evaluation.phase.value, prompt=prompt, trial=evaluation.trial or 0, trials=trials,
        step=evaluation.step, horizon=evaluation.horizon,
        start_names=start_names, start_values=[float(value) for value in evaluation.start],
        judged=summary["trials"],
        successes=summary["successes"], aborted=summary["aborted"],
        # Whole seconds, since every change is published.
        seconds_left=left if math.isnan(left) else float(round(left)),
    )
