"""Post-train a policy on one of three sets, for the same number of steps.

    base    demonstrations only
    wm-cl   also the policy's own successful rollouts in imagination
    hi-wm   also corrections given in imagination, with the weights of --weights

The contents of the set are printed, and saved next to the checkpoint as <output>.set.json.
"""

import argparse
import fcntl
import hashlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags import Lineage
from hiwm_core.bags.metadata import METADATA_FILE, read_information
from hiwm_core.bags.recover import session_of
from hiwm_core.errors import BagError
from hiwm_core.number_arguments import whole_number
from hiwm_core.output_folders import check_output_file, check_output_folder, json_with
from hiwm_core.provenance import Provenance
from hiwm_core.session_lineage import session_heads
from hiwm_core.trial_lines import TRIALS_FILE, trial_lines
from hiwm_core.user_paths import path_argument
from hiwm_core.world_heads import SUCCESS_HEAD, require_success_head
from hiwm_learning.checkpoints import write_file
from hiwm_learning.datasets import Episodes, load_episodes
from hiwm_learning.datasets.build import build_dataset
from hiwm_learning.datasets.periods import add_resample_option
from hiwm_learning.datasets.session_trees import tree_state
from hiwm_learning.datasets.usable_segments import find_bags
from hiwm_learning.datasets.weights import Scheme, WeightedSet, weigh
from hiwm_learning.parallel import ALONE, Team, team_of
from hiwm_learning.policies.command import (
    add_policy_options,
    check_policy_outputs,
    fit_policy,
    policy_trainer,
    say,
    streamed_to,
)
from hiwm_learning.training_command import run_training
from hiwm_learning.training_loop import Budget

SETS = ("base", "wm-cl", "hi-wm")
# A start is contested if many of its nearest trials failed; 0.1 m counts as much as 1 rad.
NEIGHBOURS, METRES_PER_RADIAN = 4, 0.1
_OF_A_CACHE = re.compile(r"[0-9a-f]{16}\.(zarr|lock)|\.[0-9a-f]{16}\.zarr\..+")


@dataclass(frozen=True, kw_only=True)
class SetOptions:
    """The parts of a set."""

    kind: str  # one of SETS
    demonstrations: tuple[Path, ...]
    rollouts: tuple[Path, ...] = ()  # sessions of imagined evaluations, recorded
    corrections: tuple[Path, ...] = ()  # sessions with interventions
    # Of hi-wm; the other two use UNIFORM. RAC won on the study's tuning starts (docs/study.md).
    scheme: Scheme = Scheme.RAC
    min_trust: float = 0.0
    low_trust_factor: float = 0.0
    demonstration_episodes: int | None = None  # number to learn from; all when None
    further_frames: int = 0  # of later demonstrations
    correction_frames: int | None = None  # human frames per session; all when None
    trials: int | None = None  # wm-cl: number per evaluation; all when None
    contested: bool = False  # wm-cl: only successes among failures; see `successes`
    resample_hz: float | None = None  # resample every segment to this control rate


