"""Write sessions, bags and branches as a LeRobot data set.

    export_lerobot SESSION... -o FOLDER                      one episode for each segment
    export_lerobot SESSION... -o FOLDER --episodes-per path  one for each path of the tree
    export_lerobot --set hi-wm --demonstrations PLACE... --corrections SESSION... -o FOLDER
                                                             a set to fine-tune a policy on

A cut-off export continues with the same command. docs/exchange.md describes the columns.
"""

import argparse
import fcntl
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import BusyError, ConfigError, HiwmError
from hiwm_core.number_arguments import whole_number
from hiwm_core.output_folders import check_output_folder, claim_folder
from hiwm_core.text_arguments import text_argument
from hiwm_core.user_paths import path_argument
from hiwm_exchange.features import our_features, policy_features
from hiwm_exchange.lerobot import layout as places
from hiwm_exchange.lerobot.episodes import Piece, SetSpec
from hiwm_exchange.lerobot.info import read_info
from hiwm_exchange.lerobot.layout import Layout, Version
from hiwm_exchange.lerobot.video import CODECS
from hiwm_exchange.lerobot.writer import DatasetWriter
from hiwm_exchange.like import like_another
from hiwm_exchange.mapping import DataMapping, load_mapping
from hiwm_exchange.sources import BagSource, EpisodeSource, Exported, SetSource
from hiwm_learning.datasets.periods import add_resample_option
from hiwm_learning.posttrain import (
    SETS,
    add_part_options,
    describe,
    is_set_cache,
    set_options,
)

WHAT = "a LeRobot export"
_PLAN = ".hiwm_export/plan.json"
_PROGRESS_S = 2.0
# Rates are whole numbers in LeRobot's sets; a period is rounded to one within this share.
_RATE_TOLERANCE = 1e-3


def export(
    source: EpisodeSource, folder: Path, *, version: Version = "v3.0", codec: str = "h264",
    like: Path | None = None, cameras: dict[str, str] | None = None,
    mapping: DataMapping | None = None, task: str = "", robot_type: str = "",
    write: Callable[[str], None] = print,
) -> int:
    """Write a data set, or what it lacks; return the number of its frames.

    Args:
        source: the episodes.
        folder: of the data set, claimed by the caller.
        version: of the format.
        codec: a key of `CODECS`; of the other set with `like`.
        like: another data set, whose features are written.
        cameras: with `like`, our camera -> their feature.
        mapping: with `like`, of their entries to ours; None: by name.
        task: what is done, in words; empty: the instruction of the recorded task.
        robot_type: empty: the recorded robot, or the embodiment.
        write: receives progress lines.

    Raises:
        HiwmError: bags of several kinds, a period whose rate is not whole, a feature of `like` that
            cannot be filled, a folder with another export, or the disk refuses.
    """
    fps = whole_rate(source.period_s)
    features = policy_features(source.embodiment, fps, codec)
    convert: Callable[[Piece], Piece] | None = None
    lines: tuple[str, ...] = ()
    if like is None:
        spec = SetSpec(
            features={**features, **our_features()}, fps=fps,
            robot_type=robot_type or source.robot_type,
        )
    else:
        other = like_another(
            read_info(like), features, source.embodiment, fps, cameras or {}, mapping
        )
        spec, convert, lines = other.spec, other.piece, other.lines
        for line in lines:
            write(line)
    plan = hashlib.sha256(
        repr((source.fingerprint, version, spec, task, lines)).encode()
    ).hexdigest()
    with _one_writer(folder):
        if _is_complete(folder, plan):
            write(f"{folder}: complete already")
            return int(json.loads((folder / places.INFO).read_text("utf-8"))["total_frames"])
        writer = DatasetWriter(folder, Layout(version), spec)
        try:
            _write_episodes(source, writer, convert, task, write)
            writer.finish({
                "format": 1, "plan": plan, "embodiment": source.embodiment.name,
                "embodiment_hash": source.embodiment.hash,
                "embodiment_text": source.embodiment.text, **source.description(),
            }, source.entries)
        except BaseException:
            writer.abandon()
            raise
        return writer.frames


