"""Somebody else's episodes as segments of ours: mapped, checked, resampled, cut at gaps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from hiwm_core.bags import Lineage, Segment
from hiwm_core.bags.resample import resampled
from hiwm_core.control import Source
from hiwm_core.control_period import measured_period
from hiwm_core.embodiment import Embodiment
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_core.session_lineage import software_version
from hiwm_core.tasks import Task, parse_task
from hiwm_exchange.features import INTERVENTION, our
from hiwm_exchange.foreign import EpisodeError, ForeignEpisode
from hiwm_exchange.mapping import DataMapping

NEXT_STATE = "next measured state"  # device of actions that were not recorded
IMPORTED = "imported"  # device of recorded ones, and the name of a task that nobody named
# An interval that is longer than this many periods is a gap.
_GAP = 1.5
# Intervals that differ from the period by less than this share need no resampling.
_JITTER = 0.02
# Share of an entry's range by which an action may exceed a limit: rounding to float32.
_LIMIT_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What an import is told beside the data."""

    session_id: str
    task: Task | None = None  # None: one with the episode's instruction
    robot: str = ""  # empty: as recorded, or the name of the data's folder
    source: Source = Source.DEMONSTRATION  # of actions, where the data do not say
    clip: bool = False  # bring actions into the limits, in place of refusing them


def segments_of(
    episode: ForeignEpisode, mapping: DataMapping, options: ImportOptions
) -> Iterator[Segment]:
    """Yield the stretches of an episode without a gap, at the embodiment's rate.

    Raises:
        ConfigError: a column is missing, images do not fit, or proprioception lacks what actions
            are measured by.
        BagError: the images cannot be read, or the recording is too slow.
        EpisodeError: a number is not finite, an action is outside its limits, or there is none.
    """
    segment = _segment(episode, mapping, options)
    wanted = 1.0 / mapping.embodiment.rate_hz
    intervals = np.diff(episode.times_s)
    if len(intervals) and np.abs(intervals - wanted).max() > _JITTER * wanted:
        segment = resampled(segment, wanted)
    yield from without_gaps(segment, wanted)


def without_gaps(segment: Segment, period_s: float) -> Iterator[Segment]:
    """Yield the stretches without a pause, each a branch of its own from step 0."""
    pauses = np.diff(segment.stamps_ns) * 1e-9 > _GAP * period_s
    unknown = np.isnan(segment.actions[:-1]).any(axis=1)
    ends = np.flatnonzero(pauses | unknown) + 1
    runs = [run for run in np.split(np.arange(segment.length), ends) if len(run) > 1]
    for number, run in enumerate(runs):
        cut = slice(int(run[0]), int(run[-1]) + 1)
        actions = segment.actions[cut].copy()
        actions[-1] = np.nan
        lineage = segment.lineage
        if len(runs) > 1:
            lineage = replace(
                lineage, episode_id=f"{lineage.episode_id}_{number + 1}",
                branch_id=f"{lineage.episode_id}_{number + 1}-b000",
            )
        # A joint state of two ticks at one time has one stamp: steps give the order.
        stamps = segment.stamps_ns[cut]
        period = measured_period(period_s, stamps, np.arange(len(run)))
        source = segment.source[cut].copy()
        source[-1] = Source.NONE
        yield replace(
            segment, lineage=replace(lineage, period_s=period_s).with_measured(period),
            stamps_ns=stamps, steps=np.arange(len(run)), state_ids=[""] * len(run),
            observations={name: pixels[cut] for name, pixels in segment.observations.items()},
            proprio=segment.proprio[cut], measured=segment.measured[cut], actions=actions,
            source=source, device=[*segment.device[cut][:-1], ""],
            applied_source=np.concatenate(([Source.NONE], source[:-1])).astype(np.uint8),
            trust=segment.trust[cut], progress=segment.progress[cut],
            success=segment.success[cut],
        )


def made_task(instruction: str, embodiment: Embodiment, horizon: int) -> Task:
    """Return a task for data that come with an instruction only."""
    text = yaml.safe_dump({
        "name": IMPORTED, "instruction": instruction or "not told", "embodiment": embodiment.name,
        "horizon_steps": max(1, horizon), "judge": "person",
    }, sort_keys=False)
    return parse_task(text, "the imported data's task")


def check_limits(
    actions: NDArray[np.float32], embodiment: Embodiment, where: str, *, clip: bool
) -> NDArray[np.float32]:
    """Return actions [T, A], within the embodiment's limits.

    Raises:
        EpisodeError: one is outside, and they are not to be clipped; names entry and frame.
    """
    lower, upper = embodiment.lower, embodiment.upper
    inside = np.clip(actions, lower, upper).astype(np.float32)
    over = np.abs(actions - inside) > _LIMIT_TOLERANCE * (upper - lower)
    if over.any() and not clip:
        frame, entry = np.argwhere(over)[0]
        name = embodiment.actions[entry]
        raise EpisodeError(
            f"action {name.name} is {actions[frame, entry]:g} {name.unit} at frame {frame}, "
            f"outside {name.lower:g} to {name.upper:g}; {int(over.any(axis=1).sum())} frames are",
            where=where,
            remedy="correct scale and offset in the mapping, widen the embodiment's limits, or "
            "give --clip",
        )
    # Within the tolerance, the recorded number stays as it is.
    return np.where(over, inside, actions).astype(np.float32)


