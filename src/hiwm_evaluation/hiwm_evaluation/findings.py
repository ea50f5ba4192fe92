"""Results of a study: pooled rates, gains, agreement of the worlds, an operator's yield.

All numbers of the report are computed here from the trials. Tested by ``test_findings.py``.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hiwm_evaluation.agreement import (
    Estimate,
    Statistic,
    bootstrap_estimate,
    mean_maximum_rank_violation,
    pearson,
    spearman,
)
from hiwm_evaluation.statistics import (
    Interval,
    PairedCounts,
    difference_interval,
    paired_difference_interval,
    wilson_interval,
)
from hiwm_evaluation.study_file import (
    Backbone,
    Cell,
    Evaluation,
    OperatorSession,
    Study,
    TrainingSet,
    World,
)
from hiwm_evaluation.trials import Outcome, TrialResult

#: The paper's sets, shown even if they are missing.
PAPER_SETS = (TrainingSet.BASE, TrainingSet.WM_CL, TrainingSet.HI_WM)
#: Comparisons between the paper's sets.
PAPER_GAINS = (
    (TrainingSet.HI_WM, TrainingSet.BASE),
    (TrainingSet.HI_WM, TrainingSet.WM_CL),
    (TrainingSet.WM_CL, TrainingSet.BASE),
)
#: All comparisons; those with controls apply only to studies that have them.
GAINS = (
    (TrainingSet.HI_WM, TrainingSet.BASE),
    (TrainingSet.HI_WM, TrainingSet.STAND_IN_CORRECTIONS),
    (TrainingSet.HI_WM, TrainingSet.DEMONSTRATIONS),
    (TrainingSet.HI_WM, TrainingSet.WM_CL),
    (TrainingSet.STAND_IN_CORRECTIONS, TrainingSet.BASE),
    (TrainingSet.DEMONSTRATIONS, TrainingSet.BASE),
    (TrainingSet.WM_CL, TrainingSet.BASE),
    (TrainingSet.BASE, TrainingSet.START),
)
STATISTICS: dict[str, Statistic] = {
    "Pearson": pearson, "Spearman": spearman, "MMRV": mean_maximum_rank_violation,
}
# Two points always lie on a line, so their correlation is meaningless.
LEAST_POLICIES = 3
BOOTSTRAP_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Success rate of some trials, with its Wilson interval."""

    successes: int
    trials: int
    aborted: int  # not included in trials
    planned: int  # trials

    @property
    def rate(self) -> float:
        """Fraction of successes, 0..1. Requires at least one trial."""
        return self.successes / self.trials

    @property
    def interval(self) -> Interval:
        """Wilson interval at 95 %."""
        return wilson_interval(self.successes, self.trials)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Rate of one set minus that of another, for one backbone and world."""

    backbone: Backbone
    world: World
    more: TrainingSet
    less: TrainingSet
    more_counts: tuple[int, int]  # successes, trials
    less_counts: tuple[int, int]
    pairs: PairedCounts  # `more` first; trials of the same training seed, start and trial seed

    @property
    def known(self) -> bool:
        """Whether both sets have trials."""
        return self.more_counts[1] > 0 and self.less_counts[1] > 0

    @property
    def difference(self) -> float:
        """Difference of the two pooled rates, -1..1."""
        return (
            self.more_counts[0] / self.more_counts[1] - self.less_counts[0] / self.less_counts[1]
        )

    @property
    def interval(self) -> Interval:
        """Newcombe's interval at 95 % for independent trials."""
        return difference_interval(self.more_counts, self.less_counts)

    @property
    def paired_interval(self) -> Interval:
        """Newcombe's interval at 95 % for paired trials."""
        return paired_difference_interval(self.pairs)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of imagination and stand-in over policies with trials in both."""

    cells: tuple[Cell, ...]
    estimates: dict[str, Estimate]  # by name of STATISTICS; empty for too few policies


def independent(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return the first cell of each backbone and training seed.

    Cells that share both were post-trained from one policy and are not independent.
    """
    first: dict[tuple[Backbone, int], Cell] = {}
    for cell in cells:
        first.setdefault((cell.backbone, cell.seed), cell)
    return tuple(first.values())


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Totals of some operator sessions."""

    sessions: int
    seconds: float
    frames: int
    corrections: int
    failure_states: int
    succeeded: int
    robot_seconds: float
    resets: int


def pooled(cells: Iterable[Cell], world: World) -> Rate:
    """Return the rate over all trials of some cells in one world; 0 trials if all are missing."""
    return rate_of([cell.evaluations[world] for cell in cells if world in cell.evaluations])


def rate_of(found: Sequence[Evaluation]) -> Rate:
    """Return the rate over all trials of some evaluations."""
    counts = [evaluation.counts for evaluation in found]
    return Rate(
        successes=sum(wins for wins, _ in counts), trials=sum(n for _, n in counts),
        aborted=sum(len(e.results) - len(e.judged) for e in found),
        planned=sum(e.planned for e in found),
    )


def sets_of(study: Study) -> tuple[TrainingSet, ...]:
    """Return the sets to show: the paper's, and the study's controls."""
    present = {cell.set for cell in study.cells}
    return tuple(
        which for which in TrainingSet
        if which is not TrainingSet.OTHER and (which in PAPER_SETS or which in present)
    )


@dataclass(frozen=True, kw_only=True)
class MeanCost:
    """Mean cost of one set of a backbone over its policies, and the resulting success rate."""

    backbone: Backbone
    set: TrainingSet
    policies: int
    rate: Rate  # on the stand-in
    operator_frames: float
    learnt_frames: float
    operator_seconds: float
    robot_seconds: float
    resets: float


def mean_costs(study: Study) -> list[MeanCost]:
    """Return the mean costs of the sets for which the study has every policy's cost."""
    found = []
    by_cell = {cost.cell: cost for cost in study.costs}
    for backbone in Backbone:
        for which in sets_of(study):
            cells = cells_of(study, backbone, which)
            costs = [by_cell[cell.name] for cell in cells if cell.name in by_cell]
            if not costs or len(costs) < len(cells):
                continue

            def mean(values: Iterable[float], count: int = len(costs)) -> float:
                return sum(values) / count

            found.append(MeanCost(
                backbone=backbone, set=which, policies=len(costs),
                rate=pooled(cells, World.STAND_IN),
                operator_frames=mean(cost.operator_frames for cost in costs),
                learnt_frames=mean(cost.learnt_frames for cost in costs),
                operator_seconds=mean(cost.operator_seconds for cost in costs),
                robot_seconds=mean(cost.robot_seconds for cost in costs),
                resets=mean(cost.resets for cost in costs),
            ))
    return found


