"""Training a world model from bags: appearance, tracking, dynamics, heads, doubt; each stage kept.

An interrupted run goes on with --resume: finished stages are read back from the work folder, the
dynamics from its last checkpoint.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hiwm_core.bags.task_of_data import task_of
from hiwm_core.number_arguments import whole_number
from hiwm_core.output_folders import claim_folder
from hiwm_learning import training_loop
from hiwm_learning.checkpoints import (
    CheckpointInfo,
    load_training_state,
    save_checkpoint,
    save_training_state,
)
from hiwm_learning.parallel import require_alone
from hiwm_learning.training_command import (
    WORK_FOLDER,
    add_world_model_options,
    check_world_model_outputs,
)
from hiwm_learning.training_loop import Budget
from hiwm_learning.world_models.layered.appearance import fit_appearance
from hiwm_learning.world_models.layered.dynamics import DynamicsConfig, motion
from hiwm_learning.world_models.layered.dynamics_trainer import DynamicsTrainer, Tracks
from hiwm_learning.world_models.layered.heads import fit_head
from hiwm_learning.world_models.layered.imagination import advance, begin, parting
from hiwm_learning.world_models.layered.model import KIND, WorldModel, ensemble_heads, planar_config
from hiwm_learning.world_models.layered.tracking import track
from hiwm_learning.world_models.recordings import (
    ON_TASK,
    STARTS,
    Recording,
    heads_line,
    outcome_heads,
    read_recordings,
    write_starts,
)

# Frames redrawn this much worse than usual are not tracked well enough to learn motion from.
BAD_FACTOR = 3.0
DOUBT_STEPS = 50


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options of this family's training."""
    add_world_model_options(parser, name="layered", minutes=40.0, steps=10**7)
    parser.add_argument("--members", type=whole_number(1), default=3, help="of the ensemble")
    parser.add_argument("--hidden", type=whole_number(1), default=256, help="width of a member")


def train(options: argparse.Namespace) -> int:
    """Train and return the exit code; 130 when interrupted."""
    require_alone("--family layered")
    begun = time.monotonic()

    def report(line: str) -> None:
        print(f"[{(time.monotonic() - begun) / 60:5.1f} min] {line}", flush=True)

    work = check_world_model_outputs(options)
    task, embodiment = task_of(options.data, options.task)
    claim_folder(work, WORK_FOLDER)
    config = planar_config(
        embodiment, dynamics=DynamicsConfig(members=options.members, hidden=options.hidden)
    )
    torch.manual_seed(options.seed)
    model = WorldModel(config)
    recordings = read_recordings(
        options.data, [config.camera], embodiment, task, report, options.resample_to
    )

    appearance_path, tracks_path = work / "appearance.pt", work / "tracks.pt"
    if options.resume and appearance_path.exists():
        model.decoder.load_state_dict(load_training_state(appearance_path))
        report("appearance: taken up")
    else:
        frames, proprioception = _sample(recordings, options.seed)
        fit_appearance(model.decoder, frames, proprioception, options.seed, report)
        save_training_state(appearance_path, model.decoder.state_dict())
    model.dynamics.set_shape(model.decoder, 0)

    if options.resume and tracks_path.exists():
        poses, errors = load_training_state(tracks_path)
        report("tracks: taken up")
    else:
        with torch.no_grad():
            found = track(
                model.decoder, [(r.frames, r.proprioception) for r in recordings], report
            )
        poses, errors = [p for p, _ in found], [e for _, e in found]
        save_training_state(tracks_path, (poses, errors))
    bad = BAD_FACTOR * float(torch.cat(errors).median())
    lost = sum(int((e > bad).sum()) for e in errors)
    report(f"tracked; {lost} of {sum(len(e) for e in errors)} frames redrawn badly and left out")

    fitting = [i for i, r in enumerate(recordings) if not r.held_out]
    apart = [i for i, r in enumerate(recordings) if r.held_out]
    tracks = _tracks(model, recordings, poses, errors, bad, fitting)
    held_out = _tracks(model, recordings, poses, errors, bad, apart)

    fitted = [recordings[i] for i in fitting]
    info: dict[str, Any] = {
        "kind": KIND, "name": options.name, "config": config.as_json(),
        "embodiment": embodiment.name, "embodiment_hash": embodiment.hash,
        "embodiment_text": embodiment.text, "task": task.name, "task_hash": task.hash,
        "seed": options.seed,
        "data": {
            "episodes": len(fitted), "frames": sum(len(r.frames) for r in fitted),
            "episodes_by_kind": dict(Counter(r.kind for r in fitted)),
            "frames_by_kind": {
                kind: sum(len(r.frames) for r in fitted if r.kind == kind)
                for kind in dict.fromkeys(r.kind for r in fitted)
            },
            "held_out_episodes": len(apart),
            "worlds": sorted({r.recorded_on for r in fitted}),
            "measured_period_s": round(
                statistics.median(r.measured_period_s for r in fitted), 6
            ),
        },
        "period_s": statistics.median(r.period_s for r in fitted),
    }
    progress = torch.cat([recordings[i].progress_labels for i in fitting])
    success = torch.cat([recordings[i].success_labels for i in fitting])
    labelled = torch.nonzero(~(progress.isnan() & success.isnan()))[:, 0]
    outcome = outcome_heads(progress, success)
    info["heads"] = outcome + ensemble_heads(config)
    report(heads_line(info["heads"]))
    if outcome:
        objects = torch.cat([poses[i][:, 0] for i in fitting])[labelled]
        order = torch.randperm(
            len(labelled), generator=torch.Generator().manual_seed(options.seed)
        )
        error, right = fit_head(
            model.head, objects[order], progress[labelled][order], success[labelled][order],
            task.success_progress, options.seed,
        )
        report(f"head: progress off by {error:.4f}, success right {100 * right:.2f} %")
    _write_starts(options.output, recordings, apart)

    def export(
        weights: dict[str, Tensor], steps: int, elapsed_s: float, scores: dict[str, float]
    ) -> None:
        kept = {k: v.clone() for k, v in model.dynamics.state_dict().items()}
        model.dynamics.load_state_dict(weights)
        model.doubt_scale.fill_(_doubt_scale(model, held_out))
        save_checkpoint(
            options.output,
            CheckpointInfo(steps=steps, minutes=elapsed_s / 60, scores=scores, **info),
            dict(model.state_dict()),
        )
        model.dynamics.load_state_dict(kept)

    trainer = DynamicsTrainer(
        model.dynamics, tracks, held_out, seed=options.seed, on_export=export
    )
    report(
        f"dynamics: {sum(p.numel() for p in model.dynamics.parameters())} parameters, "
        f"{len(tracks.episode)} frames, {int(tracks.moving().sum())} with the object moving"
    )
    finished = training_loop.train(
        trainer, Budget(steps=options.steps, minutes=options.minutes),
        state_path=work / "dynamics.pt",
        resume=options.resume and (work / "dynamics.pt").exists(), report_every_s=30,
        held_out_every_s=120, checkpoint_every_s=240, write=report,
    )
    return 130 if finished.interrupted else 0


