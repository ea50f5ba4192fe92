"""The policies of a study, and its blocks.

A block is one backbone and one training seed: everything from its base policy to its evaluations.
The block `tune` comes first and chooses the weighting of corrections, with a separate policy and
separate starts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hiwm_evaluation.study.budgets import Budget

#: World in evaluations -> world in scripts/rollout.
ROLLOUT_WORLDS = {"hardware": "standin", "imagination": "imagination"}
WORLDS = tuple(ROLLOUT_WORLDS)
TUNE = "tune"
TUNE_SEED = 100  # training seed of the policies for choices
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


@dataclass(frozen=True, kw_only=True)
class Block:
    """One backbone and one training seed."""

    backbone: str
    seed: int
    tuning: bool = False

    @property
    def name(self) -> str:
        """Name of the block, as in --block."""
        return TUNE if self.tuning else f"{self.backbone}-s{self.seed}"

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
    learns: str = ""  # one of POST_SETS; empty for the block's base policy
    round: int = 0  # of corrections; it learns from all rounds up to this one
    all_rollouts: bool = False  # WM-CL: learn from all rollouts of the block
    contested: bool = False  # WM-CL: only successes among failures
    weights: str = ""  # of corrections; empty for the chosen ones

    def checkpoint(self, folder: Path) -> Path:
        """Return its checkpoint file."""
        return folder / "policies" / f"{self.name}.safetensors"

    def sessions(self, folder: Path) -> tuple[Path, ...]:
        """Return the sessions that it learns from, the latest round last."""
        prefix = f"{self.block.backbone}-s{self.block.seed}"
        if self.learns == "wm-cl":
            names = [f"{prefix}-rollouts"]
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
        Block(backbone=budget.backbones[0], seed=TUNE_SEED, tuning=True),
        *(
            Block(backbone=backbone, seed=seed)
            for seed in budget.seeds for backbone in budget.backbones
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


def checked_cell(budget: Budget, block: Block) -> Cell:
    """Return the policy of a block whose first trials also run through the graph."""
    return round_cell(budget, block, "hi-wm", budget.rounds)


def judged_cells(budget: Budget, block: Block) -> list[Cell]:
    """Return the evaluated policies of a block, base policy first."""
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
