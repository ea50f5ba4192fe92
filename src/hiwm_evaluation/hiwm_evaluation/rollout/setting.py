"""Settings of rollouts: everything that a worker process needs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from hiwm_core.embodiment import load_embodiment
from hiwm_core.robot_config import load_robot
from hiwm_core.tasks import load_task
from hiwm_core.workspace_check import file_workspace
from hiwm_evaluation.judges import GroundTruthJudge, HeadJudge
from hiwm_evaluation.rollout.imagined import ImaginedTrials
from hiwm_evaluation.rollout.trial import JudgedTrial
from hiwm_evaluation.trials import StartValues, TrialResult
from hiwm_learning.policies.planning import Planner, load_planner
from hiwm_learning.world_models.families import load_simulator
from hiwm_world.imagined_world import load_starts

# Policies kept in memory: those of the running trials.
_POLICIES = 8

Wanted = tuple[int, int]  # number of the policy, number of the trial


class RolloutWorld(StrEnum):
    """The world of rollouts."""

    IMAGINATION = "imagination"
    STAND_IN = "standin"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One world, with the policies and starts to run in it."""

    world: RolloutWorld
    task: str  # name or path
    policies: tuple[Path, ...]
    starts: tuple[StartValues, ...]  # of every trial
    seed: int  # trial i is reset with seed + i; also the seed of plans
    horizon: int  # ticks after which a trial without success has failed
    threshold: float  # probability of success, or progress, that counts as success
    world_checkpoint: Path  # imagination
    start_frames: Path  # imagination
    batch: int = 64  # imagination: trials in parallel
    device: str = "cpu"  # of the models
    robot: str = ""  # imagination: name or path of the robot whose workspace bounds the actions


def trials(setting: Setting, wanted: Iterable[Wanted]) -> Iterator[tuple[int, TrialResult]]:
    """Run trials in this process; yield the policy's number and the result of each.

    Raises:
        HiwmError: a file is missing, damaged, or does not fit.
    """
    task = load_task(setting.task)
    embodiment = load_embodiment(task.embodiment)

    @lru_cache(maxsize=_POLICIES)
    def planner(number: int) -> Planner:
        return load_planner(setting.policies[number], setting.device)

    def make_trial(number: int, policy: str) -> JudgedTrial:
        imagined = setting.world is RolloutWorld.IMAGINATION
        return JudgedTrial(
            number=number, starts=setting.starts, seed=setting.seed, horizon=setting.horizon,
            judge=(HeadJudge if imagined else GroundTruthJudge)(setting.threshold), policy=policy,
        )

    if setting.world is RolloutWorld.IMAGINATION:
        workspace = (
            file_workspace(load_robot(setting.robot), embodiment) if setting.robot else None
        )
        simulator, _ = load_simulator(
            setting.world_checkpoint, embodiment, setting.device, workspace
        )
        yield from ImaginedTrials(
            simulator, load_starts(setting.start_frames, task), planner, make_trial,
            wanted_starts=setting.starts, seed=setting.seed, batch=setting.batch,
        ).run(wanted)
        return
    # MuJoCo selects its renderer at import, and only the stand-in needs it.
    from hiwm_evaluation.rollout.standin import StandinTrials
    from hiwm_robot.standin_robot import StandinRobot

    body = StandinRobot(task, embodiment)
    try:
        yield from StandinTrials(
            body, task, embodiment, planner, make_trial,
            starts=setting.starts, seed=setting.seed,
        ).run(wanted)
    finally:
        body.close()
