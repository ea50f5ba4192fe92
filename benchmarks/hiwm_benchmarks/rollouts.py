"""The speed of rollouts in the world model without a graph: `scripts/rollout`."""

from collections.abc import Mapping
from pathlib import Path

from hiwm_core.tasks import load_task
from hiwm_evaluation.rollout.setting import RolloutWorld, Setting
from hiwm_evaluation.rollout.workers import run_trials
from hiwm_evaluation.trials import TrialResult, sampled_starts

from .rows import Measured

TASK = "push_t"
BATCH, PROCESSES = 64, 2
TRIALS = 512  # about 100,000 steps


def measure_rollouts(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the step rate of the shipped models, policy included; arguments as in `measure`."""
    task = load_task(TASK)
    models = launch_file.parent.parent / "models"
    setting = Setting(
        world=RolloutWorld.IMAGINATION, task=TASK,
        policies=(models / f"policy_{TASK}.safetensors",),
        starts=tuple(sampled_starts(task, 0, TRIALS)), seed=0, horizon=task.horizon_steps,
        threshold=0.5, world_checkpoint=models / f"world_{TASK}.safetensors",
        start_frames=models / f"world_{TASK}_starts.npz", batch=BATCH,
    )
    results: list[TrialResult] = []
    effort = run_trials(
        setting, [(0, number) for number in range(TRIALS)], processes=PROCESSES, threads=1,
        on_result=lambda _, result: results.append(result),
    )
    return {
        "rollout_rate": Measured(
            value=effort.rate,
            details={
                "steps": effort.steps, "seconds": effort.seconds, "trials": len(results),
                "processes": PROCESSES, "batch of each": BATCH,
            },
        ),
    }