def make_set(
    options: SetOptions, cache: Path, write: Callable[[str], None],
    cameras: Sequence[str] | None = None, on_disk: Path | None = None, team: Team = ALONE,
) -> tuple[Episodes, WeightedSet, Path]:
    """Return a set's episodes and weights, and the store of the episodes.

    Args:
        options: the parts of the set.
        cache: folder of built training sets, which are reused for the same bags.
        write: receives progress lines.
        cameras: cameras whose images to read; all when None.
        on_disk: see `load_episodes`.
        team: the processes that train together.

    Raises:
        BagError: a part is missing, or has no frame to learn from.
    """
    places = {
        "base": options.demonstrations,
        "wm-cl": (*options.demonstrations, *options.rollouts),
        "hi-wm": (*options.demonstrations, *options.corrections),
    }[options.kind]
    for option, given, kinds in (
        ("--rollouts", options.rollouts, ("wm-cl",)),
        ("--corrections", options.corrections, ("hi-wm",)),
    ):
        if given and options.kind not in kinds:
            raise BagError(
                f"the set {options.kind} does not learn from {option}", where="posttrain",
                remedy=f"omit {option}, or make the set {kinds[0]}",
            )
    chosen = None
    if options.kind == "wm-cl":
        _require(options.rollouts, "--rollouts", "a recorded evaluation in imagination")
        chosen = successes(
            options.rollouts, trials=options.trials, contested=options.contested, write=write
        )
    if options.kind == "hi-wm":
        _require(options.corrections, "--corrections", "a session with interventions")
    store = _built(places, cache, write, options.resample_hz)
    episodes = load_episodes(store, cameras, on_disk, team)
    weighted = weigh(
        episodes, options.scheme if options.kind == "hi-wm" else Scheme.UNIFORM,
        min_trust=options.min_trust, low_trust_factor=options.low_trust_factor,
        policy_episodes=chosen, demonstration_episodes=options.demonstration_episodes,
        further_demonstration_frames=options.further_frames,
        correction_frames=options.correction_frames,
    )
    if options.kind == "base" and set(weighted.description["frames_by_provenance"]) != {
        Provenance.DEMONSTRATION
    }:
        raise BagError(
            "the set base learns from demonstrations, and these frames are "
            + (", ".join(weighted.description["frames_by_provenance"]) or "none"),
            where=", ".join(map(str, options.demonstrations)),
            remedy="give sessions that contain only demonstrations",
        )
    if options.kind == "hi-wm" and not weighted.description["failure_states"]:
        raise BagError(
            "no frame of a correction has a weight above 0",
            where=", ".join(map(str, options.corrections)),
            remedy="record a session with corrections, or lower --min-trust",
        )
    if options.kind == "wm-cl" and (
        Provenance.POLICY not in weighted.description["frames_by_provenance"]
    ):
        raise BagError(
            "no frame of a successful rollout has a weight above 0",
            where=", ".join(map(str, options.rollouts)),
            remedy="audit the sessions' bags with python -m hiwm_recording.audit, or lower "
            "--min-trust",
        )
    return episodes, weighted, store


def successes(
    sessions: Sequence[Path], *, write: Callable[[str], None], trials: int | None = None,
    contested: bool = False,
) -> set[tuple[str, str]]:
    """Return (session_id, episode_id) of the successful trials of some evaluations.

    Both are those of the bags: a session folder that was renamed or copied keeps its id.

    Args:
        sessions: folders of evaluations.
        write: receives a line for successes without a bag.
        trials: number of trials to use per evaluation, from the first; all when None.
        contested: keep only successes among failures: those for which half or more of the
            `NEIGHBOURS` trials from the nearest start poses failed.

    Raises:
        BagError: a session contains no evaluation or no bag, two sessions contain the same
            episode, no trial succeeded, or `contested` and starts are not planar poses.
        CheckpointError: its world model had no trained success head, and no person judged.
    """
    tried = [
        (session, trial) for session in sessions for trial in _trials(session)
        if trial["outcome"] != "aborted" and (trials is None or trial["trial"] < trials)
    ]
    won = np.array([trial["outcome"] == "success" for _, trial in tried], bool)
    if contested and any(len(trial["start"]) != 3 for _, trial in tried):
        raise BagError(
            "contested successes need starts of x, y and yaw", where=", ".join(map(str, sessions)),
            remedy="omit --contested",
        )
    kept = won & _among_failures([trial["start"] for _, trial in tried], won) if contested else won
    if not kept.any():
        raise BagError(
            "no rollout succeeded" + contested * " among failures",
            where=", ".join(map(str, sessions)),
            remedy="give more trials, or a better policy: WM-CL learns only from successes",
        )
    recorded = _recorded(sessions)
    chosen: set[tuple[str, str]] = set()
    for (session, trial), is_kept in zip(tried, kept, strict=True):
        if is_kept:
            found = recorded.get((session, trial["episode_id"]), set())
            if not found:
                write(f"{session}: no readable bag of successful trial {trial['trial']}, "
                      f"episode {trial['episode_id']}")
            chosen |= found
    return chosen


