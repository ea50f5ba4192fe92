"""Writes a policy of an earlier version with its weights in half of the bits, and its card.

    python -m hiwm_learning.policies.halve_weights models/NAME.safetensors -o runs/NAME.safetensors

Policies of this version are written so. ``scripts/rollout`` compares both files.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from hiwm_core.errors import CheckpointError, HiwmError
from hiwm_core.output_folders import check_output_file
from hiwm_core.user_paths import path_argument
from hiwm_learning.checkpoints import (
    Checkpoint,
    CheckpointInfo,
    halved,
    is_checkpoint,
    load_checkpoint,
    save_checkpoint,
    write_file,
)
from hiwm_learning.policies.backbones import config_from_checkpoint

_CARDS = (".card.json", ".card.md")


def halve(source: Path, output: Path) -> None:
    """Write the halved copy and its card; the copy lists the hash of the file it is made from.

    Args:
        source: the policy.
        output: path of the copy; another one than the source.

    Raises:
        CheckpointError: the source is missing, damaged, no policy, or has been halved.
        ConfigError: the output may not be written.
    """
    check_output_file(
        output, "a checkpoint", is_checkpoint, inputs=[source],
        companions=[output.with_suffix(suffix) for suffix in _CARDS],
    )
    checkpoint = load_checkpoint(source)
    config_from_checkpoint(checkpoint)
    weights = halved(checkpoint.weights)
    if all(weights[name] is value for name, value in checkpoint.weights.items()):
        raise CheckpointError(
            "its weights are stored in half of the bits", where=str(source),
            remedy="use it as it is",
        )
    earlier = (*checkpoint.info.earlier_hashes, checkpoint.hash)
    info = dataclasses.replace(checkpoint.info, earlier_hashes=earlier)
    _copy_cards(checkpoint, output, info, save_checkpoint(output, info, weights))


def _copy_cards(
    checkpoint: Checkpoint, output: Path, info: CheckpointInfo, content_hash: str
) -> None:
    record, card = (checkpoint.path.with_suffix(suffix) for suffix in _CARDS)
    if record.exists():
        known = json.loads(record.read_text())
        known |= {
            "earlier_hashes": info.earlier_hashes, "file": output.name, "sha256": content_hash,
        }
        write_file(
            output.with_suffix(_CARDS[0]), json.dumps(known, indent=1, sort_keys=True) + "\n"
        )
    if card.exists():
        text = card.read_text().replace(checkpoint.hash, content_hash)
        write_file(
            output.with_suffix(_CARDS[1]), text.replace(checkpoint.path.name, output.name)
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=path_argument)
    parser.add_argument("--output", "-o", type=path_argument, required=True)
    options = parser.parse_args(argv)
    try:
        halve(options.checkpoint, options.output)
    except HiwmError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
