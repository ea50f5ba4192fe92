"""Weight is divided by scheme, then evenly among failure states and their continuations."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.branch_records import Label
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.provenance import Provenance
from hiwm_learning.datasets import EpisodeInfo, Episodes
from hiwm_learning.datasets.weights import Scheme, weigh

NAMES = tuple(str(name) for name in Provenance)
DEMO, POLICY, HUMAN, BEFORE, BACK, NONE = range(6)
EMBODIMENT = load_embodiment("planar_bimanual")
ROOT = EpisodeInfo(
    bag="b", session_id="s", episode_id="e1", branch_id="e1-b000", parent_branch_id="",
    fork_step=-1, world="imagination", stand_in=False, task="toy_task", task_hash="0",
)


def segments(*parts: tuple[EpisodeInfo, list[int]], trust: float = 1.0) -> Episodes:
    """Return episodes of these provenance codes, all actions known."""
    codes = np.array([code for _, part in parts for code in part], np.uint8)
    count = len(codes)
    nothing = np.full(count, np.nan)
    return Episodes(
        embodiment=EMBODIMENT, infos=tuple(info for info, _ in parts),
        ends=np.cumsum([len(part) for _, part in parts]), images={},
        proprio=np.zeros((count, 4), np.float32), actions=np.zeros((count, 4), np.float32),
        source=np.zeros(count, np.uint8), provenance=codes, provenance_names=NAMES,
        steps=np.arange(count), trust=np.full(count, trust, np.float32),
        progress=nothing.astype(np.float32), success=nothing.astype(np.float32),
    )


def branch(number: int, fork_step: int, label: Label = Label.NONE) -> EpisodeInfo:
    return replace(
        ROOT, branch_id=f"e1-b{number:03d}", parent_branch_id="e1-b000", fork_step=fork_step,
        label=label,
    )


# Two failure states: one corrected three times, one once. 40 demonstration frames of 100.
SESSION = segments(
    (replace(ROOT, episode_id="d", branch_id="d-b000"), [DEMO] * 40),
    (ROOT, [POLICY] * 25 + [BEFORE] * 5 + [BACK] * 7),
    (branch(1, 30), [HUMAN] * 3), (branch(2, 30), [HUMAN] * 9), (branch(3, 30), [HUMAN] * 6),
    (branch(4, 20), [HUMAN] * 12),
)


def share(data: Episodes, weights: np.ndarray, code: int) -> float:
    return float(weights[data.provenance == code].sum() / weights.sum())


def test_sirius_gives_half_to_interventions_and_keeps_the_demonstrations_share() -> None:
    found = weigh(SESSION, Scheme.SIRIUS)
    assert share(SESSION, found.weights, HUMAN) == pytest.approx(0.5)
    assert share(SESSION, found.weights, BEFORE) == pytest.approx(0.002)
    assert share(SESSION, found.weights, DEMO) == pytest.approx(0.4)
    assert share(SESSION, found.weights, POLICY) == pytest.approx(0.098)
    assert share(SESSION, found.weights, BACK) == 0.0
    assert found.description["mass_by_provenance"]["human"] == 0.5
    assert found.description["failure_states"] == 2
    assert found.description["continuations"] == 4


def test_sirius_with_more_demonstrations_than_fit_shares_what_is_left() -> None:
    data = segments(
        (replace(ROOT, branch_id="d-b000"), [DEMO] * 90), (ROOT, [POLICY] * 6),
        (branch(1, 3), [HUMAN] * 4),
    )
    found = weigh(data, Scheme.SIRIUS)
    assert share(data, found.weights, HUMAN) == pytest.approx(0.5)
    assert share(data, found.weights, DEMO) == pytest.approx(0.5 * 90 / 96)
    assert share(data, found.weights, POLICY) == pytest.approx(0.5 * 6 / 96)


def test_the_other_schemes() -> None:
    iwr = weigh(SESSION, Scheme.IWR).weights
    assert share(SESSION, iwr, HUMAN) == pytest.approx(0.5)
    assert share(SESSION, iwr, DEMO) == pytest.approx(0.5 * 40 / 70)
    uniform = weigh(SESSION, Scheme.UNIFORM).weights
    assert set(uniform[uniform > 0]) == {np.float32(1.0)}
    assert share(SESSION, uniform, BEFORE) == 0.0
    rac = weigh(SESSION, Scheme.RAC).weights
    assert share(SESSION, rac, POLICY) == 0.0
    assert share(SESSION, rac, HUMAN) == pytest.approx(30 / 70)


@pytest.mark.parametrize("scheme", [Scheme.SIRIUS, Scheme.IWR, Scheme.RAC])
def test_failure_states_have_equal_weight_and_so_do_their_continuations(scheme: Scheme) -> None:
    weights = weigh(SESSION, scheme).weights
    by_branch = [
        weights[SESSION.episode_of == number].sum() for number in range(2, 6)
    ]
    assert by_branch[:3] == pytest.approx([by_branch[3] / 3] * 3)


def test_each_takeover_in_place_is_a_failure_state() -> None:
    data = segments((ROOT, [POLICY] * 3 + [HUMAN] * 2 + [POLICY] * 3 + [HUMAN] * 8))
    found = weigh(data, Scheme.SIRIUS)
    assert found.description["failure_states"] == 2
    assert found.weights[3:5].sum() == pytest.approx(found.weights[8:].sum())


@pytest.mark.parametrize("code", [HUMAN, DEMO])
def test_failed_corrections_and_demonstrations_are_left_out(code: int) -> None:
    data = segments(
        (branch(1, 3, Label.FAILURE), [code] * 4), (branch(2, 3, Label.SUCCESS), [code] * 4)
    )
    found = weigh(data, Scheme.SIRIUS)
    assert (found.weights > 0).tolist() == [False] * 4 + [True] * 4


def test_low_trust_is_dropped_or_counts_less() -> None:
    data = segments((branch(1, 3), [HUMAN] * 4), (branch(2, 3), [HUMAN] * 4))
    data.trust[:3] = 0.1
    data.trust[7] = np.nan  # a world without a trust estimate
    dropped = weigh(data, Scheme.SIRIUS, min_trust=0.5)
    assert (dropped.weights > 0).tolist() == [False] * 3 + [True] * 5
    assert dropped.description["dropped_low_trust"] == 3
    # A continuation keeps its share while one of its frames has a weight.
    assert dropped.weights[3] == pytest.approx(dropped.weights[4:].sum())
    less = weigh(data, Scheme.SIRIUS, min_trust=0.5, low_trust_factor=0.25).weights
    assert less[0] == pytest.approx(less[3] / 4)


def test_only_chosen_rollouts_of_the_policy_count() -> None:
    data = segments(
        (ROOT, [POLICY] * 4), (replace(ROOT, episode_id="e2", branch_id="e2-b000"), [POLICY] * 4),
        (replace(ROOT, episode_id="d", branch_id="d-b000"), [DEMO] * 4),
    )
    found = weigh(data, Scheme.UNIFORM, policy_episodes={("s", "e2")})
    assert (found.weights > 0).tolist() == [False] * 4 + [True] * 8


def test_fewer_demonstrations_on_request() -> None:
    demonstrations = [
        (replace(ROOT, episode_id=f"d{i}", branch_id=f"d{i}-b000"), [DEMO] * 4) for i in range(3)
    ]
    data = segments((branch(1, 3), [HUMAN] * 4), *demonstrations)
    found = weigh(data, Scheme.SIRIUS, demonstration_episodes=2)
    assert (found.weights > 0).tolist() == [True] * 12 + [False] * 4


def test_further_demonstrations_by_their_frames() -> None:
    data = segments(*(
        (replace(ROOT, episode_id=f"d{i}", branch_id=f"d{i}-b000"), [DEMO] * 4) for i in range(5)
    ))
    found = weigh(data, Scheme.UNIFORM, demonstration_episodes=1, further_demonstration_frames=9)
    assert (found.weights > 0).tolist() == [True] * 12 + [False] * 8
    assert found.description["demonstrations"] == 3
    with pytest.raises(ConfigError, match="16 frames, 40 requested"):
        weigh(data, Scheme.UNIFORM, demonstration_episodes=1, further_demonstration_frames=40)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=8), min_size=1, max_size=3),
    st.integers(1, 30), st.sampled_from(list(Scheme)),
)
def test_sessions_are_cut_to_equal_frames_but_for_half_a_correction(
    sessions: list[list[int]], frames: int, scheme: Scheme
) -> None:
    data = segments(
        (replace(ROOT, session_id="d", branch_id="d-b000"), [DEMO] * 5),
        *(
            (replace(branch(number, 3), session_id=f"s{place}"), [HUMAN] * length)
            for place, lengths in enumerate(sessions)
            for number, length in enumerate(lengths, 1)
        ),
    )
    if any(sum(lengths) + max(lengths) < frames for lengths in sessions):
        with pytest.raises(ConfigError, match="requested"):
            weigh(data, scheme, correction_frames=frames)
        return
    learnt = weigh(data, scheme, correction_frames=frames).weights > 0
    assert learnt[:5].all()
    names = np.array([info.session_id for info in data.infos])[data.episode_of]
    for place, lengths in enumerate(sessions):
        kept = learnt[names == f"s{place}"]
        whole = [bool(part.all()) for part in np.split(kept, np.cumsum(lengths)[:-1])]
        assert whole == sorted(whole, reverse=True)  # the first ones
        assert sum(n for n, is_kept in zip(lengths, whole, strict=True) if is_kept) == kept.sum()
        if sum(lengths) >= frames:
            assert abs(kept.sum() - frames) <= max(lengths) / 2


@pytest.mark.parametrize("name", ["min_trust", "low_trust_factor"])
def test_a_bad_share_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        weigh(SESSION, Scheme.SIRIUS, **{name: 1.5})


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=9), min_size=1, max_size=5),
    st.sampled_from(list(Scheme)), st.floats(0.0, 1.0),
)
def test_weights_are_finite_and_mean_one_over_what_is_learnt(
    parts: list[list[int]], scheme: Scheme, min_trust: float
) -> None:
    data = segments(
        *((branch(number, number // 2), part) for number, part in enumerate(parts, 1)), trust=0.5
    )
    found = weigh(data, scheme, min_trust=min_trust)
    assert np.isfinite(found.weights).all() and (found.weights >= 0).all()
    learnt = found.weights > 0
    assert found.weights.sum() == pytest.approx(learnt.sum(), rel=1e-4, abs=1e-6)
    assert not learnt[np.isin(data.provenance, [BACK, NONE])].any()
    assert found.description["frames_left_out"] == int((~learnt).sum())
