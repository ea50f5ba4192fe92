"""Builds a training set from bags; includes the command."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.output_folders import check_output_folder
from hiwm_core.provenance import Provenance
from hiwm_core.user_paths import path_argument
from hiwm_learning.datasets.episodes import EpisodeWriter, is_training_set, load_episodes
from hiwm_learning.datasets.periods import add_resample_option
from hiwm_learning.datasets.recorded import RecordedEpisodes
from hiwm_learning.datasets.usable_segments import find_bags


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
    frames = 0
    reader = RecordedEpisodes(
        embodiment=embodiment, resample_hz=resample_hz, without_tree=without_tree, write=write
    )
    try:
        for number, episode in reader.read(bags):
            writer = writer or EpisodeWriter(
                output, episode.segment.embodiment, tuple(str(name) for name in Provenance)
            )
            writer.add(episode.info, episode.columns)
            frames += episode.segment.length
            if (number + 1) % 20 == 0 or number + 1 == len(bags):
                write(f"{number + 1}/{len(bags)} bags  {frames} frames")
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    if writer is None:
        raise BagError("no usable bag", where=", ".join(map(str, places)),
                       remedy="audit them with python -m hiwm_recording.audit")
    writer.close({"left_out": reader.left_out, "lost_marks": reader.missing})
    return reader.left_out


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