def next_states(measured: NDArray[Any]) -> NDArray[np.float32]:
    """Return the next measured state as the action [T, A]; NaN behind the last."""
    actions = np.full(measured.shape, np.nan, np.float32)
    actions[:-1] = measured[1:]
    return actions


def _segment(
    episode: ForeignEpisode, mapping: DataMapping, options: ImportOptions
) -> Segment:
    embodiment, length = mapping.embodiment, episode.length
    if length < 2:
        raise EpisodeError(
            f"{length} frames, so no action", where=episode.where,
            remedy="record longer episodes",
        )
    proprio = mapping.proprioception(episode)
    measured = MeasuredFromProprioception(embodiment).array(proprio).astype(np.float32)
    device = IMPORTED
    if mapping.file.actions_from == "next_state":
        actions, device = next_states(measured), NEXT_STATE
    else:
        actions = check_limits(
            mapping.actions(episode), embodiment, f"{episode.where}: {mapping.file.action}",
            clip=options.clip,
        )
        known = _column(episode, our("action_known"), True, bool)
        actions[~known] = np.nan
    source = _sources(episode, options.source)
    source[np.isnan(actions).any(axis=1)] = Source.NONE
    task = options.task or _task_of(episode, embodiment)
    recorded_on = _text(episode, our("recorded_on"))
    robot = options.robot or recorded_on.removesuffix(" (stand-in)") or IMPORTED
    name = f"ep_{episode.number + 1:06d}"
    lineage = Lineage(
        session_id=options.session_id, episode_id=name, branch_id=f"{name}-b000",
        epoch=episode.number + 1, started_from=f"import of {episode.where}",
        world="imagination" if recorded_on == "imagination" else "hardware",
        robot="" if recorded_on == "imagination" else robot,
        stand_in=recorded_on.endswith(" (stand-in)"),
        embodiment=embodiment.name, embodiment_hash=embodiment.hash,
        embodiment_yaml=embodiment.text, task=task.name, task_hash=task.hash, task_yaml=task.text,
        software_version=software_version(), period_s=float(np.median(np.diff(episode.times_s))),
    )
    # The clock of an episode starts at a second of its own.
    first_ns = (episode.number + 1) * 1_000_000_000
    return Segment(
        path=Path(name), lineage=lineage, embodiment=embodiment, epoch=lineage.epoch,
        stamps_ns=first_ns + np.round(episode.times_s * 1e9).astype(np.int64),
        steps=np.arange(length), state_ids=[""] * length,
        observations={
            camera.name: mapping.images(episode, camera) for camera in embodiment.cameras
        },
        proprio=proprio, measured=measured, actions=actions, source=source,
        device=[device if one else "" for one in source],
        applied_source=np.concatenate(([Source.NONE], source[:-1])).astype(np.uint8),
        trust=_column(episode, our("trust"), 1.0, np.float32),
        progress=_column(episode, our("progress"), np.nan, np.float32),
        success=_column(episode, our("success"), np.nan, np.float32), labels=None,
    )


def _sources(episode: ForeignEpisode, otherwise: Source) -> NDArray[np.uint8]:
    """Return who acted, [T]: as in our own sets, or by `intervention`, or as told."""
    if our("source") in episode.columns:
        return _column(episode, our("source"), int(otherwise), np.uint8)
    if INTERVENTION in episode.columns:
        acted = _column(episode, INTERVENTION, False, bool)
        return np.where(acted, Source.HUMAN, Source.POLICY).astype(np.uint8)
    return np.full(episode.length, int(otherwise), np.uint8)


def _column(episode: ForeignEpisode, name: str, otherwise: object, kind: Any) -> NDArray[Any]:
    if name not in episode.columns:
        return np.full(episode.length, otherwise, kind)
    return np.asarray(episode.columns[name]).reshape(episode.length).astype(kind)


def _text(episode: ForeignEpisode, name: str) -> str:
    return str(episode.columns[name][-1]) if name in episode.columns else ""


def _task_of(episode: ForeignEpisode, embodiment: Embodiment) -> Task:
    """Return the task that our own sets carry, or one made from the instruction."""
    recorded = episode.description.get("tasks") or {}
    if len(recorded) == 1:
        text = str(next(iter(recorded.values())))
        if text:
            return parse_task(text, "meta/hiwm.json: tasks")
    return made_task(episode.task, embodiment, episode.length)
