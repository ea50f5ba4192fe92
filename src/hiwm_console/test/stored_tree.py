"""A session folder with a tree and states, made without a world."""

import numpy as np

from hiwm_core.blob_store import BlobStore
from hiwm_core.branch_records import BranchKind, Label, SessionRecord, TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.control import Source


def frame_of(branch, step):
    """Return the frame [24, 32, 3] of a state: its colour encodes branch and step."""
    frame = np.zeros((24, 32, 3), np.uint8)
    frame[...] = (40 * branch, step % 256, 7)
    return frame


def write_session(folder, branches=3, steps=12, states=True):
    """Write `branches` branches of `steps` steps, each forked from the first one's middle."""
    blobs = BlobStore(folder / "states") if states else None
    store = BranchStore(folder / "tree.sqlite")
    store.open_session(SessionRecord(session_id=folder.name, world="imagination"))
    for branch in range(branches):
        name = f"ep_0001-b{branch:03d}"
        first = 0
        if branch:
            fork = f"ep_0001-b000:{steps // 2}"
            kind = BranchKind.ROLLBACK if branch == 1 else BranchKind.FORK
            store.plan_branch(name, fork, kind)
            store.begin_branch(name, branch + 1)
            first = steps // 2 + 1
        for step in range(first, first + steps):
            state_id = ""
            if blobs is not None:
                state_id = blobs.put_state({"frame": frame_of(branch, step)}, {"step": step})
            store.add_tick(TickRecord(
                stamp_ns=1_000_000 * (1000 * branch + step), epoch=branch + 1, step=step,
                episode_id="ep_0001", branch_id=name, state_id=state_id,
                trust=0.9 - 0.01 * step, progress=0.02 * step,
                action=() if step == 0 else (0.1, 0.2, 0.3, 0.4),
                source=Source.NONE if step == 0 else Source.HUMAN if branch else Source.POLICY,
                device="test",
            ))
        if branch == 1:
            store.label(name, Label.SUCCESS, "went well")
    store.close()
    if blobs is not None:
        blobs.close()
    (folder / "session.json").write_text('{"task": "toy_task", "world": "imagination"}')
    return folder
