"""The index of a state store: the answers of a dict in a tenth of its memory."""

import random
import tracemalloc

import pytest

from hiwm_core import pack_index
from hiwm_core.pack_index import PackIndex


def test_it_answers_as_a_dict_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are added, moved, forgotten and added again, over many runs."""
    monkeypatch.setattr(pack_index, "RUN_RECORDS", 16)
    chance = random.Random(3)
    # Few first halves, so that they collide; zeros at both ends of a name.
    names = [bytes([n % 5]) + bytes(7) + bytes([n]) + bytes(7) for n in range(200)]
    index, expected = PackIndex(), dict[bytes, tuple[int, int]]()
    for _ in range(3000):
        name = chance.choice(names)
        if chance.random() < 0.2:
            index.forget(name)
            expected.pop(name, None)
        else:
            expected[name] = (chance.randrange(9), chance.randrange(1 << 38))
            index.add(name, *expected[name])
    assert index.names() == set(expected)
    for name in names:
        assert index.get(name) == expected.get(name)
        assert (name in index) == (name in expected)


def test_a_record_takes_few_bytes() -> None:
    tracemalloc.start()
    try:
        index = PackIndex()
        count = 20 * pack_index.RUN_RECORDS
        for number in range(count):
            index.add(number.to_bytes(16, "big"), number >> 12, number)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 32 * count
    assert index.get((77).to_bytes(16, "big")) == (0, 77)
    assert index.get(count.to_bytes(16, "big")) is None
