"""The blocks of a study and their policies.

`tune` chooses the weighting of corrections, with a separate policy and separate starts. A block of
sets is one backbone and one training seed: everything from its base policy to its evaluations. A
block `agreement-BACKBONE` has base policies of differing quality. A block `branching-BACKBONE` has
policies corrected with and without rollback and branches. Each block trains policies of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hiwm_evaluation.study.budgets import Budget

#: World in evaluations -> world in scripts/rollout.
ROLLOUT_WORLDS = {"hardware": "standin", "imagination": "imagination", "other": "imagination"}
WORLDS = ("hardware", "imagination")
OTHER_WORLD = "other"  # the second world model
TUNE_BLOCK = "tune"
# First training seeds of the policies for choices, for agreement, and for branching. Studies use
# seeds far below.
TUNE_SEED, _AGREEMENT_SEED, _BRANCHING_SEED = 100, 200, 300
# First seeds of start poses, far enough apart that no ranges overlap: choices and corrections use
# other starts than the report. Data are recorded from seeds below 10,000; earlier studies reported
# on seed 1000.
TUNING_STARTS, REPORT_STARTS, SESSION_STARTS = 41_000, 43_000, 50_000
_SEEDS_PER_SESSION = 1000

#: Set -> its training data; the number of further steps is the same for all.
POST_SETS = {
    "base": "the same demonstrations, further steps",
    "wm-cl": "own successes in imagination",
    "demonstrations": "further demonstrations",
    "stand-in": "corrections on the stand-in",
    "hi-wm": "corrections in imagination",
}
#: Sets with corrections -> the world of the corrections.
CORRECTED = {"stand-in": "hardware", "hi-wm": "imagination"}


class BlockKind(StrEnum):
    """What a block is for."""

    TUNE = TUNE_BLOCK
    SETS = "sets"
    AGREEMENT = "agreement"
    BRANCHING = "branching"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A part of a study that is run as a whole."""

    backbone: str
    seed: int  # of the trainings; of an agreement, of its first policy
    kind: BlockKind = BlockKind.SETS

    @property
    def name(self) -> str:
        """Name of the block, as in --block."""
        if self.kind is BlockKind.TUNE:
            return str(self.kind)
        if self.kind is BlockKind.SETS:
            return f"{self.backbone}-s{self.seed}"
        return f"{self.kind}-{self.backbone}"

    @property
    def weighted(self) -> bool:
        """Whether it uses the weights that the block `tune` chose."""
        return self.kind in (BlockKind.SETS, BlockKind.BRANCHING)

    def session_seed(self, number: int) -> int:
        """Return the first start seed of a round of corrections."""
        return SESSION_STARTS + _SEEDS_PER_SESSION * (2 * self.seed + number)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A policy that is evaluated, or corrected in the next round."""

    name: str
    block: Block
    set: str  # start, one of POST_SETS, or other
    note: str = ""
    learns: str = ""  # one of POST_SETS; empty for a base policy
    round: int = 0  # of corrections; it learns from all rounds up to this one
    all_rollouts: bool = False  # WM-CL: learn from all rollouts of the block
    contested: bool = False  # WM-CL: only successes among failures
    weights: str = ""  # of corrections; empty for the chosen ones
    seed: int | None = None  # of the training; None is the block's
    base: tuple[int, int] | None = None  # demonstrations and steps; None is the budget's
    branched: bool = True  # corrections with rollback and branches
    frames: int = 0  # of corrections to learn from, per session; 0 is the budget's

    @property
    def training_seed(self) -> int:
        """Seed of its training."""
        return self.block.seed if self.seed is None else self.seed

    def checkpoint(self, folder: Path) -> Path:
        """Return its checkpoint file."""
        return folder / "policies" / f"{self.name}.safetensors"

    def sessions(self, folder: Path) -> tuple[Path, ...]:
        """Return the sessions that it learns from, the latest round last."""
        prefix = f"{self.block.backbone}-s{self.block.seed}"
        if self.learns == "wm-cl":
            names = [f"{prefix}-rollouts"]
        elif self.block.kind is BlockKind.BRANCHING:
            how = "branched" if self.branched else "in-place"
            names = [f"{prefix}-{how}"] if self.learns else []
        else:
            names = [f"{prefix}-{self.learns}-{n}" for n in range(1, self.round + 1)]
        return tuple(folder / "sessions" / name for name in names)

    def evaluation(self, folder: Path, world: str) -> Path:
        """Return the folder of its trials from scripts/rollout."""
        # Separate output folders, since each admits one rollout at a time.
        output = folder / "evaluations" / f"{self.name}-{world}"
        return output / self.name / ROLLOUT_WORLDS[world]

    def check(self, folder: Path, world: str) -> Path:
        """Return the folder of its trials through the graph."""
        return folder / "checks" / f"{self.name}-{world}" / "evaluation"


def blocks(budget: Budget) -> list[Block]:
    """Return all blocks in order of execution."""
    return [
        Block(backbone=budget.backbones[0], seed=TUNE_SEED, kind=BlockKind.TUNE),
        *(
            Block(backbone=backbone, seed=seed)
            for seed in budget.seeds for backbone in budget.backbones
        ),
        *(
            Block(backbone=backbone, seed=seed, kind=kind)
            for kind, seed in (
                (BlockKind.AGREEMENT, _AGREEMENT_SEED), (BlockKind.BRANCHING, _BRANCHING_SEED)
            )
            for backbone in budget.backbones
        ),
    ]


def start_cell(block: Block) -> Cell:
    """Return the base policy of a block, before post-training."""
    return Cell(
        name=f"{block.backbone}-start-s{block.seed}", block=block, set="start",
    )


def round_cell(budget: Budget, block: Block, learns: str, number: int) -> Cell:
    """Return the policy after some rounds of corrections; the last round's is evaluated."""
    last = number == budget.rounds
    return Cell(
        name=f"{block.backbone}-{learns}-s{block.seed}" + ("" if last else f"-round{number}"),
        block=block, set=learns if last else "other", learns=learns, round=number,
    )


