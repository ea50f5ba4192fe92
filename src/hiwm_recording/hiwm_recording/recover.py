"""Make bags of what a killed recorder left: python -m hiwm_recording.recover BAG_OR_SESSION"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hiwm_core.bags import needs_recovery, recover_bag
from hiwm_core.errors import BagError, HiwmError
from hiwm_recording.audit import audit_line, bags_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Recover every bag that was never closed, print its audit, and return 0 when all could be."""
    parser = argparse.ArgumentParser(prog="hiwm_recording.recover", description=main.__doc__)
    parser.add_argument("path", type=Path, help="one bag, or a session folder")
    options = parser.parse_args(arguments)
    failed = 0
    try:
        bags = [bag for bag in bags_of(options.path) if needs_recovery(bag)]
        for bag in bags:
            try:
                print(audit_line(bag.name, recover_bag(bag)))
            except BagError as error:
                failed += 1
                print(f"BAD {bag.name}: {error}")
    except (HiwmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(bags)} bags were open, {len(bags) - failed} recovered")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
