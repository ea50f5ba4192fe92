"""Cards: what they say of a checkpoint's training data, and that the shipped ones are current."""

import json
from pathlib import Path

import pytest

from hiwm_learning.model_card import card_rows

SHIPPED = sorted((Path(__file__).parents[3] / "models").glob("*.card.json"))


def record(**data: object) -> dict[str, object]:
    return {
        "file": "m.safetensors", "sha256": "ab", "embodiment": "arm", "embodiment_hash": "12",
        "task": "reach", "task_hash": "34", "steps": 5, "minutes": 0.25, "seed": 1,
        "data": {"episodes": 2, "frames": 30, **data},
    }


def test_a_stand_in_is_called_so_also_in_the_data_of_early_checkpoints() -> None:
    rows = card_rows(record(worlds=["imagination", "standin", "yam_pair (stand-in)"]))
    assert rows["Recorded on"] == "imagination, hardware (stand-in), yam_pair (stand-in)"
    assert card_rows(record())["Recorded on"] == "unknown"


def test_what_is_not_known_has_no_row() -> None:
    unknown = {"Frames by provenance", "Control period", "Started from"}
    assert not unknown & card_rows(record()).keys()
    rows = card_rows(record(frames_by_provenance={"human": 3, "none": 1}))
    assert rows["Frames by provenance"] == "human 3, none 1"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_card_says_what_its_record_says(path: Path) -> None:
    lines = path.with_suffix(".md").read_text().splitlines()
    shown = dict(line[2:-2].partition(" | ")[::2] for line in lines if line.startswith("| "))
    for name, value in card_rows(json.loads(path.read_text())).items():
        # The record is sorted by name, so its lists may have another order.
        assert sorted(shown[name].split(", ")) == sorted(value.split(", "))
