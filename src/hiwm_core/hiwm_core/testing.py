"""A ROS domain of its own for each test."""

import itertools
import os

_counter = itertools.count()


def domain_id() -> int:
    """Return a domain id no other test of this run uses, 1..101.

    Drawn from the process id and a counter, so that two test processes side by side differ.
    """
    return 1 + (os.getpid() * 7 + next(_counter)) % 101
