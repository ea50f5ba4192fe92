"""Builds a training set from bags; includes the command."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags import Segment
from hiwm_core.bags.resample import segment_period
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.output_folders import check_output_folder
from hiwm_core.provenance import Provenance, assign
from hiwm_core.user_paths import path_argument
from hiwm_learning.datasets.episodes import (
    EpisodeInfo,
    EpisodeWriter,
    is_training_set,
    load_episodes,
)
from hiwm_learning.datasets.periods import OnePeriod, add_resample_option
from hiwm_learning.datasets.session_trees import SessionTrees
from hiwm_learning.datasets.usable_segments import find_bags, usable_segment

# Codes of the provenance column: positions in `Provenance`, whose order never changes.
_CODES = {provenance: code for code, provenance in enumerate(Provenance)}


def build_dataset(
    places: Sequence[Path], output: Path, *, embodiment: Embodiment | None = None,
    resample_hz: float | None = None, without_tree: bool = False,
    write: Callable[[str], None] = print,
) -> list[str]:
    """Build a store from every bag in or below some folders; return what was left out and why.

    Args:
        places: bag folders, or folders that contain them.
        output: folder of the zarr store; replaces an older training set once the new one is
            complete.
        embodiment: the embodiment of every bag; the first bag's when None.
        resample_hz: resample every segment to this control rate; None refuses mixed rates.
        without_tree: use the bags of a session whose tree is lost, as if nothing was marked.
        write: receives progress lines.

    Raises:
        BagError: no bag, none usable, bags of several embodiments or control periods, or a
            session's tree is lost.
        ConfigError: the output is not a training set, or overlaps with an input.
    """
    check_output_folder(output, "a training set", is_training_set, inputs=places)
    bags = find_bags(places)
    writer: EpisodeWriter | None = None
    left_out: list[str] = []
    frames = 0
    periods = OnePeriod(resample_hz)
    trees = SessionTrees(without=without_tree, write=write)

    def leave_out(text: str) -> None:
        left_out.append(text)
        write(f"left out {text}")

    try:
        for number, bag in enumerate(bags, 1):
            segment = usable_segment(bag, embodiment, leave_out)
            if segment is None:
                continue
            embodiment = embodiment or segment.embodiment
            tree = trees.of(bag, segment.lineage.branch_id)
            if segment.lineage.branch_id in tree.discarded:
                leave_out(f"{bag.name}: its branch was discarded")
                continue
            segment = periods.admit(segment)
            if segment.length < 2:
                leave_out(f"{bag.name}: only one tick, so no action")
                continue
            writer = writer or EpisodeWriter(
                output, embodiment, tuple(str(name) for name in Provenance)
            )
            label = trees.label(bag, segment.lineage.branch_id).label
            writer.add(_info(segment, label), _columns(segment, tree.provenance))
            frames += segment.length
            if number % 20 == 0 or number == len(bags):
                write(f"{number}/{len(bags)} bags  {frames} frames")
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    if writer is None:
        raise BagError("no usable bag", where=", ".join(map(str, places)),
                       remedy="audit them with python -m hiwm_recording.audit")
    writer.close({"left_out": left_out, "lost_marks": trees.missing})
    return left_out


def _provenance(
    segment: Segment, tree: Mapping[str, Provenance]
) -> NDArray[np.uint8]:
    branch = segment.lineage.branch_id
    names = [f"{branch}:{step + 1}" for step in segment.steps]
    assigned = assign([int(source) for source in segment.source], names, tree)
    return np.array([_CODES[provenance] for provenance in assigned], np.uint8)


def _info(segment: Segment, label: str) -> EpisodeInfo:
    lineage, period = segment.lineage, segment_period(segment)
    return EpisodeInfo(
        bag=segment.path.name, session_id=lineage.session_id, episode_id=lineage.episode_id,
        branch_id=lineage.branch_id, parent_branch_id=lineage.parent_branch_id,
        fork_step=lineage.fork_step, world=lineage.world, stand_in=lineage.stand_in,
        task=lineage.task, task_hash=lineage.task_hash,
        label=label, robot=lineage.robot,
        period_s=period.nominal_s, measured_period_s=period.seconds,
    )


def _columns(
    segment: Segment, tree: Mapping[str, Provenance]
) -> dict[str, NDArray[Any]]:
    return {
        **{f"images/{name}": images for name, images in segment.observations.items()},
        "proprio": segment.proprio,
        "actions": segment.actions,
        "source": segment.source,
        "provenance": _provenance(segment, tree),
        "steps": segment.steps,
        "trust": segment.trust,
        "progress": segment.progress,
        "success": segment.success,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Build a store from the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="build_dataset", description="Build a training set (zarr) from recorded bags."
    )
    parser.add_argument(
        "bags", nargs="+", type=path_argument, help="bag folders, or folders that contain them"
    )
    parser.add_argument(
        "--output", "-o", required=True, type=path_argument,
        help="folder of the store: a new folder, or a training set to replace",
    )
    parser.add_argument(
        "--without-tree", action="store_true",
        help="use the bags of a session whose tree.sqlite is lost, without labels, discards and "
        "rollback marks",
    )
    add_resample_option(parser)
    options = parser.parse_args(arguments)
    try:
        left_out = build_dataset(
            options.bags, options.output, resample_hz=options.resample_to,
            without_tree=options.without_tree,
        )
        summary = load_episodes(options.output, cameras=()).summary()
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {summary['episodes']} episodes, {summary['frames']} frames, "
          f"{summary['frames_by_provenance']}, {len(left_out)} bags left out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
