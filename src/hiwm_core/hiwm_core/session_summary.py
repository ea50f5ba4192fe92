"""Summarises a session: numbers, a contact sheet, a drawing of its tree.

    python -m hiwm_core.session_summary SESSION_DIR

Reads only bags and branch store, so it also works for sessions that were killed. Writes
`summary.json`, `contact_sheet.png` and `tree.png` into the session folder.
"""

import argparse
import json
import math
import os
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hiwm_core.atomic_files import replace_file
from hiwm_core.bag_digest import BagDigest, Takeover, read_digest
from hiwm_core.bags.audit import AUDIT_FILE, Audit, audit_bag
from hiwm_core.bags.recover import session_bags
from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import Branch, BranchKind, Node
from hiwm_core.contact_sheet import Row, Tile, contact_sheet, evenly
from hiwm_core.control import Source
from hiwm_core.errors import BagError, HiwmError, StoreError
from hiwm_core.output_folders import check_output_file, json_with
from hiwm_core.png_files import is_png, write_png
from hiwm_core.provenance import Provenance, assign, tree_provenance
from hiwm_core.session_lock import tool_lock
from hiwm_core.tree_drawing import DRAWING_FILE, check_drawing, draw_session
from hiwm_core.user_paths import path_argument

TREE_FILE = "tree.sqlite"
SUMMARY_FILE = "summary.json"
SHEET_FILE = "contact_sheet.png"
# A longer pause between two ticks is somebody waiting, not the graph's speed.
_PAUSE_S = 2.0


def summarise(session_dir: Path, *, pictures: bool = True) -> dict[str, Any]:
    """Return the summary of a session, and write it into its folder unless that is read-only.

    Args:
        session_dir: folder with bags and, if a branch manager ran, tree.sqlite.
        pictures: also draw contact sheet and tree.

    Raises:
        BagError: no bag with a tick in the folder.
        BusyError: the session is still being written.
        ConfigError: a file of that name in the session is not a summary's.
    """
    if os.access(session_dir, os.W_OK):
        _check_outputs(session_dir, pictures=pictures)
    bags, unread = _digests(session_dir)
    if not os.access(session_dir, os.W_OK):
        summary = _summary(session_dir, bags, unread)
        summary["problems"].append("no file was written: the session's folder is read-only")
        return summary | {"files": {}}
    with tool_lock(session_dir, "summary"):
        summary = _summary(session_dir, bags, unread)
        summary["files"] = _draw(session_dir, summary, bags) if pictures else {}
        replace_file(session_dir / SUMMARY_FILE, json.dumps(summary, indent=1) + "\n")
    return summary


def _check_outputs(session_dir: Path, *, pictures: bool) -> None:
    check_output_file(session_dir / SUMMARY_FILE, "a summary", json_with("session", "audit"))
    if pictures:
        # Those of earlier versions have no mark.
        check_output_file(session_dir / SHEET_FILE, "a contact sheet", is_png)
        check_drawing(session_dir, session_dir / DRAWING_FILE)


def _summary(
    session_dir: Path, bags: Sequence[BagDigest], unread: dict[str, list[str]]
) -> dict[str, Any]:
    branches, nodes, store_problem = _tree(session_dir)
    audits = [_audit(bag) for bag in bags]
    provenance = tree_provenance(nodes)
    ticks = sum(len(bag.ticks) for bag in bags)
    active_s = sum(_active_seconds(bag) for bag in bags)
    trusts = [tick.trust for bag in bags for tick in bag.ticks if not math.isnan(tick.trust)]
    first = bags[0].lineage
    return {
        "session": first.session_id or session_dir.name,
        "world": first.world,
        "robot": first.robot,
        "stand_in": first.stand_in,
        "task": first.task,
        "embodiment": first.embodiment,
        "software_version": first.software_version,
        "seconds": _span_s(bags),
        "ticks": ticks,
        "ticks_per_s": round(ticks / active_s, 2) if active_s else None,
        "episodes": len({bag.lineage.episode_id for bag in bags}),
        "takeovers": _takeovers(bags),
        "branches": _branch_counts(branches, bags),
        "frames_by_source": _by_name(bags),
        "frames_by_provenance": _by_provenance(bags, provenance),
        "trust": {
            "median": round(statistics.median(trusts), 3), "least": round(min(trusts), 3),
        } if trusts else None,
        "audit": {
            "bags": len(audits) + len(unread),
            "ok": sum(audit.ok for audit in audits),
            "recovered": sum(audit.recovered for audit in audits),
            "frames": sum(audit.frames for audit in audits),
            "problems": {audit.bag: audit.problems for audit in audits if audit.problems} | unread,
        },
        "bytes": _bytes(session_dir),
        "problems": [store_problem] if store_problem else [],
    }