def _sample(recordings: Sequence[Recording], seed: int, each: int = 6) -> tuple[Tensor, Tensor]:
    """Return frames and proprioception drawn from all over the recordings not held out."""
    generator = torch.Generator().manual_seed(seed)
    frames, proprioception = [], []
    for recording in recordings:
        if not recording.held_out:
            rows = torch.randint(len(recording.frames), (each,), generator=generator)
            frames.append(recording.frames[rows])
            proprioception.append(recording.proprioception[rows])
    return torch.cat(frames), torch.cat(proprioception)


def _tracks(
    model: WorldModel, recordings: Sequence[Recording], poses: Sequence[Tensor],
    errors: Sequence[Tensor], bad: float, chosen: Sequence[int],
) -> Tracks:
    """Return the chosen segments' tracks, cut wherever a frame was tracked badly."""
    episode: list[Tensor] = []
    number = 0
    for i in chosen:
        good = errors[i] <= bad
        # Every run of good frames is an episode of its own, and so is every bad frame.
        change = torch.ones(len(good), dtype=torch.long)
        change[1:] = (~(good[1:] & good[:-1])).long()
        ids = number + change.cumsum(0)
        number = int(ids[-1]) + 1
        episode.append(ids)
    return Tracks(
        poses=torch.cat([poses[i] for i in chosen]),
        targets=torch.cat([model.targets(recordings[i].actions) for i in chosen]),
        episode=torch.cat(episode),
    )


@torch.no_grad()
def _doubt_scale(model: WorldModel, tracks: Tracks) -> float:
    """Return the real error of rollouts over how far the members parted on their way."""
    starts = tracks.starts(DOUBT_STEPS)
    if len(starts) == 0:
        return 1.0
    starts = starts[:: max(1, len(starts) // 400)]
    worlds = begin(model, tracks.poses[starts])
    for k in range(DOUBT_STEPS):
        worlds = advance(model, worlds, tracks.targets[starts + k])
    error = motion(tracks.poses[starts + DOUBT_STEPS][:, 0], worlds.poses[:, 0]).norm(dim=1)
    # The median over rollouts that moved; a still rollout has neither error nor doubt.
    moved = motion(tracks.poses[starts, 0], tracks.poses[starts + DOUBT_STEPS, 0]).norm(dim=1)
    pick = moved > 0.01
    if not bool(pick.any()):
        return 1.0
    return float(error[pick].median() / parting(worlds)[pick].median().clamp_min(1e-9))


def _write_starts(output: Path, recordings: Sequence[Recording], apart: Sequence[int]) -> None:
    """Write first frames of held-out task episodes, where imagination begins its own."""
    chosen = [i for i in apart if recordings[i].kind in ON_TASK]
    chosen = (chosen or list(apart))[:STARTS]
    write_starts(
        output, names=[recordings[i].name for i in chosen],
        images=[(recordings[i].frames[0].numpy(),) for i in chosen],
        proprioception=[recordings[i].proprioception[0].numpy() for i in chosen],
        values=[recordings[i].start_values[0] for i in chosen],
    )

