"""Weights of the frames of a post-training set.

A scheme sets each provenance's share of the total weight. Within a provenance, frames have equal
weights, except for interventions. Their share is divided evenly among failure states, then among
the continuations of each, so that one state with eight corrections does not outweigh eight states
with one each. Frames of low trust lose weight before the shares are set.

The weight is 0 for rolled-back frames, for frames without a source, and for corrections and
demonstrations labelled a failure.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.branch_records import Label
from hiwm_core.errors import ConfigError
from hiwm_core.provenance import Provenance
from hiwm_learning.datasets.episodes import Episodes

Weights = NDArray[np.float64]

# Sirius (Liu et al., RSS 2023): interventions have half of the weight, the steps before them almost
# none, demonstrations keep their share of the frames, and rollouts have the rest.
SIRIUS_INTERVENTION = 0.5
SIRIUS_PRE_INTERVENTION = 0.002
# IWR (Mandlekar et al. 2020, arXiv 2012.06733): half interventions, half everything else.
IWR_INTERVENTION = 0.5


class Scheme(StrEnum):
    """How the weight is divided among provenances."""

    SIRIUS = "sirius"
    IWR = "iwr"
    UNIFORM = "uniform"  # equal weights for all frames, interventions included
    RAC = "rac"  # RaC (Hu et al. 2025): only demonstrations and corrections


_LEARNT = {
    Scheme.SIRIUS: (
        Provenance.DEMONSTRATION, Provenance.POLICY, Provenance.HUMAN, Provenance.PRE_INTERVENTION
    ),
    Scheme.IWR: (
        Provenance.DEMONSTRATION, Provenance.POLICY, Provenance.HUMAN, Provenance.PRE_INTERVENTION
    ),
    Scheme.UNIFORM: (Provenance.DEMONSTRATION, Provenance.POLICY, Provenance.HUMAN),
    Scheme.RAC: (Provenance.DEMONSTRATION, Provenance.HUMAN),
}


@dataclass(frozen=True, kw_only=True)
class WeightedSet:
    """Weights of a training set, with a summary."""

    weights: NDArray[np.float32]  # [N], 0 = not learnt from; the others' mean is 1
    description: dict[str, Any]  # JSON values: frames and mass by provenance, what was left out


def weigh(
    episodes: Episodes, scheme: Scheme, *, min_trust: float = 0.0, low_trust_factor: float = 0.0,
    policy_episodes: Collection[tuple[str, str]] | None = None,
    demonstration_episodes: int | None = None, further_demonstration_frames: int = 0,
    correction_frames: int | None = None,
) -> WeightedSet:
    """Return the weight of each frame's action.

    Args:
        episodes: the training set.
        scheme: how the weight is divided.
        min_trust: imagined frames below this trust are of low trust, 0..1.
        low_trust_factor: factor on the weight of a frame of low trust; 0 drops it.
        policy_episodes: (session_id, episode_id) of the episodes whose policy frames count; all
            when None.
        demonstration_episodes: how many demonstrations count, from the first; all when None.
        further_demonstration_frames: approximate number of frames to add from later
            demonstrations; whole demonstrations, in order.
        correction_frames: approximate number of human frames per session; whole corrections, in
            order; all when None.

    Raises:
        ConfigError: min_trust or low_trust_factor outside 0..1, or a session or the demonstrations
            have fewer frames than requested.
    """
    for name, value in (("min_trust", min_trust), ("low_trust_factor", low_trust_factor)):
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"{name} {value:g}", where="weights", remedy="use 0 to 1")
    usable = _usable(episodes, scheme, policy_episodes)
    if demonstration_episodes is not None:
        usable = _first_demonstrations(
            episodes, usable, demonstration_episodes, further_demonstration_frames
        )
    if correction_frames is not None:
        usable = _first_corrections(episodes, usable, correction_frames)
    # Worlds without a trust estimate report NaN; it counts as full trust.
    low = usable & (np.nan_to_num(episodes.trust, nan=1.0) < min_trust)
    counts = np.where(low, low_trust_factor, 1.0) * usable
    members = {
        name: episodes.provenance == code
        for code, name in enumerate(episodes.provenance_names)
    }
    frames = {name: float(counts[mask].sum()) for name, mask in members.items()}
    shares = _shares(scheme, frames)
    weights = np.zeros(len(counts))
    for name, share in shares.items():
        within = counts * members[name]
        if name == Provenance.HUMAN and scheme is not Scheme.UNIFORM:
            within = _shared_by_failure(episodes, within)
        weights += share * within / within.sum()
    learnt = weights > 0
    weights *= learnt.sum() / max(weights.sum(), 1e-12)
    states, continuations = _failures(episodes, learnt & members[Provenance.HUMAN])
    return WeightedSet(
        weights=weights.astype(np.float32),
        description={
            "scheme": str(scheme),
            "frames_by_provenance": {
                name: int((learnt & mask).sum()) for name, mask in members.items()
                if (learnt & mask).any()
            },
            "mass_by_provenance": {
                name: round(float(weights[mask].sum() / max(weights.sum(), 1e-12)), 4)
                for name, mask in members.items() if (learnt & mask).any()
            },
            "failure_states": states, "continuations": continuations,
            "demonstrations": len(np.unique(
                episodes.episode_of[learnt & members[Provenance.DEMONSTRATION]]
            )),
            "min_trust": min_trust, "low_trust_factor": low_trust_factor,
            "low_trust_frames": int(low.sum()),
            "dropped_low_trust": int(low.sum()) if low_trust_factor == 0.0 else 0,
            "frames_left_out": int((~learnt).sum()),
        },
    )


def _usable(
    episodes: Episodes, scheme: Scheme, policy_episodes: Collection[tuple[str, str]] | None
) -> NDArray[np.bool_]:
    """Return which frames may have a weight, [N]."""
    names = np.array(episodes.provenance_names)[episodes.provenance]
    usable = np.isin(names, [str(name) for name in _LEARNT[scheme]])
    usable &= np.isfinite(episodes.actions).all(axis=1)
    by_policy = np.isin(names, [str(Provenance.POLICY), str(Provenance.PRE_INTERVENTION)])
    owner = episodes.episode_of
    failed = np.array([info.label == Label.FAILURE for info in episodes.infos], bool)
    of_person = np.isin(names, [str(Provenance.HUMAN), str(Provenance.DEMONSTRATION)])
    usable &= ~(failed[owner] & of_person)
    if policy_episodes is not None:
        wanted = np.array([
            (info.session_id, info.episode_id) in policy_episodes for info in episodes.infos
        ], bool)
        usable &= wanted[owner] | ~by_policy
    return np.asarray(usable)


def _first_demonstrations(
    episodes: Episodes, usable: NDArray[np.bool_], count: int, further_frames: int
) -> NDArray[np.bool_]:
    """Return `usable` [N] with only the first demonstrations and the further frames."""
    demonstrated = (
        episodes.provenance == episodes.provenance_names.index(Provenance.DEMONSTRATION)
    )
    owner = np.where(demonstrated & usable, episodes.episode_of, -1)
    known = np.unique(owner[owner >= 0])
    kept = known[:count]
    if further_frames:
        kept = np.concatenate((
            kept, _closest(owner, known[count:], further_frames, "further demonstrations")
        ))
    return np.asarray(usable & (~demonstrated | np.isin(owner, kept)))


def _first_corrections(
    episodes: Episodes, usable: NDArray[np.bool_], frames: int
) -> NDArray[np.bool_]:
    """Return `usable` [N] with only the first human frames of each session."""
    human = episodes.provenance == episodes.provenance_names.index(Provenance.HUMAN)
    sessions = np.array([info.session_id for info in episodes.infos])[episodes.episode_of]
    continuation = np.where(human & usable, _keys(episodes)[1], -1)
    kept = [
        _closest(
            np.where(sessions == session, continuation, -1),
            np.unique(continuation[(sessions == session) & (continuation >= 0)]),
            frames, f"corrections of session {session}",
        )
        for session in np.unique(sessions[human & usable])
    ]
    chosen = np.isin(continuation, np.concatenate(kept)) if kept else np.zeros_like(usable)
    return np.asarray(usable & (~human | chosen))


def _closest(
    owner: NDArray[np.int64], parts: NDArray[np.int64], frames: int, what: str
) -> NDArray[np.int64]:
    """Return the leading parts whose total length is closest to a number of frames.

    Args:
        owner: the part of each frame, [N]; -1 for none.
        parts: the parts, in order.
        frames: the requested number of frames.
        what: name of the parts, for an error.

    Raises:
        ConfigError: the total is short by more than the longest part.
    """
    lengths = np.array([(owner == part).sum() for part in parts], np.int64)
    if lengths.sum() + lengths.max(initial=0) < frames:
        raise ConfigError(
            f"{what}: {lengths.sum()} frames, {frames} requested", where="weights",
            remedy="record more of them, or request fewer frames",
        )
    short = np.abs(np.concatenate(([0], np.cumsum(lengths))) - frames)
    return parts[: int(short.argmin())]


def _shares(scheme: Scheme, frames: Mapping[str, float]) -> dict[str, float]:
    """Return each provenance's share of the total weight.

    Args:
        scheme: how the weight is divided.
        frames: number of frames per provenance; those of low trust count by their factor.
    """
    present = {name: count for name, count in frames.items() if count > 0}
    total = sum(present.values())
    natural = {name: count / total for name, count in present.items()}
    human, before = str(Provenance.HUMAN), str(Provenance.PRE_INTERVENTION)
    if human not in present or scheme in (Scheme.UNIFORM, Scheme.RAC):
        # Without corrections, and in RaC, shares are proportional to frames.
        return natural
    if scheme is Scheme.IWR:
        rest = {name: share for name, share in natural.items() if name != human}
        return {human: IWR_INTERVENTION if rest else 1.0} | _scaled(rest, 1.0 - IWR_INTERVENTION)
    fixed = {human: SIRIUS_INTERVENTION}
    if before in present:
        fixed[before] = SIRIUS_PRE_INTERVENTION
    left = 1.0 - sum(fixed.values())
    rest = {name: natural[name] for name in natural if name not in fixed}
    demonstration = str(Provenance.DEMONSTRATION)
    if demonstration in rest and len(rest) > 1 and rest[demonstration] < left:
        others = {name: share for name, share in rest.items() if name != demonstration}
        return fixed | {demonstration: rest[demonstration]} | _scaled(
            others, left - rest[demonstration]
        )
    # Otherwise all other provenances divide what the interventions leave.
    shares = fixed | _scaled(rest, left)
    return _scaled(shares, 1.0)


def _scaled(shares: Mapping[str, float], total: float) -> dict[str, float]:
    whole = sum(shares.values())
    return {name: total * share / whole for name, share in shares.items()}


def _shared_by_failure(episodes: Episodes, counts: Weights) -> Weights:
    """Return counts [N], scaled to equal weights of failure states and of their continuations."""
    scaled = np.zeros(len(counts))
    failure, continuation = _keys(episodes)
    for state in np.unique(failure[counts > 0]):
        of_state = (failure == state) & (counts > 0)
        branches = np.unique(continuation[of_state])
        for branch in branches:
            rows = of_state & (continuation == branch)
            scaled[rows] = counts[rows] / counts[rows].sum() / len(branches)
    return scaled


def _failures(episodes: Episodes, frames: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the number of failure states, and of their continuations, among some frames [N]."""
    failure, continuation = _keys(episodes)
    return len(np.unique(failure[frames])), len(np.unique(continuation[frames]))


def _keys(episodes: Episodes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of each frame's failure state and continuation, each [N].

    A forked branch is a continuation of the state at its fork. On a root branch, every stretch of
    human frames is a separate failure state.
    """
    human = episodes.provenance == episodes.provenance_names.index(str(Provenance.HUMAN))
    failure = np.zeros(len(human), np.int64)
    continuation = np.zeros(len(human), np.int64)
    known: dict[object, int] = {}
    for info, start, end in zip(episodes.infos, episodes.starts, episodes.ends, strict=True):
        branch = known.setdefault(("branch", info.session_id, info.branch_id), len(known))
        if info.parent_branch_id:
            state: object = (info.session_id, info.parent_branch_id, info.fork_step)
            failure[start:end] = known.setdefault(state, len(known))
            continuation[start:end] = branch
            continue
        rows = human[start:end]
        stretch = np.cumsum(rows & ~np.concatenate(([False], rows[:-1])))
        for number in np.unique(stretch):
            key = known.setdefault((info.session_id, info.branch_id, int(number)), len(known))
            failure[start:end][stretch == number] = key
            continuation[start:end][stretch == number] = key
    return failure, continuation
