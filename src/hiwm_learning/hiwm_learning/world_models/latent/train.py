"""Training a latent world: joints, robot, hands, what is hidden, grips, dynamics, heads."""

import argparse
import math
import time
from pathlib import Path

import torch

from hiwm_core.bags.task_of_data import task_of
from hiwm_core.errors import ConfigError
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_core.number_arguments import at_least_zero, whole_number
from hiwm_core.output_folders import claim_folder
from hiwm_core.user_paths import path_argument
from hiwm_learning import training_loop
from hiwm_learning.checkpoints import CheckpointInfo, save_checkpoint
from hiwm_learning.parallel import team_of
from hiwm_learning.training_command import (
    WORK_FOLDER,
    add_parts_option,
    add_world_model_options,
    check_world_model_outputs,
    work_folder,
)
from hiwm_learning.training_loop import Budget
from hiwm_learning.world_models.latent.clips import Clips, read_clips
from hiwm_learning.world_models.latent.config import NETWORK_SIZES, latent_config
from hiwm_learning.world_models.latent.dynamics_training import (
    OLDEST,
    POOL,
    DynamicsOptions,
    dynamics_stage,
)
from hiwm_learning.world_models.latent.filling_training import filling_stage
from hiwm_learning.world_models.latent.grip_training import STEPS as GRIP_STEPS
from hiwm_learning.world_models.latent.grip_training import grip_stage
from hiwm_learning.world_models.latent.growth import (
    add_growth_options,
    check_growth,
    check_same_joints,
    growth_inputs,
    network_options,
    take_over,
)
from hiwm_learning.world_models.latent.hand_training import STEPS as HAND_STEPS
from hiwm_learning.world_models.latent.hand_training import hand_stage
from hiwm_learning.world_models.latent.heads_training import heads_stage
from hiwm_learning.world_models.latent.joint_training import STEPS, fit_joints, joint_stage
from hiwm_learning.world_models.latent.model import KIND, LatentWorldModel, stored_weights
from hiwm_learning.world_models.latent.robot_training import BATCH, robot_stage
from hiwm_learning.world_models.latent.scene_data import scene_data
from hiwm_learning.world_models.latent.stage import Export, Stage
from hiwm_learning.world_models.latent.subset import add_subset_options, subset_of
from hiwm_learning.world_models.recordings import (
    ON_TASK,
    STARTS,
    heads_line,
    outcome_heads,
    write_starts,
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options of this family's training."""
    add_world_model_options(parser, name="latent", minutes=150.0, steps=10**7, threads=2)
    parser.add_argument(
        "--network", default="cpu", choices=NETWORK_SIZES, help="size (default: %(default)s)"
    )
    parser.add_argument("--torch-device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--tokens", type=whole_number(1),
        help="cells in play, of all cameras (default: of the size)",
    )
    parser.add_argument(
        "--rigid", type=whole_number(0), metavar="N",
        help="stiff pieces to which the cells of a camera may belong (default: of the size)",
    )
    parser.add_argument(
        "--touch", type=whole_number(0), metavar="N",
        help="samples a side of what a hand is about to meet; 0: unseen (default: of the size)",
    )
    parser.add_argument(
        "--joint-steps", type=whole_number(0), default=STEPS, help="limit of the joints' stage"
    )
    parser.add_argument(
        "--robot-minutes", type=at_least_zero, default=15.0, help="limit of the robot's stage"
    )
    parser.add_argument(
        "--robot-steps", type=whole_number(0), default=10**7, help="the same in steps"
    )
    parser.add_argument(
        "--robot-batch", type=whole_number(2), default=BATCH, help="frames in a step"
    )
    parser.add_argument(
        "--hand-steps", type=whole_number(0), default=HAND_STEPS, help="limit of the hands' stage"
    )
    parser.add_argument(
        "--filling-minutes", type=at_least_zero, default=8.0,
        help="limit of the stage that learns what is behind the robot",
    )
    parser.add_argument(
        "--filling-steps", type=whole_number(0), default=10**7, help="the same in steps"
    )
    parser.add_argument(
        "--grip-steps", type=whole_number(0), default=GRIP_STEPS,
        help="limit of the stage that learns what hands hold",
    )
    parser.add_argument(
        "--head-minutes", type=at_least_zero, default=6.0,
        help="limit of the last stage, which learns doubt and verdicts",
    )
    parser.add_argument(
        "--head-steps", type=whole_number(0), default=10**7, help="the same in steps"
    )
    add_parts_option(parser)
    parser.add_argument(
        "--robot-only", nargs="+", default=[], type=path_argument, metavar="DATA",
        help="bags in which only the robot moves, with no object in sight: what the robot looks "
        "like is learned from them, and nothing else",
    )
    add_growth_options(parser)
    add_subset_options(parser)
    parser.add_argument(
        "--stream", action="store_true",
        help="keep frames and scenes on disk, uncompressed in the work folder while it trains: "
        "memory does not grow with them",
    )
    parser.add_argument(
        "--pool", type=whole_number(1), default=POOL, help="rollouts kept alive"
    )
    parser.add_argument(
        "--oldest", type=whole_number(1), default=OLDEST, help="age limit of a rollout, steps"
    )


def train(options: argparse.Namespace) -> int:
    """Train and return the exit code; 130 when interrupted."""
    return _Run(options).go()


class _Run:
    """One run: what its stages share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._begun = options, time.monotonic()
        if options.torch_device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "no GPU that torch can use", where="--torch-device",
                remedy="use --torch-device cpu, or a machine with a GPU",
            )
        self._device = torch.device(options.torch_device)
        self._team = team = team_of(options.torch_device, options.parts)
        check_growth(options)
        work = (
            check_world_model_outputs(options, growth_inputs(options)) if team.leads
            else work_folder(options)
        )
        task, embodiment = task_of(options.data, options.task)
        if team.leads:
            claim_folder(work, WORK_FOLDER)
        team.wait()
        self._work: Path = work
        self._on_disk = work if options.stream else None
        self._task, self._embodiment = task, embodiment
        # Of the last stages: steps and minutes so far.
        self._steps: dict[str, tuple[int, float]] = {}
        self._scores: dict[str, float] = {}
        torch.manual_seed(options.seed)
        config = latent_config(embodiment, **network_options(options))
        self._model, self._lineage = LatentWorldModel(config).to(self._device), []
        if options.start_from:
            self._lineage = take_over(self._model, options.start_from, embodiment)
            self._report(f"starts from {self._lineage[-1]['name']}")

    def go(self) -> int:
        """Run the stages and return the exit code."""
        options, model = self._options, self._model
        clips, held_out = read_clips(
            options.data, model.config.cameras, self._embodiment, self._task, self._report,
            options.resample_to, (model.config.height, model.config.width), options.old_data,
            options.old_share, subset_of(options), self._on_disk,
        )
        self._heads = (*outcome_heads(clips.progress_labels, clips.success_labels), "trust")
        self._report(heads_line(self._heads))
        if self._lineage:  # new units would change the meaning of what was learned
            check_same_joints(model, clips, self._embodiment)
        else:
            fit_joints(model, clips)
        self._report(
            f"on {self._device.type}; views {_count(model.views)}, dynamics "
            f"{_count(model.dynamics)} parameters; {len(clips)} frames, {len(held_out)} held out"
        )
        if self._team.leads:
            _write_starts(options.output, held_out)
        measure = MeasuredFromProprioception(self._embodiment)
        joints = joint_stage(
            model, clips, held_out, measure, seed=options.seed, device=self._device,
            team=self._team,
        )
        budget = Budget(steps=options.joint_steps)
        if self._fit(joints, budget, "joints"):
            return 130
        joints.take_average()
        seed, device, team = options.seed, self._device, self._team
        robot = robot_stage(
            model, clips, held_out, batch=options.robot_batch, robot_only=self._robot_only(),
            seed=seed, device=device, team=team,
        )
        budget = Budget(steps=options.robot_steps, minutes=options.robot_minutes)
        if self._fit(robot, budget, "robot"):
            return 130
        robot.take_average()
        hands = hand_stage(model, clips, seed=seed, device=device, team=team)
        if self._fit(hands, Budget(steps=options.hand_steps), "hands"):
            return 130
        hands.take_average()
        filling = filling_stage(model, clips, held_out, seed=seed, device=device, team=team)
        budget = Budget(steps=options.filling_steps, minutes=options.filling_minutes)
        if self._fit(filling, budget, "filling"):
            return 130
        filling.take_average()

        self._report("taking the robot away from every frame")
        data, held_scenes = scene_data(
            model, clips, held_out, seed=seed, device=device, team=team, on_disk=self._on_disk,
            report=self._report,
        )
        grips = grip_stage(
            model, data, held_scenes, measure, seed=seed, device=device, team=team
        )
        if self._fit(grips, Budget(steps=options.grip_steps), "grips"):
            return 130
        grips.take_average()
        sizes = DynamicsOptions(
            pool=options.pool, oldest=options.oldest, grown=bool(self._lineage)
        )
        dynamics = dynamics_stage(
            model, data, held_scenes, measure, seed=seed, device=device, options=sizes,
            team=team,
            # Its heads say nothing yet.
            on_export=self._export("dynamics", clips, held_out, ()),
        )
        if self._fit(dynamics, Budget(steps=options.steps, minutes=options.minutes), "dynamics"):
            return 130
        dynamics.take_average()
        heads = heads_stage(
            model, data, held_scenes, seed=seed, device=device, options=sizes, team=team,
            on_export=self._export("heads", clips, held_out, self._heads),
        )
        budget = Budget(steps=options.head_steps, minutes=options.head_minutes)
        return 130 if self._fit(heads, budget, "heads") else 0

    def _export(
        self, stage: str, clips: Clips, held_out: Clips, heads: tuple[str, ...]
    ) -> Export:
        """Return what writes the checkpoint in a stage, with these heads trained."""

        def export(steps: int, elapsed_s: float, scores: dict[str, float]) -> None:
            self._scores.update(scores)
            self._steps[stage] = (steps, elapsed_s / 60)
            save_checkpoint(
                self._options.output, self._info(clips, held_out, heads),
                stored_weights(self._model),
            )

        return export

    def _robot_only(self) -> Clips | None:
        """Return the recordings of the robot only, or None."""
        options, config = self._options, self._model.config
        if not options.robot_only:
            return None
        clips, _ = read_clips(
            options.robot_only, config.cameras, self._embodiment, self._task, self._report,
            options.resample_to, (config.height, config.width), on_disk=self._on_disk,
            hold_out=False,
        )
        self._report(f"the robot only: {len(clips)} frames")
        return clips

    def _fit(self, stage: Stage, budget: Budget, name: str) -> bool:
        """Fit one stage and return whether it was interrupted."""
        if not budget.steps or not budget.minutes:
            self._report(f"{name}: left as it is")
            return False
        path = self._work / f"{name}.pt"
        minutes = f", {budget.minutes:g} minutes" if math.isfinite(budget.minutes) else ""
        self._report(f"{name}: up to {budget.steps} steps{minutes}")
        outcome = training_loop.train(
            stage, budget, state_path=path, team=self._team,
            resume=self._options.resume and self._team.own_file(path).exists(),
            report_every_s=30, held_out_every_s=300, checkpoint_every_s=600, write=self._report,
        )
        return outcome.interrupted

    def _report(self, line: str) -> None:
        if self._team.leads:
            print(f"[{(time.monotonic() - self._begun) / 60:5.1f} min] {line}", flush=True)

    def _info(self, clips: Clips, held_out: Clips, heads: tuple[str, ...]) -> CheckpointInfo:
        steps = sum(steps for steps, _ in self._steps.values())
        minutes = sum(minutes for _, minutes in self._steps.values())
        return CheckpointInfo(
            kind=KIND, name=self._options.name, config=self._model.config.as_json(),
            embodiment=self._embodiment.name, embodiment_hash=self._embodiment.hash,
            embodiment_text=self._embodiment.text, task=self._task.name, task_hash=self._task.hash,
            data={
                **clips.summary, "robot_only": len(self._options.robot_only) > 0,
                "held_out_episodes": held_out.summary["episodes"],
                "lineage": self._lineage,
            },
            steps=steps, seed=self._options.seed, minutes=minutes, scores=self._scores,
            heads=heads, period_s=clips.summary.get("period_s"),
        )


def _write_starts(output: Path, held_out: Clips) -> None:
    """Write first frames of held-out task episodes, where imagination starts its own."""
    on_task = [start for start in held_out.starts if start.kind in ON_TASK]
    chosen = (on_task or list(held_out.starts))[:STARTS]
    write_starts(
        output, names=[start.name for start in chosen],
        images=[start.frames for start in chosen],
        proprioception=[start.proprioception for start in chosen],
        values=[start.values for start in chosen],
    )


def _count(module: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f} M"
