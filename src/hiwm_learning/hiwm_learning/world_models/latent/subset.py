"""A part of the training data: so many frames, or a share of one kind."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hiwm_core.errors import ConfigError
from hiwm_core.number_arguments import whole_number


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Which segments are kept. A smaller subset is part of a larger one of the same seed.

    Attributes:
        frames: to keep at most, of all kinds together; None keeps all.
        shares: of the segments of a kind of data, 0..1; kinds that are not named are kept whole.
        seed: of the order in which segments are taken.
    """

    frames: int | None
    shares: Mapping[str, float]
    seed: int

    def of(self, segments: Sequence[tuple[str, int]]) -> list[int]:
        """Return which segments are kept, ascending.

        Args:
            segments: kind and length of each.

        Raises:
            ConfigError: a kind that is not there, or nothing is left.
        """
        kinds = {kind for kind, _ in segments}
        if unknown := sorted(set(self.shares) - kinds):
            raise ConfigError(
                f"there is no data of the kind {unknown[0]}", where="--share",
                remedy=f"use {', '.join(sorted(kinds))}",
            )
        order = np.random.default_rng(self.seed).permutation(len(segments)).tolist()
        kept, left = [], dict.fromkeys(kinds, 0)
        for kind in kinds:
            count = sum(one == kind for one, _ in segments)
            left[kind] = round(self.shares.get(kind, 1.0) * count)
        frames = 0
        for i in order:
            kind, length = segments[i]
            if not left[kind]:
                continue
            if self.frames is not None and frames + length > self.frames:
                break  # so that larger subsets contain smaller ones
            left[kind] -= 1
            frames += length
            kept.append(i)
        if not kept:
            raise ConfigError(
                "no segment is left", where="--frames, --share", remedy="keep more of the data"
            )
        return sorted(kept)


def add_subset_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of training on a part of the data."""
    parser.add_argument("--frames", type=whole_number(1), help="train on so many frames at most")
    parser.add_argument(
        "--share", action="append", default=[], metavar="KIND=SHARE", type=_share,
        help="train on a share of one kind of data, for example edge=0.2; may be repeated",
    )


def subset_of(options: argparse.Namespace) -> Subset | None:
    """Return the subset that the options ask for; None takes all data."""
    if options.frames is None and not options.share:
        return None
    return Subset(frames=options.frames, shares=dict(options.share), seed=options.seed)


def _share(text: str) -> tuple[str, float]:
    kind, _, number = text.partition("=")
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if not kind or not 0.0 <= share <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND=SHARE with a share of 0 to 1")
    return kind, share
