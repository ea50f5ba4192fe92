"""The command line of `check_task` and `check_robot`: one file by name, read as every node does."""

import argparse
import sys
from collections.abc import Callable, Sequence

from hiwm_core.errors import HiwmError


def run_check(
    arguments: Sequence[str] | None, lines: Callable[[str], Sequence[str]], *, program: str,
    description: str | None, what: str,
) -> int:
    """Print what a file says, or why it is refused; return the exit code.

    Args:
        arguments: of the command line.
        lines: returns the lines for a name or path; may raise HiwmError.
        program: name of the command.
        description: of the command, for its help.
        what: kind of file, such as task.
    """
    parser = argparse.ArgumentParser(
        prog=program, description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(what, help=f"name of {what}s/NAME.yaml, or a path")
    try:
        print("\n".join(lines(getattr(parser.parse_args(arguments), what))))
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
