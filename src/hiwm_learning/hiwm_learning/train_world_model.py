"""Training a world model of either size: `--size tiny` is layered, `--size full` is latent."""

import argparse
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand the command line to the training of the size it names; return the exit code."""
    parser = argparse.ArgumentParser(prog="train_world_model", add_help=False, allow_abbrev=False)
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    chosen, rest = parser.parse_known_args(arguments)
    # Either kind brings imports that the other does not need.
    if chosen.size == "full":
        from hiwm_learning.latent_world.train import main as train
    else:
        from hiwm_learning.world_model.train import main as train
        if {"-h", "--help"} & set(rest):
            print("--size tiny (default) takes the options below; --size full --help has its own\n")
    return train(rest)


if __name__ == "__main__":
    sys.exit(main())
