"""Whole numbers of the command line, refused where they are out of range."""

import argparse
from collections.abc import Callable

MOST_THREADS = 1024
MOST_SEED = 2**32 - 1  # of NumPy


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return the argparse `type` of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        try:
            number = int(text)
            if number >= least and (most is None or number <= most):
                return number
        except ValueError:
            pass
        upper = "or more" if most is None else f"to {most}"
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number, {least} {upper}")

    return read


port_number = whole_number(0, 65535)
seed_number = whole_number(0, MOST_SEED)
thread_count = whole_number(1, MOST_THREADS)
