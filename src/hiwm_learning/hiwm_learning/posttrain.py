"""The command that post-trains a policy on one of three sets, to the same budget of steps.

    base    demonstrations alone
    wm-cl   with the policy's own successful rollouts in imagination
    hi-wm   with corrections given in imagination, weighted as `datasets.weights` says

What a set contains is printed, and saved beside the checkpoint as <output>.set.json.
"""

import argparse
import fcntl
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.errors import BagError
from hiwm_core.output_folders import check_apart, check_output_file, json_with
from hiwm_core.session_lineage import session_heads
from hiwm_core.user_paths import path_argument
from hiwm_core.world_heads import SUCCESS_HEAD, require_success_head
from hiwm_learning.checkpoints import write_file
from hiwm_learning.datasets import Episodes, load_episodes
from hiwm_learning.datasets.build import build_dataset
from hiwm_learning.datasets.periods import add_resample_option
from hiwm_learning.datasets.usable_segments import find_bags
from hiwm_learning.datasets.weights import Scheme, WeightedSet, weigh
from hiwm_learning.policies.command import (
    add_policy_options,
    check_policy_outputs,
    fit_policy,
    policy_trainer,
    say,
)
from hiwm_learning.training_command import run_training
from hiwm_learning.training_loop import Budget

SETS = ("base", "wm-cl", "hi-wm")
# How contested starts are told: by so many trials beside them, 0.1 m as far as 1 rad.
NEIGHBOURS, METRES_PER_RADIAN = 4, 0.1


@dataclass(frozen=True, kw_only=True)
class SetOptions:
    """What a set is made of."""

    kind: str  # one of SETS
    demonstrations: tuple[Path, ...]
    rollouts: tuple[Path, ...] = ()  # sessions of imagined evaluations, recorded
    corrections: tuple[Path, ...] = ()  # sessions with interventions
    scheme: Scheme = Scheme.SIRIUS  # of hi-wm; the other two count every frame alike
    min_trust: float = 0.0
    low_trust_factor: float = 0.0
    demonstration_episodes: int | None = None  # learn from the first so many; from all when None
    further_frames: int = 0  # of the demonstrations after those
    correction_frames: int | None = None  # of a person in each session; all when None
    trials: int | None = None  # wm-cl: the first so many of each evaluation; all when None
    contested: bool = False  # wm-cl: only successes among failures; see `successes`
    resample_hz: float | None = None  # bring every segment to this control rate


def make_set(
    options: SetOptions, cache: Path, write: Callable[[str], None]
) -> tuple[Episodes, WeightedSet]:
    """Return a set's episodes and weights.

    Args:
        options: what it is made of.
        cache: folder that training sets are built in, and found again by their bags.
        write: takes progress lines.

    Raises:
        BagError: a part is missing, or has nothing to learn from.
    """
    places = {
        "base": options.demonstrations,
        "wm-cl": (*options.demonstrations, *options.rollouts),
        "hi-wm": (*options.demonstrations, *options.corrections),
    }[options.kind]
    chosen = None
    if options.kind == "wm-cl":
        _require(options.rollouts, "--rollouts", "a recorded evaluation in imagination")
        chosen = successes(
            options.rollouts, trials=options.trials, contested=options.contested
        )
        if not chosen:
            raise BagError(
                "no rollout succeeded" + options.contested * " among failures",
                where=", ".join(map(str, options.rollouts)),
                remedy="give more trials, or a better policy: WM-CL learns from successes alone",
            )
    if options.kind == "hi-wm":
        _require(options.corrections, "--corrections", "a session with interventions")
    episodes = load_episodes(_built(places, cache, write, options.resample_hz))
    weighted = weigh(
        episodes, options.scheme if options.kind == "hi-wm" else Scheme.UNIFORM,
        min_trust=options.min_trust, low_trust_factor=options.low_trust_factor,
        policy_episodes=chosen, demonstration_episodes=options.demonstration_episodes,
        further_demonstration_frames=options.further_frames,
        correction_frames=options.correction_frames,
    )
    if options.kind == "hi-wm" and not weighted.description["failure_states"]:
        raise BagError(
            "no frame of a correction counts", where=", ".join(map(str, options.corrections)),
            remedy="take over in a session first, or lower --min-trust",
        )
    return episodes, weighted