def whole_rate(period_s: float) -> int:
    """Return frames per second.

    Raises:
        ConfigError: the period is that of no whole rate.
    """
    rate = 1.0 / period_s
    if abs(rate - round(rate)) > _RATE_TOLERANCE * rate or round(rate) < 1:
        raise ConfigError(
            f"a control period of {period_s:.4f} s is {rate:.2f} frames/s; LeRobot's sets have "
            "whole rates", where="export_lerobot",
            remedy=f"resample: --resample-to {max(1, int(rate))}",
        )
    return round(rate)


def _write_episodes(
    source: EpisodeSource, writer: DatasetWriter, convert: Callable[[Piece], Piece] | None,
    task: str, write: Callable[[str], None],
) -> None:
    if writer.next_entry:
        write(f"continues after {writer.episodes} episodes, {writer.frames} frames")
    began, told, already = time.monotonic(), time.monotonic(), writer.frames
    for entry, episode in _read_ahead(source, writer.next_entry):
        if episode is not None:
            pieces = (convert(piece) if convert else piece for piece in episode.pieces)
            writer.add(entry, pieces, task or episode.task, episode.copies)
        now = time.monotonic()
        if now - told >= _PROGRESS_S or entry + 1 == source.entries:
            told, rate = now, (writer.frames - already) / max(1e-9, now - began)
            write(f"{entry + 1}/{source.entries}  {writer.episodes} episodes  "
                  f"{writer.frames} frames  {rate:.0f} frames/s")


def _read_ahead(source: EpisodeSource, first: int) -> Iterator[tuple[int, Exported | None]]:
    """Yield the episodes of a source; the next one is read while one is written."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(source.read, first) if first < source.entries else None
        for entry in range(first, source.entries):
            assert following is not None
            episode = following.result()
            following = pool.submit(source.read, entry + 1) if entry + 1 < source.entries else None
            yield entry, episode


def _is_complete(folder: Path, plan: str) -> bool:
    """Return whether a folder has this export whole; remember its plan if it has none.

    Raises:
        ConfigError: it has another export, or a part of one.
    """
    begun = _json(folder / _PLAN) or _json(folder / places.HIWM)
    if begun and begun.get("plan") != plan:
        raise ConfigError(
            "the folder has an export of other bags or options; it was left unchanged",
            where=str(folder), remedy="give another output, or remove it",
        )
    if (folder / places.INFO).is_file():
        return True
    replace_file(folder / _PLAN, json.dumps({"plan": plan}) + "\n")
    return False


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


@contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    with (folder / ".hiwm_folder").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                "another export writes this folder", where=str(folder), remedy="wait for it"
            ) from None
        yield


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="export_lerobot", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "places", nargs="*", type=path_argument, metavar="SESSION",
        help="sessions or folders of bags; without --set",
    )
    parser.add_argument("--output", "-o", required=True, type=path_argument, help="a new folder")
    parser.add_argument("--format", choices=("v3.0", "v2.1"), default="v3.0")
    parser.add_argument(
        "--episodes-per", choices=("segment", "path"), default="segment",
        help="segment: one episode for each bag; path: one from each start to each end of a "
        "branch, so that steps before a fork come once for each branch",
    )
    parser.add_argument("--codec", choices=sorted(CODECS), default="h264")
    parser.add_argument(
        "--like", type=path_argument, metavar="DATASET",
        help="write exactly this data set's features; ours go to the folder hiwm beside them",
    )
    parser.add_argument(
        "--camera", action="append", default=[], metavar="NAME=FEATURE",
        help="with --like: the feature that a camera of ours fills; repeatable",
    )
    parser.add_argument(
        "--mapping", type=path_argument, metavar="FILE",
        help="with --like: which of that set's entries is which of ours, with scale and offset; "
        "the file that an import of that set needs (default: by name)",
    )
    parser.add_argument(
        "--task-text", default="", type=text_argument,
        help="the task in words, in place of the bags'",
    )
    parser.add_argument(
        "--robot-type", default="", type=text_argument, help="in place of the recorded robot"
    )
    parser.add_argument(
        "--without-tree", action="store_true",
        help="use bags of a session whose tree.sqlite is lost, without its marks",
    )
    add_resample_option(parser)
    sets = parser.add_argument_group(
        "post-training sets", "the same sets as scripts/posttrain makes, weights as copies"
    )
    sets.add_argument("--set", choices=SETS)
    sets.add_argument(
        "--growth", type=float, default=2.0,
        help="frames written for each frame learnt from; more follow the weights more closely",
    )
    sets.add_argument(
        "--episodes", type=whole_number(1), help="number of demonstrations, the first ones"
    )
    sets.add_argument("--cache", type=path_argument, help="folder of training sets")
    add_part_options(parser, required=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Export from the command line and return the exit code; 130 when interrupted."""
    options = build_parser().parse_args(arguments)
    try:
        _run(options)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> None:
    parts = [*options.demonstrations, *options.rollouts, *options.corrections]
    inputs = [*options.places, *parts, *([options.like] if options.like else []),
              *([options.mapping] if options.mapping else [])]
    _check_options(options, parts)
    cameras = dict(_camera(text) for text in options.camera)
    mapping = load_mapping(options.mapping) if options.mapping else None
    # With the mark of another command, or a user's own files, nothing is written.
    check_output_folder(options.output, WHAT, is_export, inputs=inputs)
    source: EpisodeSource
    if options.set:
        cache = options.cache or options.output.parent / "sets"
        check_output_folder(cache, "a folder of training sets", is_set_cache, inputs=inputs)
        source = SetSource(
            options=set_options(options, options.set), growth=options.growth, cache=cache,
            write=say,
        )
        say(describe(options.set, source.weighted.description))
    else:
        source = BagSource(
            options.places, options.episodes_per, resample_hz=options.resample_to,
            without_tree=options.without_tree, write=say,
        )
    claim_folder(options.output, WHAT, inputs=inputs)
    frames = export(
        source, options.output, version=options.format, codec=options.codec, like=options.like,
        cameras=cameras, mapping=mapping, task=options.task_text,
        robot_type=options.robot_type, write=say,
    )
    if isinstance(source, SetSource):
        for name, share in source.description()["realised"].items():
            say(f"  {name:<18}{share['written']:>8} frames  {share['written_share']:.1%}, "
                f"wanted {share['wanted_share']:.1%}")
    say(f"{options.output}: {frames} frames, LeRobot {options.format}")