def checked_cell(budget: Budget, block: Block) -> Cell | None:
    """Return the policy of a block whose first trials also run through the graph, if any."""
    if block.kind is not BlockKind.SETS:
        return None
    return round_cell(budget, block, "hi-wm", budget.rounds)


def worlds_of(block: Block, *, other: bool = False) -> tuple[str, ...]:
    """Return the worlds in which the policies of a block are evaluated.

    Args:
        block: of a study.
        other: whether the study has a second world model.
    """
    if block.kind in (BlockKind.TUNE, BlockKind.BRANCHING):
        return WORLDS[:1]
    return (*WORLDS, OTHER_WORLD) if other and block.kind is BlockKind.AGREEMENT else WORLDS


def judged_cells(budget: Budget, block: Block) -> list[Cell]:
    """Return the evaluated policies of a block, base policy first."""
    return {
        BlockKind.TUNE: _tuned, BlockKind.SETS: _of_sets, BlockKind.AGREEMENT: _agreeing,
        BlockKind.BRANCHING: _branching,
    }[block.kind](budget, block)


def _tuned(budget: Budget, block: Block) -> list[Cell]:
    return [
        Cell(
            name=f"tune-{weights}", block=block, set="other", learns="hi-wm", round=1,
            weights=weights, note=f"corrections weighted by {weights}",
        )
        for weights in budget.weights
    ]


def _of_sets(budget: Budget, block: Block) -> list[Cell]:
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


def _agreeing(budget: Budget, block: Block) -> list[Cell]:
    """Return base policies of differing demonstrations, steps and seeds."""
    return [
        Cell(
            name=f"{block.backbone}-start-s{block.seed + number}", block=block, set="other",
            seed=block.seed + number, base=(demonstrations, steps),
            note=f"base policy, {demonstrations} demonstrations, {steps} steps",
        )
        for number, (demonstrations, steps) in enumerate(budget.agreement)
    ]


def _branching(budget: Budget, block: Block) -> list[Cell]:
    """Return the base policy, and policies of equal operator frames with and without branches."""
    return [start_cell(block), *(
        Cell(
            name=f"{block.backbone}-{'branched' if branched else 'in-place'}-{frames}", block=block,
            set="other", learns="hi-wm", round=1, branched=branched, frames=frames,
        )
        for frames in budget.branching for branched in (True, False)
    )]


def _with_more_rollouts(budget: Budget, block: Block) -> Iterator[Cell]:
    """Yield WM-CL policies with more successes, and with only successes among failures."""
    if block.name not in budget.with_more_rollouts:
        return
    for name, contested in (("more", False), ("contested", True)):
        yield Cell(
            name=f"{block.backbone}-wm-cl-s{block.seed}-{name}", block=block, set="other",
            learns="wm-cl", all_rollouts=True, contested=contested,
            note=f"WM-CL, {budget.more_rollouts} rollouts" + (
                ", only successes among failures" if contested else ""
            ),
        )
