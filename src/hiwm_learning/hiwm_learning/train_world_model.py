"""Train a world model of either family: `--family layered` (default) or `--family latent`."""

import argparse
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the training of the chosen family and return its exit code."""
    parser = argparse.ArgumentParser(prog="train_world_model", add_help=False, allow_abbrev=False)
    parser.add_argument("--family", choices=("layered", "latent"), default="layered")
    chosen, rest = parser.parse_known_args(arguments)
    # Each family has imports that the other does not need.
    if chosen.family == "latent":
        from hiwm_learning.latent_world.train import main as train
    else:
        from hiwm_learning.world_model.train import main as train
        if {"-h", "--help"} & set(rest):
            print("options of the default, --family layered; see also --family latent --help\n")
    return train(rest)


if __name__ == "__main__":
    sys.exit(main())
