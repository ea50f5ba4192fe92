"""A world that only counts, for tests of the branch store."""

from hiwm_core.branch_records import BranchKind, TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.control import Source


class CountingWorld:
    """A world that only counts, and a manager without errors."""

    def __init__(self, store: BranchStore, *, can_save: bool = True) -> None:
        self.store = store
        self.can_save = can_save
        self.epoch = self.step = self.episode = self.stamp = 0
        self.branch = ""

    def tick(self, **fields: object) -> TickRecord:
        self.stamp += 1
        values: dict = {
            "stamp_ns": self.stamp,
            "epoch": self.epoch,
            "step": self.step,
            "episode_id": f"ep_{self.episode:04d}",
            "branch_id": self.branch,
            "state_id": f"{self.stamp:032x}" if self.can_save else "",
            "action": (0.1 * self.step, 0.2) if self.step else (),
            "source": Source.POLICY if self.step else Source.NONE,
        }
        return TickRecord(**(values | fields))

    def reset(self) -> None:
        self.episode += 1
        self.epoch += 1
        self.step = 0
        self.branch = f"ep_{self.episode:04d}-b000"
        self.store.add_tick(self.tick())

    def go(self, steps: int = 1, **fields: object) -> None:
        for _ in range(steps):
            self.step += 1
            self.store.add_tick(self.tick(**fields))

    def restore(self, node_id: str, kind: BranchKind, *, announced: bool = True) -> str:
        node = self.store.node(node_id)
        branch = self.store.next_branch_id(node.episode_id)
        self.store.plan_branch(branch, node_id, kind)
        self.epoch += 1
        self.step, self.branch = node.step, branch
        self.episode = int(node.episode_id[3:])
        if announced:
            self.store.begin_branch(branch, self.epoch)
        self.store.add_tick(self.tick(state_id=node.state_id, action=()))
        return branch
