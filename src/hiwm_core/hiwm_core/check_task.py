"""Reads a task as every node does, and prints what it says.

    python -m hiwm_core.check_task NAME
"""

import sys
from collections.abc import Sequence

import numpy as np

from hiwm_core.check_command import run_check
from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import Task, load_task


def summary(task: Task) -> list[str]:
    """Return a task's content as lines for people; draws one start."""
    embodiment = load_embodiment(task.embodiment)
    start = task.sample_start(np.random.default_rng(0))
    kinds = task.plugin.data_kinds if task.plugin else ()
    lines = [
        f"task: {task.name}",
        f"instruction: {task.instruction}",
        f"embodiment: {embodiment.name}, {embodiment.action_dim} action entries",
        f"horizon: {task.horizon_steps} steps, {task.horizon_steps / embodiment.rate_hz:g} s",
        f"judge: {task.judge.value.replace('_', ' ')}",
        f"labels: {', '.join(task.labels)}",
        f"a start: {', '.join(filter(None, (task.start_text(start), task.picture(0)))) or 'any'}",
        f"plug-in: {task.plugin_name or 'none'}",
        f"stand-in: {', '.join(kinds) or 'none'}",
    ]
    if task.reset:
        lines.append(f"reset: {task.reset}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Check from the command line and return the exit code."""
    return run_check(
        arguments, lambda name: summary(load_task(name)),
        program="check_task", description=__doc__, what="task",
    )


if __name__ == "__main__":
    sys.exit(main())
