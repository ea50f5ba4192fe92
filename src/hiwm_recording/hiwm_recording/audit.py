"""Audit the bags of a session: python -m hiwm_recording.audit SESSION_DIR"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from hiwm_core.bags import Audit, audit_bag, is_bag, session_bags
from hiwm_core.bags.own_bags import own_bags
from hiwm_core.bags.recover import real_bag, recorded_by, session_of
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.session_lock import tool_lock
from hiwm_core.user_paths import path_argument


def audit_line(name: str, audit: Audit) -> str:
    """Return one line about a bag, followed by one line per problem."""
    verdict = "ok " if audit.ok else "BAD"
    mark = " (recovered)" if audit.recovered else ""
    if audit.lost:
        mark = f" (recovered; lost {audit.lost})"
    line = (
        f"{verdict} {name}{mark}: steps {audit.first_step}..{audit.last_step}, {audit.ticks} ticks,"
        f" {audit.frames} frames, {audit.commands} commands"
    )
    if audit.commands_past_end:
        line += f" ({audit.commands_past_end} for ticks that never came)"
    if audit.clock_set_back:
        line += f", the clock was set back {audit.clock_set_back} times"
    if not audit.checksums:
        line += ", no checksums"
    return "\n".join([line, *(f"      {problem}" for problem in audit.problems)])


def bags_of(path: Path) -> list[Path]:
    """Return the bags of a session folder, or the bag itself if the path is one.

    Raises:
        BagError: no folder or no bags.
    """
    if not path.is_dir():
        raise BagError("no such folder", where=str(path), remedy="give a session folder or a bag")
    bags = [real_bag(bag) for bag in ([path] if is_bag(path) else session_bags(path))]
    if not bags:
        raise BagError("no bags", where=str(path), remedy="give a session folder or a bag")
    return bags


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit bags, print the results, and return 0 if every bag passes."""
    parser = argparse.ArgumentParser(prog="hiwm_recording.audit", description=main.__doc__)
    parser.add_argument("path", type=path_argument, help="session folder or one bag")
    parser.add_argument("--save", action="store_true", help="write audit.json into each bag")
    options = parser.parse_args(arguments)
    failed = recording = 0
    try:
        bags = bags_of(options.path)
        others: dict[Path, HiwmError] = {}
        if options.save:
            bags, others = own_bags(bags)
        for bag, reason in others.items():
            failed += 1
            print(f"BAD {bag.name}: {reason}")
        sessions = sorted({session_of(bag) for bag in bags}) if options.save else []
        with ExitStack() as locks:
            for session in sessions:
                locks.enter_context(tool_lock(session, "audit"))
            for bag in bags:
                if owner := recorded_by(bag):
                    recording += 1
                    print(f"--  {bag.name}: being recorded by {owner.process}")
                    continue
                try:
                    audit = audit_bag(bag)
                    if options.save:
                        audit.save(bag)
                except (BagError, OSError) as error:
                    failed += 1
                    print(f"BAD {bag.name}: {error}")
                    continue
                failed += not audit.ok
                print(audit_line(bag.name, audit))
    except (HiwmError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    more = f", {recording} being recorded" if recording else ""
    print(f"{len(bags) + len(others)} bags, {failed} bad{more}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