def _digests(session_dir: Path) -> tuple[list[BagDigest], dict[str, list[str]]]:
    found: list[BagDigest] = []
    unread: dict[str, list[str]] = {}
    for path in session_bags(session_dir) if session_dir.is_dir() else []:
        try:
            digest = read_digest(path)
        except BagError as error:
            unread[path.name] = [str(error)]
            continue
        if digest.ticks:
            found.append(digest)
        else:
            unread[path.name] = ["it has no whole tick"]
    if not found:
        raise BagError(
            "no bag with a tick", where=str(session_dir / "bags"),
            remedy="give the folder of a recorded session",
        )
    return found, unread


def _tree(session_dir: Path) -> tuple[list[Branch], list[Node], str]:
    """Return branches, nodes, and the problem if the store cannot be read."""
    path = session_dir / TREE_FILE
    if not path.exists():
        return [], [], "no branch store: provenance is derived from each bag separately"
    try:
        with BranchReader(path) as reader:
            return reader.branches(), reader.tree(), ""
    except StoreError as error:
        return [], [], str(error)


def _audit(bag: BagDigest) -> Audit:
    """Return the recorder's audit of a bag; a new one if there is none or the bag is damaged."""
    if not bag.problems:
        try:
            return Audit(**json.loads((bag.path / AUDIT_FILE).read_text()))
        except (OSError, ValueError, TypeError):
            pass  # audited below
    return audit_bag(bag.path)


def _active_seconds(bag: BagDigest) -> float:
    times = [tick.received_ns * 1e-9 for tick in bag.ticks]
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    return sum(gap for gap in gaps if 0.0 <= gap < _PAUSE_S)


def _span_s(bags: Sequence[BagDigest]) -> float:
    """Return the time from first to last tick; steps back of the clock count as zero."""
    times = [tick.received_ns for bag in bags for tick in bag.ticks]
    gaps = [max(0, after - before) for before, after in zip(times, times[1:], strict=False)]
    return round(sum(gaps) * 1e-9, 1)


def _takeovers(bags: Sequence[BagDigest]) -> dict[str, Any]:
    """Return count and latencies; a restarted arbiter counts from one again."""
    seen: list[Takeover] = []
    for bag in bags:
        for takeover in bag.takeovers:
            # The state is repeated, also in the next bag; the last one for a takeover counts.
            if seen and takeover.number == seen[-1].number:
                seen[-1] = takeover
            else:
                seen.append(takeover)
    measured = [takeover for takeover in seen if math.isfinite(takeover.latency_s)]
    latencies = [1e3 * takeover.latency_s for takeover in measured]
    return {
        "count": len(seen),
        "latency_ms_median": round(statistics.median(latencies), 2) if latencies else None,
        "latency_ms_most": round(max(latencies), 2) if latencies else None,
        "latency_ticks_most": max((takeover.latency_ticks for takeover in measured), default=None),
    }


def _branch_counts(branches: Sequence[Branch], bags: Sequence[BagDigest]) -> dict[str, Any]:
    kinds = Counter(branch.kind.value for branch in branches)
    labels = Counter(branch.label for branch in branches if branch.label)
    continued = Counter(branch.fork_node_id for branch in branches if branch.fork_node_id)
    return {
        "count": len(branches) or len({bag.lineage.branch_id for bag in bags}),
        "by_kind": dict(kinds),
        "labels": dict(labels),
        "discarded": sum(branch.discarded for branch in branches),
        # Number of continuations by node; nodes with several are failure states.
        "continuations": {node: count for node, count in continued.items() if count > 1},
    }


def _by_name(bags: Sequence[BagDigest]) -> dict[str, int]:
    counts = Counter(Source(tick.source).name.lower() for bag in bags for tick in bag.ticks)
    return dict(counts.most_common())


def _by_provenance(
    bags: Sequence[BagDigest], tree: dict[str, Provenance]
) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for bag in bags:
        names = [f"{bag.lineage.branch_id}:{tick.step}" for tick in bag.ticks]
        made = assign([tick.source for tick in bag.ticks], names, tree)
        # No action led to the first tick of a line, whatever the history of its state.
        if bag.ticks[0].source == Source.NONE:
            made[0] = Provenance.NONE
        counts.update(step.value for step in made)
    return dict(counts.most_common())