def say(text: str) -> None:
    """Print a progress line at once."""
    print(text, flush=True)


def is_export(folder: Path) -> bool:
    """Return whether a folder is an export, whole or begun."""
    try:
        return (folder / ".hiwm_folder").read_text(encoding="utf-8").strip() == WHAT
    except (OSError, ValueError):
        return False


def _check_options(options: argparse.Namespace, parts: Sequence[Path]) -> None:
    for given, without, remedy in (
        (options.set is None and bool(parts), "--demonstrations without --set",
         "name the set, or give the sessions without the option"),
        (options.set is None and not options.places, "no session", "give folders of bags"),
        (options.set is not None and bool(options.places), "sessions beside --set",
         "give them to --demonstrations, --rollouts or --corrections"),
        (options.set is not None and not options.demonstrations, "--set without --demonstrations",
         "give the sessions of demonstrations"),
        (not options.growth > 0.0, f"--growth {options.growth:g}", "give a number above 0"),
        (bool(options.camera) and not options.like, "--camera without --like", "leave it out"),
        (bool(options.mapping) and not options.like, "--mapping without --like", "leave it out"),
    ):
        if given:
            raise ConfigError(without, where="export_lerobot", remedy=remedy)


def _camera(text: str) -> tuple[str, str]:
    name, _, feature = text.partition("=")
    if not name or not feature:
        raise ConfigError(
            f"{text!r}", where="--camera", remedy="give NAME=FEATURE, as top=observation.images.top"
        )
    return name, feature


if __name__ == "__main__":
    sys.exit(main())