def successes(
    sessions: Sequence[Path], *, trials: int | None = None, contested: bool = False
) -> set[tuple[str, str]]:
    """Return (session_id, episode_id) of the trials of some evaluations that succeeded.

    Args:
        sessions: folders of evaluations.
        trials: of each evaluation count only the first so many; all when None.
        contested: keep only successes among failures, where `NEIGHBOURS` trials from the nearest
            start poses failed in half of the cases or more.

    Raises:
        BagError: a session holds no evaluation.
        CheckpointError: its world model had no trained success head, and no person judged.
    """
    tried = [
        (session.name, trial) for session in sessions for trial in _trials(session)
        if trial["outcome"] != "aborted" and (trials is None or trial["trial"] < trials)
    ]
    won = np.array([trial["outcome"] == "success" for _, trial in tried], bool)
    kept = won & _among_failures([trial["start"] for _, trial in tried], won) if contested else won
    return {
        (name, trial["episode_id"])
        for (name, trial), is_kept in zip(tried, kept, strict=True) if is_kept
    }


def _among_failures(
    starts: Sequence[Sequence[float]], won: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return whether half or more of the trials from the nearest start poses failed, [N].

    Args:
        starts: x [m], y [m], yaw [rad] of each trial.
        won: whether it succeeded, [N].
    """
    poses = np.array(starts, np.float64).reshape(-1, 3)
    apart = poses[:, None] - poses
    turned = np.abs(np.arctan2(np.sin(apart[..., 2]), np.cos(apart[..., 2])))
    distance = np.hypot(apart[..., 0], apart[..., 1]) / METRES_PER_RADIAN + turned
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(poses) - 1)]
    return np.asarray((~won[nearest]).sum(axis=1) * 2 >= max(1, nearest.shape[1]))


def _trials(session: Path) -> list[dict[str, Any]]:
    path = session / "evaluation" / "trials.jsonl"
    if not path.is_file():
        raise BagError(
            "no evaluation there", where=str(path),
            remedy="give session folders of launch/evaluate.launch.xml record:=true",
        )
    trials = [json.loads(line) for line in path.read_text().splitlines()]
    # A trial may have several lines, a person's verdict after a head's: the last one counts.
    newest = list({trial["trial"]: trial for trial in trials}.values())
    if any(trial.get("judged_by") == SUCCESS_HEAD for trial in newest):
        heads = session_heads(session)
        if heads is not None:
            require_success_head(heads, str(session))
    return newest


def _require(places: Sequence[Path], option: str, what: str) -> None:
    if not places:
        raise BagError(f"{option} is missing", where="posttrain", remedy=f"give {what}")


def _built(
    places: Sequence[Path], cache: Path, write: Callable[[str], None],
    resample_hz: float | None = None,
) -> Path:
    """Return the training set of all bags at some places, built where it is not there yet."""
    digest = hashlib.sha256(f"{resample_hz:g} Hz ".encode() if resample_hz else b"")
    for bag in find_bags(places):
        for file in sorted(bag.glob("*.mcap")):
            digest.update(f"{bag.parent.parent.name}/{bag.name} {file.stat().st_size}\n".encode())
        # A label given later changes what a branch counts for.
        tree = bag.parent.parent / "tree.sqlite"
        if tree.exists():
            digest.update(str(tree.stat().st_mtime_ns).encode())
    path = cache / f"{digest.hexdigest()[:16]}.zarr"
    cache.mkdir(parents=True, exist_ok=True)
    # Two trainings side by side may want the same set: one builds it, the other waits.
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            write(f"training set {path.name} is there")
        else:
            build_dataset(places, path, resample_hz=resample_hz, write=write)
    return path


def describe(kind: str, description: dict[str, Any]) -> str:
    """Return what a set contains, for people."""
    frames, mass = description["frames_by_provenance"], description["mass_by_provenance"]
    lines = [f"{kind}, weights {description['scheme']}", "  provenance          frames    mass"]
    lines += [f"  {name:<18}{count:>8}{mass[name]:>8.1%}" for name, count in frames.items()]
    if description["failure_states"]:
        lines.append(
            f"  {description['failure_states']} failure states, "
            f"{description['continuations']} continuations"
        )
    lines.append(
        f"  {description['frames_left_out']} frames left out, "
        f"{description['low_trust_frames']} of trust below {description['min_trust']:g}"
    )
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="posttrain", description=__doc__, formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("set", choices=SETS)
    parser.add_argument(
        "--demonstrations", nargs="+", type=path_argument, required=True, metavar="PLACE"
    )
    parser.add_argument(
        "--rollouts", nargs="+", type=path_argument, default=[], metavar="SESSION",
        help="wm-cl: evaluations in imagination, recorded",
    )
    parser.add_argument(
        "--corrections", nargs="+", type=path_argument, default=[], metavar="SESSION",
        help="hi-wm: sessions with interventions",
    )
    add_policy_options(parser)
    add_resample_option(parser)
    parser.add_argument("--weights", choices=[str(s) for s in Scheme], default=str(Scheme.SIRIUS))
    parser.add_argument("--min-trust", type=float, default=0.0, help="0..1, of imagined frames")
    parser.add_argument(
        "--low-trust-factor", type=float, default=0.0,
        help="what a frame below it keeps of its weight; 0 drops it",
    )
    parser.add_argument(
        "--further-frames", type=int, default=0,
        help="with --episodes: about so many frames of the demonstrations after those as well",
    )
    parser.add_argument(
        "--correction-frames", type=int,
        help="hi-wm: about so many frames of a person in each session, whole corrections;\n"
        "default: all",
    )
    parser.add_argument(
        "--trials", type=int, help="wm-cl: the first so many of each evaluation (default: all)"
    )
    parser.add_argument(
        "--contested", action="store_true",
        help=f"wm-cl: only successes where half or more of the {NEIGHBOURS} trials from the "
        "nearest\nstart poses failed",
    )
    parser.add_argument(
        "--steps", type=int, required=True, help="optimiser steps, for every set"
    )
    parser.add_argument(
        "--cache", type=path_argument,
        help="folder of training sets (default: sets beside the output)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Post-train from the command line and return the exit code; 130 when interrupted."""
    return run_training(_posttrain, build_parser().parse_args(arguments))


def _posttrain(options: argparse.Namespace) -> int:
    places = [*options.demonstrations, *options.rollouts, *options.corrections]
    cache: Path = options.cache or options.output.parent / "sets"
    described: Path = options.output.with_suffix(".set.json")
    check_policy_outputs(options, places)
    check_output_file(described, "a set's description", json_with("set", "scheme"), inputs=places)
    check_apart(cache, places)
    episodes, weighted = make_set(
        SetOptions(
            kind=options.set, demonstrations=tuple(options.demonstrations),
            rollouts=tuple(options.rollouts), corrections=tuple(options.corrections),
            scheme=Scheme(options.weights), min_trust=options.min_trust,
            low_trust_factor=options.low_trust_factor, demonstration_episodes=options.episodes,
            further_frames=options.further_frames, correction_frames=options.correction_frames,
            trials=options.trials, contested=options.contested,
            resample_hz=options.resample_to,
        ),
        cache, say,
    )
    data = {"set": options.set, **weighted.description}
    say(describe(options.set, weighted.description))
    write_file(described, json.dumps(data, indent=1) + "\n")
    trainer = policy_trainer(
        options, episodes, weighted.weights, data, sampling="weighted",
        name=f"{options.backbone}-{options.set}-s{options.seed}",
    )
    return fit_policy(options, trainer, Budget(steps=options.steps))


if __name__ == "__main__":
    sys.exit(main())
