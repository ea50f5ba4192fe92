"""Training a latent world model from bags: the autoencoder first, then dynamics and heads.

    scripts/train_world_model --family latent DATA... --output models/world.safetensors
    accelerate launch -m hiwm_learning.train_world_model --family latent DATA... --output ...

One CPU, one GPU or many: `accelerate` decides. Ctrl-C writes a checkpoint; --resume goes on.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from hiwm_core.bags.task_of_data import task_of
from hiwm_core.output_folders import claim_folder
from hiwm_learning.checkpoints import CheckpointInfo, save_checkpoint
from hiwm_learning.latent_world.autoencoder_training import autoencoder_stage
from hiwm_learning.latent_world.clips import Clips, read_clips
from hiwm_learning.latent_world.dynamics_training import Rollouts, dynamics_stage, fit_scales
from hiwm_learning.latent_world.model import KIND, PRESETS, LatentWorldModel, latent_config
from hiwm_learning.latent_world.objectives import OBJECTIVES
from hiwm_learning.latent_world.stage import AcceleratedProcesses, Stage
from hiwm_learning.training_command import (
    WORK_FOLDER,
    add_world_model_options,
    check_world_model_outputs,
    run_training,
)
from hiwm_learning.training_loop import Budget, train
from hiwm_learning.world_model.recordings import (
    ON_TASK,
    STARTS,
    heads_line,
    outcome_heads,
    write_starts,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="train_world_model --family latent", description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_world_model_options(parser, name="latent", minutes=float("inf"), steps=200_000)
    parser.add_argument("--objective", default="flow", choices=tuple(OBJECTIVES))
    parser.add_argument(
        "--sampler-steps", type=int, help="network calls a step; the objective's usual number"
    )
    parser.add_argument("--network", default="full", choices=PRESETS, help="width and depth")
    parser.add_argument("--context", type=int, help="past latents seen; the network's usual")
    parser.add_argument(
        "--unroll", type=int, default=4, help="steps unrolled in the second half; 1 = none"
    )
    parser.add_argument("--autoencoder-steps", type=int, default=50_000)
    parser.add_argument("--autoencoder-minutes", type=float, default=float("inf"))
    parser.add_argument("--autoencoder-batch", type=int, default=64, help="frames a step")
    parser.add_argument("--batch", type=int, default=64, help="windows a step")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line and return the exit code; 130 when interrupted."""
    return run_training(
        lambda options: _Run(options).go(), build_parser().parse_args(arguments)
    )


class _Run:
    """One run: what its stages share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._begun = time.monotonic()
        self._accelerator = Accelerator()
        self._processes = AcceleratedProcesses(self._accelerator)
        if self._processes.main:
            check_world_model_outputs(options)
        task, embodiment = task_of(options.data, options.task)
        self._work: Path = options.work or options.output.with_suffix(".work")
        if self._processes.main:
            claim_folder(self._work, WORK_FOLDER)
        config = latent_config(
            embodiment, preset=options.network, objective=options.objective,
            sampler_steps=options.sampler_steps, context=options.context,
        )
        self._task, self._embodiment = task, embodiment
        torch.manual_seed(options.seed)
        model = LatentWorldModel(config)
        self._model: LatentWorldModel = model.to(  # type: ignore[call-overload]
            device=self._accelerator.device, memory_format=torch.channels_last
        )

    def go(self) -> int:
        """Run the stages and return the exit code."""
        options, model, accelerator = self._options, self._model, self._accelerator
        clips, held_out = read_clips(
            options.data, model.config.cameras, self._embodiment, self._task, self._report,
            options.resample_to, (model.config.height, model.config.width),
        )
        self._heads = trained_heads(model, clips)
        self._report(heads_line(self._heads))
        fit_scales(model, clips)
        self._report(
            f"{accelerator.num_processes} process(es) on {accelerator.device.type}; autoencoder "
            f"{_size(model.autoencoder)}, dynamics {_size(model.dynamics)} parameters"
        )
        if self._processes.main:
            _write_starts(options.output, held_out)
        first = autoencoder_stage(
            accelerator, model, clips, held_out, batch=options.autoencoder_batch,
            seed=options.seed,
        )
        budget = Budget(steps=options.autoencoder_steps, minutes=options.autoencoder_minutes)
        if self._fit(first, budget, "autoencoder"):
            return 130
        first.take_average()

        rollouts: list[Rollouts] = []

        def export(steps: int, elapsed_s: float, scores: dict[str, float]) -> None:
            model.doubt_scale.fill_(rollouts[0].doubt_scale())
            save_checkpoint(
                options.output, self._info(clips, held_out, steps, elapsed_s / 60, scores),
                dict(model.state_dict()),
            )

        self._report("encoding every frame")
        second, found = dynamics_stage(
            accelerator, model, clips, held_out, batch=options.batch, unroll=options.unroll,
            seed=options.seed, on_export=export,
        )
        rollouts.append(found)
        budget = Budget(steps=options.steps, minutes=options.minutes)
        interrupted = self._fit(second, budget, "dynamics")
        accelerator.end_training()
        return 130 if interrupted else 0

    def _fit(self, stage: Stage, budget: Budget, name: str) -> bool:
        """Fit one stage and return whether it was interrupted."""
        path = self._work / f"{name}.pt"
        self._report(f"{name}: up to {budget.steps} steps")
        outcome = train(
            stage, budget, state_path=path, resume=self._options.resume and path.exists(),
            report_every_s=30, held_out_every_s=300, checkpoint_every_s=600, write=self._report,
            processes=self._processes,
        )
        # Nobody may look for a file of this stage before it is there.
        self._accelerator.wait_for_everyone()
        return outcome.interrupted

    def _report(self, line: str) -> None:
        if self._processes.main:
            print(f"[{(time.monotonic() - self._begun) / 60:5.1f} min] {line}", flush=True)

    def _info(
        self, clips: Clips, held_out: Clips, steps: int, minutes: float, scores: dict[str, float]
    ) -> CheckpointInfo:
        return CheckpointInfo(
            kind=KIND, name=self._options.name, config=self._model.config.as_json(),
            embodiment=self._embodiment.name, embodiment_hash=self._embodiment.hash,
            embodiment_text=self._embodiment.text, task=self._task.name, task_hash=self._task.hash,
            data={**clips.summary, "held_out_episodes": held_out.summary["episodes"]},
            steps=steps, seed=self._options.seed, minutes=minutes, scores=scores,
            heads=self._heads, period_s=clips.summary.get("period_s"),
        )


def trained_heads(model: LatentWorldModel, clips: Clips) -> tuple[str, ...]:
    """Return the heads that training on clips gives a model."""
    trust = ("trust",) if model.config.doubt_members > 1 else ()
    return outcome_heads(clips.progress_labels, clips.success_labels) + trust


def _write_starts(output: Path, held_out: Clips) -> None:
    """Write first frames of held-out task episodes, where imagination begins its own."""
    on_task = [start for start in held_out.starts if start.kind in ON_TASK]
    chosen = (on_task or list(held_out.starts))[:STARTS]
    write_starts(
        output, names=[start.name for start in chosen],
        images=[start.frames for start in chosen],
        proprioception=[start.proprioception for start in chosen],
        values=[start.values for start in chosen],
    )


def _size(module: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f} M"


if __name__ == "__main__":
    sys.exit(main())