def _recorded(sessions: Sequence[Path]) -> dict[tuple[Path, str], set[tuple[str, str]]]:
    """Return (session_id, episode_id) of the bags of each episode, by folder and episode_id.

    A session that was continued under another folder name has several ids. Bags with unreadable
    metadata are skipped; building the training set reports them.
    """
    recorded: dict[tuple[Path, str], set[tuple[str, str]]] = {}
    owners: dict[tuple[str, str], Path] = {}
    for session in dict.fromkeys(sessions):
        for bag in find_bags([session]):
            try:
                custom = read_information(bag).get("custom_data") or {}
            except BagError:
                continue
            lineage = Lineage.from_custom_data(custom)
            key = lineage.session_id, lineage.episode_id
            owner = owners.setdefault(key, session)
            if owner != session:
                raise BagError(
                    f"episode {lineage.episode_id} of session {lineage.session_id} is also in "
                    f"{owner}", where=str(session),
                    remedy="give only one of the two sessions; the ids of their bags are the same",
                )
            recorded.setdefault((session, lineage.episode_id), set()).add(key)
    return recorded


def _among_failures(
    starts: Sequence[Sequence[float]], won: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return whether half or more of the trials from the nearest start poses failed, [N].

    Args:
        starts: x [m], y [m], yaw [rad] of each trial.
        won: whether each trial succeeded, [N].
    """
    poses = np.array(starts, np.float64).reshape(-1, 3)
    apart = poses[:, None] - poses
    turned = np.abs(np.arctan2(np.sin(apart[..., 2]), np.cos(apart[..., 2])))
    distance = np.hypot(apart[..., 0], apart[..., 1]) / METRES_PER_RADIAN + turned
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(poses) - 1)]
    return np.asarray((~won[nearest]).sum(axis=1) * 2 >= max(1, nearest.shape[1]))


def _trials(session: Path) -> list[dict[str, Any]]:
    path = session / TRIALS_FILE
    if not path.is_file():
        raise BagError(
            "no evaluation there", where=str(path),
            remedy="give session folders of launch/evaluate.launch.xml with record:=true",
        )
    newest = list(trial_lines(path).values())
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
    """Return the training set of all bags in some folders; build it unless it exists."""
    path = cache / f"{bags_content(find_bags(places), resample_hz)[:16]}.zarr"
    cache.mkdir(parents=True, exist_ok=True)
    # Parallel trainings may need the same set: one builds it, the others wait.
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            write(f"using the existing training set {path.name}")
        else:
            build_dataset(places, path, resample_hz=resample_hz, write=write)
    return path


def is_set_cache(folder: Path) -> bool:
    """Return whether a folder contains only sets of `_built`, their locks and unfinished sets."""
    return all(_OF_A_CACHE.fullmatch(entry.name) for entry in folder.iterdir())


def bags_content(bags: Sequence[Path], resample_hz: float | None) -> str:
    """Return a digest of everything that a training set is built from.

    A bag counts by its place, its metadata, which has a checksum and the times of its messages,
    and the size and time of its files. A tree counts by its marks: labels that are set later
    change a branch's weight.
    """
    content: list[object] = [resample_hz]
    for bag in bags:
        metadata = bag / METADATA_FILE
        content.append((str(bag.resolve()), metadata.read_bytes() if metadata.is_file() else b""))
        for file in sorted(bag.glob("*.mcap")):
            stat = file.stat()
            content.append((file.name, stat.st_size, stat.st_mtime_ns))
    content += [tree_state(session) for session in sorted({session_of(bag) for bag in bags})]
    return hashlib.sha256(repr(content).encode()).hexdigest()


def describe(kind: str, description: dict[str, Any]) -> str:
    """Return the contents of a set as text for people."""
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
        f"{description['low_trust_frames']} with trust below {description['min_trust']:g}"
    )
    return "\n".join(lines)


def add_part_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options that select the parts of a set and weigh them.

    Args:
        parser: of a command.
        required: whether demonstrations must be given.
    """
    parser.add_argument(
        "--demonstrations", nargs="+", type=path_argument, required=required, default=[],
        metavar="PLACE", help="sessions of demonstrations",
    )
    parser.add_argument(
        "--rollouts", nargs="+", type=path_argument, default=[], metavar="SESSION",
        help="wm-cl: recorded evaluations in imagination",
    )
    parser.add_argument(
        "--corrections", nargs="+", type=path_argument, default=[], metavar="SESSION",
        help="hi-wm: sessions with interventions",
    )
    parser.add_argument("--weights", choices=[str(s) for s in Scheme], default=str(Scheme.RAC))
    parser.add_argument("--min-trust", type=float, default=0.0,
        help="0..1; imagined frames below it are of low trust",)
    parser.add_argument(
        "--low-trust-factor", type=float, default=0.0,
        help="factor on the weight of frames of low trust; 0 drops them",
    )
    parser.add_argument(
        "--further-frames", type=whole_number(0), default=0,
        help="with --episodes: add about this many frames of later demonstrations",
    )
    parser.add_argument(
        "--correction-frames", type=whole_number(1),
        help="hi-wm: about this many human frames per session, whole corrections\n"
        "(default: all)",
    )
    parser.add_argument(
        "--trials", type=whole_number(1),
        help="wm-cl: number of trials from each evaluation, the first ones (default: all)",
    )
    parser.add_argument(
        "--contested", action="store_true",
        help=f"wm-cl: only successes where half or more of the {NEIGHBOURS} trials from the "
        "nearest\nstart poses failed",
    )


def set_options(options: argparse.Namespace, kind: str) -> SetOptions:
    """Return the parts of a set from a command line.

    Args:
        options: with those of `add_part_options`, --episodes and --resample-to.
        kind: one of SETS.
    """
    return SetOptions(
        kind=kind, demonstrations=tuple(options.demonstrations),
        rollouts=tuple(options.rollouts), corrections=tuple(options.corrections),
        scheme=Scheme(options.weights), min_trust=options.min_trust,
        low_trust_factor=options.low_trust_factor, demonstration_episodes=options.episodes,
        further_frames=options.further_frames, correction_frames=options.correction_frames,
        trials=options.trials, contested=options.contested, resample_hz=options.resample_to,
    )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="posttrain", description=__doc__, formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("set", choices=SETS)
    add_part_options(parser)
    add_policy_options(parser)
    add_resample_option(parser)
    parser.add_argument(
        "--steps", type=whole_number(1), required=True, help="optimiser steps"
    )
    parser.add_argument(
        "--cache", type=path_argument,
        help="folder of training sets (default: sets, next to the output)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Post-train from the command line and return the exit code; 130 when interrupted."""
    return run_training(_posttrain, build_parser().parse_args(arguments))


def _posttrain(options: argparse.Namespace) -> int:
    places = [*options.demonstrations, *options.rollouts, *options.corrections]
    cache: Path = options.cache or options.output.parent / "sets"
    description: Path = options.output.with_suffix(".set.json")
    team = team_of(options.device, options.parts)
    report = team.reporting(say)
    if team.leads:
        check_policy_outputs(options, places)
        check_output_file(
            description, "a set's description", json_with("set", "scheme"), inputs=places
        )
        check_output_folder(cache, "a folder of training sets", is_set_cache, inputs=places)
    team.wait()
    episodes, weighted, _ = make_set(
        set_options(options, options.set), cache, report, None, streamed_to(options), team
    )
    data = {"set": options.set, **weighted.description}
    report(describe(options.set, weighted.description))
    if team.leads:
        write_file(description, json.dumps(data, indent=1) + "\n")
    trainer = policy_trainer(
        options, episodes, weighted.weights, data, sampling="weighted",
        name=f"{options.backbone}-{options.set}-s{options.seed}", team=team,
    )
    return fit_policy(options, trainer, Budget(steps=options.steps), team)


if __name__ == "__main__":
    sys.exit(main())