def _bytes(session_dir: Path) -> int:
    return sum(file.stat().st_size for file in session_dir.rglob("*") if file.is_file())


def _draw(
    session_dir: Path, summary: dict[str, Any], bags: Sequence[BagDigest]
) -> dict[str, str]:
    branches, _, _ = _tree(session_dir)
    where = summary["robot"] or summary["world"]
    if summary["stand_in"]:
        where += " (stand-in)"
    title = f"{summary['session']}: {summary['task']} in {where}, {summary['ticks']} ticks"
    sheet = contact_sheet(title, _rows(bags, branches))
    write_png(session_dir / SHEET_FILE, sheet)
    files = {"contact_sheet": SHEET_FILE}
    if branches:
        draw_session(session_dir, session_dir / DRAWING_FILE)
        files["tree"] = DRAWING_FILE
    return files


def _rows(bags: Sequence[BagDigest], branches: Sequence[Branch]) -> list[Row]:
    known = {branch.branch_id: branch for branch in branches}
    rows = []
    for bag in bags:
        branch = known.get(bag.lineage.branch_id)
        start = "recorded without a branch store"
        verdict, note = "", ""
        if branch is not None:
            start = branch.kind.value
            if branch.fork_node_id:
                joint = "to" if branch.kind is BranchKind.ROLLBACK else "of"
                start += f" {joint} {branch.fork_node_id}"
            verdict = branch.label
            note = branch.note
        lines = [start, f"{len(bag.ticks)} ticks" + (f", {verdict}" if verdict else "")]
        tiles = []
        for index in evenly(len(bag.ticks)):
            tick = bag.ticks[index]
            frame = bag.frame(tick)
            if frame is not None:
                tiles.append(
                    Tile(frame=frame, source=tick.source, step=tick.step, trust=tick.trust)
                )
        rows.append(Row(
            name=bag.lineage.branch_id, lines=tuple([*lines, note] if note else lines),
            verdict=verdict, tiles=tuple(tiles),
            sources=tuple(tick.source for tick in bag.ticks),
        ))
    return rows


def summary_text(summary: dict[str, Any]) -> str:
    """Return the summary as text."""

    def counted(counts: dict[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"

    takeovers, branches, audit = summary["takeovers"], summary["branches"], summary["audit"]
    latency = ""
    if takeovers["latency_ms_median"] is not None:
        latency = (
            f", latency {takeovers['latency_ms_median']:.1f} ms median, "
            f"{takeovers['latency_ms_most']:.1f} ms maximum"
        )
    world = summary["robot"] or summary["world"]
    if summary["stand_in"]:
        world += " (a stand-in, not a robot)"
    continued = branches["continuations"].values()
    forked = f", {len(continued)} states continued {max(continued)} times" if continued else ""
    lines = [
        f"session      {summary['session']}: {summary['task']} in {world}",
        f"ticks        {summary['ticks']} in {summary['seconds']:.0f} s, "
        f"{summary['ticks_per_s']} per second while running, {summary['episodes']} episodes",
        f"takeovers    {takeovers['count']}{latency}",
        f"branches     {branches['count']} ({counted(branches['by_kind'])}){forked}; "
        f"labels: {counted(branches['labels'])}",
        f"frames       {counted(summary['frames_by_provenance'])}",
        f"audit        {audit['ok']} of {audit['bags']} bags ok, {audit['frames']} frames",
    ]
    for bag, problems in audit["problems"].items():
        lines += [f"             {bag}: {problem}" for problem in problems]
    lines += [f"             {problem}" for problem in summary["problems"]]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Summarise the session named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hiwm_core.session_summary", description="Summarise a session."
    )
    parser.add_argument("session_dir", type=path_argument, help="session folder")
    parser.add_argument("--no-pictures", action="store_true", help="only numbers")
    options = parser.parse_args(arguments)
    try:
        summary = summarise(options.session_dir, pictures=not options.no_pictures)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(summary_text(summary))
    names = [SUMMARY_FILE, *summary["files"].values(), "bags/", TREE_FILE]
    existing = [name for name in names if (options.session_dir / name).exists()]
    print(f"folder       {options.session_dir.resolve()}: {', '.join(existing)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
