"""Numbers of the command line, refused where they are out of range."""

import argparse
import math
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


def at_least_zero(text: str) -> float:
    """Return a number of 0 or more, the argparse `type`; infinity is one."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0.0:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number, 0 or more")
    return value


port_number = whole_number(0, 65535)
seed_number = whole_number(0, MOST_SEED)
thread_count = whole_number(1, MOST_THREADS)
