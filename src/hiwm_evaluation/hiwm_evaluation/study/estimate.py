"""An estimate of how long a block takes, from the task's speeds.

Tested by ``test_study_estimate.py``.
"""

from collections.abc import Sequence
from dataclasses import asdict

from hiwm_evaluation.study.stages import Stage
from hiwm_evaluation.task_study import Speeds

# A graph's processes use about two cores.
_CORES_OF_A_GRAPH = 2


def stage_minutes(stage: Stage, speeds: Speeds) -> float:
    """Return the estimated core minutes of a stage; 0 if it has no estimate."""
    if stage.work is None:
        return 0.0
    kind, steps = stage.work
    cores = _CORES_OF_A_GRAPH if kind == "graph" else 1
    return float(cores * steps / asdict(speeds)[kind] / 60.0)


def block_minutes(stages: Sequence[Stage], speeds: Speeds, jobs: int) -> float:
    """Return the estimated minutes of a block that starts in a new folder.

    Args:
        stages: of the block.
        speeds: of the task.
        jobs: stages in parallel; their cores.
    """
    return sum(stage_minutes(stage, speeds) for stage in stages) / jobs
