"""Recordings name their task, so that users need not."""

from pathlib import Path

import pytest

from hiwm_core.bags import Lineage, open_bag
from hiwm_core.bags.task_of_data import task_of
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError
from hiwm_test_support.shipped import TASK

EMBODIMENT = load_embodiment(TASK.embodiment)


def bag(path: Path, **texts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = Lineage(**texts).custom_data()
    open_bag(path, data).close(data)


def test_the_first_bag_that_names_its_task_is_used(tmp_path: Path) -> None:
    bag(tmp_path / "a" / "bags" / "one")  # names no task
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "metadata.yaml").write_text("\0")  # damaged
    text = TASK.text.replace(f"name: {TASK.name}", "name: other")
    bag(
        tmp_path / "c" / "bags" / "two", task_yaml=text,
        embodiment_yaml=EMBODIMENT.text.replace("left_x_joint", "slide"),
    )
    task, embodiment = task_of([tmp_path / name for name in "abc"], None)
    assert task.name == "other" and embodiment.hash != EMBODIMENT.hash
    named, own = task_of([tmp_path], TASK.name)
    assert (named.hash, own.hash) == (TASK.hash, EMBODIMENT.hash)


def test_if_no_bag_names_it_the_option_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="--task"):
        task_of([tmp_path], None)
