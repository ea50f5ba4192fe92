"""Recover the bags that a killed recorder left open.

    python -m hiwm_recording.recover BAG_OR_SESSION

A session that is still being written is refused.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from hiwm_core.bags import recover_bag, unfinished
from hiwm_core.bags.own_bags import own_bags
from hiwm_core.bags.recover import NoTickError, is_damaged, session_of
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.session_lock import RECORDER, tool_lock
from hiwm_core.user_paths import path_argument
from hiwm_recording.audit import audit_line, bags_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Recover bags that were never closed or are damaged, and audit bags never audited.

    Returns 0 if all succeed.
    """
    parser = argparse.ArgumentParser(prog="hiwm_recording.recover", description=main.__doc__)
    parser.add_argument("path", type=path_argument, help="one bag or a session folder")
    options = parser.parse_args(arguments)
    done = failed = 0
    try:
        bags, others = own_bags(bags_of(options.path))
        for bag, reason in others.items():
            print(f"BAD {bag.name}: {reason}")
        with ExitStack() as locks:
            for session in sorted({session_of(bag) for bag in bags}):
                locks.enter_context(tool_lock(session, RECORDER))
            for bag in bags:
                try:
                    if not unfinished(bag) and not is_damaged(bag):
                        continue
                    done += 1
                    print(audit_line(bag.name, recover_bag(bag)))
                except NoTickError as error:
                    print(f"--  {error}")
                except (BagError, OSError) as error:
                    failed += 1
                    print(f"BAD {bag.name}: {error}")
    except (HiwmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{done} bags needed recovery, {done - failed} recovered")
    return 1 if failed or others else 0


if __name__ == "__main__":
    sys.exit(main())