def cells_of(study: Study, backbone: Backbone, training_set: TrainingSet) -> list[Cell]:
    """Return the cells of one backbone and set, by seed."""
    found = [c for c in study.cells if c.backbone is backbone and c.set is training_set]
    return sorted(found, key=lambda cell: cell.seed)


def pair(first: Evaluation | None, second: Evaluation | None) -> PairedCounts:
    """Return the paired outcomes of trials that two evaluations ran from equal starts and seeds.

    Trials that were aborted in either, or have no counterpart, are left out.
    """
    if first is None or second is None:
        return PairedCounts(both=0, first_only=0, second_only=0, neither=0)
    others = {_trial_key(result): result.outcome for result in second.judged}
    ends = Counter(
        (result.outcome is Outcome.SUCCESS, others[_trial_key(result)] is Outcome.SUCCESS)
        for result in first.judged if _trial_key(result) in others
    )
    return PairedCounts(
        both=ends[True, True], first_only=ends[True, False], second_only=ends[False, True],
        neither=ends[False, False],
    )


def gains(study: Study, world: World) -> list[Gain]:
    """Return the gains between the study's sets in one world, known or not, for every backbone."""
    found = []
    shown = sets_of(study)
    for backbone in Backbone:
        for more, less in GAINS:
            if more not in shown or less not in shown:
                continue
            of_more, of_less = (cells_of(study, backbone, which) for which in (more, less))
            by_seed = {cell.seed: cell for cell in of_less}
            rates = [pooled(cells, world) for cells in (of_more, of_less)]
            found.append(Gain(
                backbone=backbone, world=world, more=more, less=less,
                more_counts=(rates[0].successes, rates[0].trials),
                less_counts=(rates[1].successes, rates[1].trials),
                pairs=total(
                    pair(cell.evaluations.get(world), by_seed[cell.seed].evaluations.get(world))
                    for cell in of_more if cell.seed in by_seed
                ),
            ))
    return found


def total(counts: Iterable[PairedCounts]) -> PairedCounts:
    """Return the sum of paired counts."""
    every = list(counts)
    return PairedCounts(
        both=sum(c.both for c in every), first_only=sum(c.first_only for c in every),
        second_only=sum(c.second_only for c in every), neither=sum(c.neither for c in every),
    )


def worlds_paired(cell: Cell) -> PairedCounts:
    """Return a policy's paired outcomes, imagination first: `first_only` are false successes."""
    return pair(
        cell.evaluations.get(World.IMAGINATION), cell.evaluations.get(World.STAND_IN)
    )


def agreement(study: Study) -> Agreement:
    """Return the agreement of imagination and stand-in over all policies with trials in both."""
    return agreement_of(
        [cell for cell in study.cells if all(pooled([cell], world).trials for world in World)]
    )


def agreement_of(chosen: Iterable[Cell]) -> Agreement:
    """Return the agreement of the worlds over some policies, all with trials in both."""
    cells = tuple(chosen)
    if len(cells) < LEAST_POLICIES:
        return Agreement(cells=cells, estimates={})
    imagined, real = (
        [pooled([cell], world).rate for cell in cells]
        for world in (World.IMAGINATION, World.STAND_IN)
    )
    return Agreement(cells=cells, estimates={
        name: bootstrap_estimate(statistic, imagined, real, seed=BOOTSTRAP_SEED)
        for name, statistic in STATISTICS.items()
    })


def effort(sessions: Sequence[OperatorSession]) -> Effort:
    """Return the sum over sessions."""
    return Effort(
        sessions=len(sessions), seconds=sum(s.seconds for s in sessions),
        frames=sum(s.frames for s in sessions), corrections=sum(s.corrections for s in sessions),
        failure_states=sum(s.failure_states for s in sessions),
        succeeded=sum(s.succeeded for s in sessions),
        robot_seconds=sum(s.robot_seconds for s in sessions),
        resets=sum(s.resets for s in sessions),
    )


def differing_conditions(study: Study, world: World) -> dict[str, list[str]]:
    """Return the conditions that differ between the evaluations of a world, with their values.

    Rates are comparable only if there are none.
    """
    found = [c.evaluations[world].conditions for c in study.cells if world in c.evaluations]
    keys = sorted({key for conditions in found for key in conditions})
    values = {key: sorted({str(conditions.get(key)) for conditions in found}) for key in keys}
    return {key: distinct for key, distinct in values.items() if len(distinct) > 1}


def _trial_key(result: TrialResult) -> tuple[int, tuple[float, ...], int]:
    return result.trial, result.start, result.seed
