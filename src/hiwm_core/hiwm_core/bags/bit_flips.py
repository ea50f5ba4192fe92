"""Checks that no single wrong bit in a closed bag yields wrong data.

    python -m hiwm_core.bags.bit_flips BAG [--flips 200] [--seed 0]

Flips one random bit at a time in a copy of a bag's file or metadata.yaml, and reads the copy.
Either the arrays are unchanged or the bag is refused. Exits with 1 if neither is true.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hiwm_core.bags.audit import audit_bag
from hiwm_core.bags.contents import mcap_path
from hiwm_core.bags.metadata import METADATA_FILE
from hiwm_core.bags.reader import Segment, read_segment
from hiwm_core.errors import HiwmError
from hiwm_core.number_arguments import seed_number, whole_number
from hiwm_core.user_paths import path_argument

WRONG = "WRONG DATA ACCEPTED"


def flip_bits(bag: Path, flips: int, seed: int) -> Counter[str]:
    """Flip bits of a closed bag one by one; return how often each outcome occurred.

    Bits are drawn uniformly from the MCAP file and metadata.yaml. The bag is not changed.

    Args:
        bag: folder of a closed bag.
        flips: number of bits.
        seed: seed of the draw.

    Raises:
        HiwmError: the undamaged bag cannot be read.
    """
    whole = read_segment(bag)
    random = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / bag.name
        shutil.copytree(bag, copy)
        files = [mcap_path(copy), copy / METADATA_FILE]
        sizes = [file.stat().st_size for file in files]
        for _ in range(flips):
            at = int(random.integers(sum(sizes)))
            number = int(at >= sizes[0])
            flip(files[number], at - number * sizes[0], int(random.integers(8)))
            outcomes[outcome(copy, whole)] += 1
            shutil.copyfile(bag / files[number].name, files[number])
    return outcomes


def flip(file: Path, at: int, bit: int) -> None:
    """Flip one bit of a file."""
    with file.open("r+b") as stream:
        stream.seek(at)
        (value,) = stream.read(1)
        stream.seek(at)
        stream.write(bytes([value ^ 1 << bit]))


def outcome(bag: Path, whole: Segment) -> str:
    """Return the outcome for a damaged bag, compared with the whole segment."""
    try:
        audit = audit_bag(bag)
        verdict = "audit ok" if audit.ok else "audit failed"
    except HiwmError:
        verdict = "refused by the audit"
    try:
        segment = read_segment(bag)
    except HiwmError:
        return f"refused by the reader, {verdict}" if verdict != "audit ok" else (
            "refused only by the reader"
        )
    return f"read unchanged, {verdict}" if same_data(segment, whole) else WRONG


def same_data(segment: Segment, whole: Segment) -> bool:
    """Return whether two segments have the same arrays and lineage."""
    names = (
        "stamps_ns", "steps", "proprio", "actions", "source", "applied_source", "trust",
        "progress", "success",
    )
    return (
        segment.lineage == whole.lineage and segment.embodiment == whole.embodiment
        and segment.state_ids == whole.state_ids and segment.device == whole.device
        and segment.observations.keys() == whole.observations.keys()
        and all(
            np.array_equal(images, whole.observations[name])
            for name, images in segment.observations.items()
        )
        and all(
            np.array_equal(getattr(segment, name), getattr(whole, name), equal_nan=True)
            for name in names
        )
        and (segment.labels is None) == (whole.labels is None)
        and (segment.labels is None or whole.labels is None or (
            segment.labels.names == whole.labels.names
            and np.array_equal(segment.labels.values, whole.labels.values, equal_nan=True)
        ))
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Flip bits from the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="bit_flips", description=__doc__)
    parser.add_argument("bag", type=path_argument, help="folder of a closed bag")
    parser.add_argument("--flips", type=whole_number(1), default=200)
    parser.add_argument("--seed", type=seed_number, default=0)
    options = parser.parse_args(arguments)
    try:
        outcomes = flip_bits(options.bag, options.flips, options.seed)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for text, count in outcomes.most_common():
        print(f"{count:6d}  {text}")
    print(f"{outcomes[WRONG]} of {options.flips}: {WRONG.lower()}")
    return 1 if outcomes[WRONG] else 0


if __name__ == "__main__":
    sys.exit(main())
