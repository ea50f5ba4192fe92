"""The policies of a study, and the blocks they are made in.

A block is one backbone and one training seed: everything from its base policy to its evaluations.
Before the blocks, the block `tune` chooses how corrections are weighted, with a policy and starts
of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hiwm_evaluation.study.budgets import Budget

#: World, as evaluations name it -> what scripts/rollout calls it.
ROLLOUT_WORLDS = {"hardware": "standin", "imagination": "imagination"}
WORLDS = tuple(ROLLOUT_WORLDS)
TUNE = "tune"
TUNE_SEED = 100  # of the training of the policies that choices are made with
# First seeds of start poses, far enough apart that no range reaches the next: nothing is chosen
# or corrected where it is judged. Data are recorded from seeds below 10,000, and studies before
# this one reported on those of seed 1000.
TUNING_STARTS, REPORT_STARTS, SESSION_STARTS = 41_000, 43_000, 50_000
_SEEDS_PER_SESSION = 1000

#: Set -> what its policies learn from, for the same number of further steps.
POST_SETS = {
    "base": "the same demonstrations, trained on",
    "wm-cl": "own successes in imagination",
    "demonstrations": "further demonstrations",
    "stand-in": "corrections on the stand-in",
    "hi-wm": "corrections in imagination",
}
#: Sets that learn from corrections -> the world these are given in.
CORRECTED = {"stand-in": "hardware", "hi-wm": "imagination"}


@dataclass(frozen=True, kw_only=True)
class Block:
    """One backbone and one training seed."""

    backbone: str
    seed: int
    tuning: bool = False

    @property
    def name(self) -> str:
        """Return the name it is asked for by."""
        return TUNE if self.tuning else f"{self.backbone}-s{self.seed}"

    def session_seed(self, number: int) -> int:
        """Return the first seed of the starts of a round of corrections."""
        return SESSION_STARTS + _SEEDS_PER_SESSION * (2 * self.seed + number)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A policy that is judged, or that a round of corrections begins from."""

    name: str
    block: Block
    set: str  # start, one of POST_SETS, or other
    note: str = ""
    learns: str = ""  # one of POST_SETS; empty: the block's base policy itself
    round: int = 0  # of corrections; it learns from this one and those before
    all_rollouts: bool = False  # WM-CL: all there are, not only as many as in every block
    contested: bool = False  # WM-CL: only successes among failures
    weights: str = ""  # of corrections; empty: those that were chosen

    def checkpoint(self, folder: Path) -> Path:
        """Return its file."""
        return folder / "policies" / f"{self.name}.safetensors"

    def sessions(self, folder: Path) -> tuple[Path, ...]:
        """Return the sessions that it learns from, the last round last."""
        prefix = f"{self.block.backbone}-s{self.block.seed}"
        if self.learns == "wm-cl":
            names = [f"{prefix}-rollouts"]
        else:
            names = [f"{prefix}-{self.learns}-{n}" for n in range(1, self.round + 1)]
        return tuple(folder / "sessions" / name for name in names)

    def evaluation(self, folder: Path, world: str) -> Path:
        """Return the folder of its trials, which scripts/rollout makes."""
        # Each in an output folder of its own, since a folder is of one rollout at a time.
        output = folder / "evaluations" / f"{self.name}-{world}"
        return output / self.name / ROLLOUT_WORLDS[world]

    def check(self, folder: Path, world: str) -> Path:
        """Return the folder of some of its trials, run through the graph."""
        return folder / "checks" / f"{self.name}-{world}" / "evaluation"


def blocks(budget: Budget) -> list[Block]:
    """Return every block, in the order they are run in."""
    return [
        Block(backbone=budget.backbones[0], seed=TUNE_SEED, tuning=True),
        *(
            Block(backbone=backbone, seed=seed)
            for seed in budget.seeds for backbone in budget.backbones
        ),
    ]


def start_cell(block: Block) -> Cell:
    """Return the base policy of a block, as it is before any post-training."""
    return Cell(
        name=f"{block.backbone}-start-s{block.seed}", block=block, set="start",
    )


def round_cell(budget: Budget, block: Block, learns: str, number: int) -> Cell:
    """Return the policy corrected for some rounds; that of the last round is judged."""
    last = number == budget.rounds
    return Cell(
        name=f"{block.backbone}-{learns}-s{block.seed}" + ("" if last else f"-round{number}"),
        block=block, set=learns if last else "other", learns=learns, round=number,
    )


def checked_cell(budget: Budget, block: Block) -> Cell:
    """Return the policy of a block that some trials are run of through the graph."""
    return round_cell(budget, block, "hi-wm", budget.rounds)


def judged_cells(budget: Budget, block: Block) -> list[Cell]:
    """Return the policies of a block that are judged, base policy first."""
    if block.tuning:
        return [
            Cell(
                name=f"tune-{weights}", block=block, set="other", learns="hi-wm", round=1,
                weights=weights, note=f"corrections weighted by {weights}",
            )
            for weights in budget.weights
        ]
    made = [start_cell(block)]
    for learns in POST_SETS:
        made.append(
            round_cell(budget, block, learns, budget.rounds) if learns in CORRECTED else
            Cell(
                name=f"{block.backbone}-{learns}-s{block.seed}", block=block, set=learns,
                learns=learns,
            )
        )
    return made + list(_with_more_rollouts(budget, block))


def _with_more_rollouts(budget: Budget, block: Block) -> Iterator[Cell]:
    """WM-CL with more successes, and with only those that lie among failures."""
    if block.name not in budget.with_more_rollouts:
        return
    for name, contested in (("more", False), ("contested", True)):
        yield Cell(
            name=f"{block.backbone}-wm-cl-s{block.seed}-{name}", block=block, set="other",
            learns="wm-cl", all_rollouts=True, contested=contested,
            note=f"WM-CL, {budget.more_rollouts} rollouts" + (
                ", only successes with mostly failures beside them" if contested else ""
            ),
        )
