"""Train a world model from bags; the family is chosen by name.

    scripts/train_world_model DATA... --output models/world_TASK.safetensors --family latent
"""

import argparse
import sys
from collections.abc import Sequence

from hiwm_learning.training_command import run_training
from hiwm_learning.world_models.families import FAMILIES, family_named


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the training of the chosen family and return its exit code."""
    names = tuple(family.name for family in FAMILIES)
    choice = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    choice.add_argument("--family", choices=names, default=names[0])
    chosen, rest = choice.parse_known_args(arguments)
    module = family_named(chosen.family).load()
    parser = argparse.ArgumentParser(
        prog="train_world_model", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train a world model from bags.",
        epilog="families:\n" + "\n".join(
            f"  {family.name:10} {family.summary}" for family in FAMILIES
        ) + f"\n\nThe options above are those of --family {chosen.family}.",
    )
    parser.add_argument(
        "--family", choices=names, default=names[0], help="of the model (default: %(default)s)"
    )
    module.add_options(parser)
    return run_training(module.train, parser.parse_args([*rest, "--family", chosen.family]))


if __name__ == "__main__":
    sys.exit(main())
