"""A chunk leads into the next without a jump, aligned by tick."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.embodiment import load_embodiment
from hiwm_core.rotations import matrix_from_6d, matrix_from_vector, sixd_from_matrix
from hiwm_policy.chunk_blend import Chunk, blended
from hiwm_policy.plan_schedule import TickId

PLANE = load_embodiment("planar_bimanual")
DELTAS = ActionDeltas(PLANE)


def chunk(step: int, values: list[float], epoch: int = 1) -> Chunk:
    return Chunk(
        tick_id=TickId(epoch, step), actions=np.repeat(np.array(values)[:, None], 4, axis=1)
    )


def test_the_weight_rises_over_the_blend_and_the_rest_is_the_new_chunk() -> None:
    old, new = chunk(0, [0.0] * 8), chunk(3, [1.0] * 8)
    found = blended(old, new, 5, 3, DELTAS)
    np.testing.assert_allclose(found[:, 0], [1, 1, 0.25, 0.5, 0.75, 1, 1, 1])


def test_where_the_old_chunk_ends_the_blend_ends() -> None:
    found = blended(chunk(0, [0.0] * 6), chunk(3, [1.0] * 8), 5, 3, DELTAS)
    np.testing.assert_allclose(found[:, 0], [1, 1, 0.25, 1, 1, 1, 1, 1])


def test_a_chunk_of_another_epoch_is_never_blended() -> None:
    found = blended(chunk(0, [0.0] * 8), chunk(3, [1.0] * 8, epoch=2), 5, 3, DELTAS)
    np.testing.assert_array_equal(found, 1.0)


@given(
    st.integers(0, 9), st.integers(0, 9), st.integers(0, 25), st.integers(0, 6),
    st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=12),
    st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=12),
)
def test_a_blend_lies_between_both_chunks_at_the_same_tick(
    first: int, second: int, next_step: int, ticks: int, olds: list[float], news: list[float]
) -> None:
    old, new = chunk(first, olds), chunk(second, news)
    found = blended(old, new, next_step, ticks, DELTAS)
    assert found.shape == new.actions.shape
    for k, action in enumerate(found):
        step = second + k
        inside = next_step <= step < next_step + ticks and old.covers(step)
        if not inside:
            np.testing.assert_array_equal(action, new.actions[k])
        else:
            ends = np.sort([old.at(step), new.actions[k]], axis=0)
            assert (ends[0] - 1e-12 <= action).all() and (action <= ends[1] + 1e-12).all()


def test_rotations_turn_through_the_blend() -> None:
    embodiment = load_embodiment("ur5e_tool")
    actions = np.tile(np.array(embodiment.home), (2, 4, 1))
    actions[1, :, 3:] = sixd_from_matrix(
        matrix_from_vector([0.0, 0.0, 1.0]) @ matrix_from_6d(actions[0, 0, 3:])
    )
    old, new = (Chunk(tick_id=TickId(1, 0), actions=each) for each in actions)
    (half, *_) = blended(old, new, 0, 1, ActionDeltas(embodiment))
    np.testing.assert_allclose(
        matrix_from_6d(half[3:]),
        matrix_from_vector([0.0, 0.0, 0.5]) @ matrix_from_6d(actions[0, 0, 3:]), atol=1e-9,
    )
