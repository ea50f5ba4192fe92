"""Results of a study, against counts made by hand from its trials."""

import sys
from pathlib import Path

import pytest

from hiwm_evaluation.findings import (
    agreement,
    cells_of,
    differing_conditions,
    effort,
    gains,
    independent,
    pair,
    pooled,
    total,
    worlds_paired,
)
from hiwm_evaluation.statistics import PairedCounts, paired_difference_interval, wilson_interval
from hiwm_evaluation.study_file import Backbone, Cell, Study, TrainingSet, World, read_study

sys.path.insert(0, str(Path(__file__).parent))
from synthetic_study import study_data, write_evaluation, write_study  # noqa: E402


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return read_study(write_study(tmp_path_factory.mktemp("study")))


def cell(study: Study, name: str) -> Cell:
    return next(cell for cell in study.cells if cell.name == name)


def counts(both: int, first_only: int, second_only: int, neither: int) -> PairedCounts:
    return PairedCounts(
        both=both, first_only=first_only, second_only=second_only, neither=neither
    )


def test_rates_are_pooled_over_seeds_without_aborted_trials(study: Study) -> None:
    cells = cells_of(study, Backbone.DIFFUSION, TrainingSet.HI_WM)
    assert [cell.seed for cell in cells] == [0, 1]
    rate = pooled(cells, World.STAND_IN)
    assert (rate.successes, rate.trials, rate.aborted, rate.planned) == (30, 39, 1, 40)
    assert rate.rate == 30 / 39 and rate.interval == wilson_interval(30, 39)


def test_a_set_without_trials_has_none(study: Study) -> None:
    rate = pooled(cells_of(study, Backbone.ACT, TrainingSet.HI_WM), World.IMAGINATION)
    assert (rate.trials, rate.planned) == (0, 0)
    assert pooled([], World.STAND_IN).trials == 0


def test_gains_pair_trials_of_the_same_training_seed(study: Study) -> None:
    found = {(g.backbone, g.more, g.less): g for g in gains(study, World.STAND_IN)}
    assert len(found) == 6
    gain = found[Backbone.DIFFUSION, TrainingSet.HI_WM, TrainingSet.BASE]
    assert (gain.more_counts, gain.less_counts) == ((30, 39), (14, 40))
    assert gain.difference == pytest.approx(30 / 39 - 14 / 40)
    # Seed 0: 8 both, 8 more, 4 neither. Seed 1: 6 both, 8 more, 5 neither, 1 aborted.
    assert gain.pairs == counts(14, 16, 0, 9)
    assert gain.paired_interval == paired_difference_interval(counts(14, 16, 0, 9))
    # Seed 0: 8 both, 2 more. Seed 1: trials 4 to 10 against 0 to 5.
    gain = found[Backbone.DIFFUSION, TrainingSet.WM_CL, TrainingSet.BASE]
    assert gain.pairs == counts(8 + 2, 2 + 5, 0 + 4, 10 + 9)


def test_a_gain_over_a_missing_set_is_not_known(study: Study) -> None:
    known = [gain.known for gain in gains(study, World.IMAGINATION)]
    assert known == [True, True, True, False, False, True]


def test_false_successes_and_failures(study: Study) -> None:
    # Stand-in: trials 0 to 5. Imagination: 2 to 7.
    assert worlds_paired(cell(study, "diffusion-base-s1")) == counts(4, 2, 2, 12)
    # The aborted trial is left out.
    assert worlds_paired(cell(study, "diffusion-hi-wm-s1")) == counts(14, 0, 0, 5)
    # Twelve trials were imagined.
    assert worlds_paired(cell(study, "act-wm-cl-s0")) == counts(5, 2, 0, 5)
    assert worlds_paired(cell(study, "act-hi-wm-s0")).trials == 0
    assert total(worlds_paired(c) for c in study.cells) == counts(69, 17, 5, 80)


def test_trials_of_other_starts_or_seeds_are_not_paired(tmp_path: Path, study: Study) -> None:
    evaluation = cell(study, "act-base-s0").evaluations[World.STAND_IN]
    assert pair(evaluation, evaluation) == counts(5, 0, 0, 15)
    write_study(tmp_path, cells={"act-base-s0": ("sf", "")})
    lines = tmp_path / "evaluations" / "act-base-s0" / "hardware" / "trials.jsonl"
    text = lines.read_text()
    for old, new in (('"seed": 1001', '"seed": 7'), ('"start": [0.01', '"start": [0.3')):
        assert old in text
        lines.write_text(text.replace(old, new))
        other = cell(read_study(tmp_path), "act-base-s0").evaluations[World.STAND_IN]
        assert pair(other, evaluation) == counts(1, 0, 0, 0)


def test_agreement_is_over_policies_tried_in_both_worlds(study: Study) -> None:
    agreed = agreement(study)
    assert len(agreed.cells) == 9
    assert "act-hi-wm-s0" not in {cell.name for cell in agreed.cells}
    # By hand from the rates in percent, stand-in 40 30 50 35 80 73.7 25 25 15 and imagination
    # 50 30 60 45 85 75 45 58.3 10; largest violation of each policy:
    # 40: 15 (58.3/25); 30: 5 (45/25, and 58.3/25); 50: 0; 35: 10 (58.3/25, tie with 45 is for the
    # worse one); 80, 73.7: 0; 25 (45): 10 (tie with 35) and 5; 25 (58.3): 15; 15: 0.
    assert agreed.estimates["MMRV"].value == pytest.approx((15 + 5 + 10 + 10 + 15) / 900)
    for name in ("Pearson", "Spearman"):
        estimate = agreed.estimates[name]
        assert -1.0 <= estimate.low <= estimate.value <= estimate.high <= 1.0


def test_independent_policies_are_one_per_base(study: Study) -> None:
    apart = independent(agreement(study).cells)
    keys = [(cell.backbone, cell.seed) for cell in apart]
    assert len(set(keys)) == len(keys)
    assert set(keys) == {(cell.backbone, cell.seed) for cell in agreement(study).cells}


def test_two_policies_have_no_correlation(tmp_path: Path) -> None:
    cells = {"act-base-s0": ("sf", "sf"), "act-hi-wm-s0": ("ss", "ss")}
    agreed = agreement(read_study(write_study(tmp_path, cells=cells)))
    assert len(agreed.cells) == 2 and agreed.estimates == {}


def test_an_operators_sessions_add_up(study: Study) -> None:
    done = effort(study.operator)
    assert (done.sessions, done.seconds, done.frames) == (2, 1200.0, 3300)
    assert (done.corrections, done.failure_states, done.succeeded) == (42, 22, 30)


def test_conditions_that_differ_are_found(tmp_path: Path, study: Study) -> None:
    assert differing_conditions(study, World.STAND_IN) == {}
    folder = write_study(tmp_path, study_data(), {"act-base-s0": ("sf", "")})
    write_evaluation(
        folder / "evaluations" / "act-hi-wm-s0" / "hardware", "hardware", "s", horizon=200
    )
    assert differing_conditions(read_study(folder), World.STAND_IN) == {"horizon": ["200", "300"]}
