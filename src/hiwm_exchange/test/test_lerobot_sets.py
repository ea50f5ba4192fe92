"""Post-training sets as LeRobot data sets: weights become copies."""

from dataclasses import replace
from pathlib import Path

import pytest

from hiwm_core.control import Source
from hiwm_exchange.export_lerobot import main
from hiwm_exchange.repetition import Run, copies_of
from hiwm_test_support.exchange_data import SpecificationReader, demonstrations, record, segment
from hiwm_test_support.shipped import TASK


def run(weight: float, length: int, provenance: int = 0) -> Run:
    return Run(episode=0, start=0, end=length, weight=weight, provenance=provenance)


def test_copies_follow_the_weights() -> None:
    assert copies_of([run(1.0, 10), run(1.0, 10)], 2.0) == [2, 2]
    assert copies_of([run(3.0, 10), run(0.5, 10, 1)], 1.0) == [3, 0]
    # A tenth of the weight of many runs: about every tenth run, and none of them twice.
    rare = copies_of([run(0.1, 10)] * 100, 1.0)
    assert sum(rare) == 10 and max(rare) == 1


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_corrections_get_half_of_a_sirius_set(tmp_path: Path, version: str) -> None:
    demos = demonstrations(tmp_path / "demos", 6)
    corrections = record(tmp_path / "corrections", [segment(
        "ep_0001-b000", [Source.POLICY] * 20 + [Source.HUMAN] * 6 + [Source.POLICY] * 4,
        session="corrections",
    )])
    output = tmp_path / "set"
    assert main([
        "--set", "hi-wm", "--demonstrations", str(demos), "--corrections", str(corrections),
        "-o", str(output), "--weights", "sirius", "--growth", "4", "--format", version,
    ]) == 0
    read = SpecificationReader(output)
    frames: dict[str, int] = {}
    for number, episode in enumerate(read.episodes):
        rows = read.rows(number)
        assert len(set(rows["hiwm.provenance"])) == 1, "an episode is one run"
        assert all(rows["hiwm.action_known"]) and min(rows["hiwm.weight"]) > 0
        frames[rows["hiwm.provenance"][0]] = (
            frames.get(rows["hiwm.provenance"][0], 0) + episode["length"]
        )
    total = read.info["total_frames"]
    assert sum(frames.values()) == total
    # 126 frames were learnt from, with those of the policy; growth 4 writes 4 times as many.
    assert abs(total / (4 * 126) - 1) < 0.1
    assert abs(frames["human"] / total - 0.5) < 0.05
    copies = [number for number in range(len(read.episodes))
              if read.rows(number)["intervention"][0]]
    first, last = (read.images(number, "observation.images.top")
                   for number in (copies[0], copies[-1]))
    assert (first == last).all(), "copies show the same frames"


def test_the_instruction_is_the_recorded_one(tmp_path: Path) -> None:
    given = segment("ep_0000-b000", [Source.DEMONSTRATION] * 16, session="demos")
    text = given.lineage.task_yaml.replace(TASK.instruction, "words of that day")
    assert text != given.lineage.task_yaml
    demos = record(tmp_path / "demos", [replace(
        given, lineage=replace(given.lineage, task_yaml=text, task_hash="that day's")
    )])
    assert main([
        "--set", "base", "--demonstrations", str(demos), "-o", str(tmp_path / "set"),
    ]) == 0
    assert SpecificationReader(tmp_path / "set").tasks == ["words of that day"]


def test_base_takes_only_demonstrations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = demonstrations(tmp_path / "demos", 2)
    arguments = ["--set", "base", "--demonstrations", str(demos), "-o", str(tmp_path / "set")]
    assert main([*arguments, "--growth", "1", "--episodes", "1"]) == 0
    assert SpecificationReader(tmp_path / "set").info["total_frames"] == 16
    assert main([str(demos), *arguments]) == 1
    assert "give them to --demonstrations" in capsys.readouterr().err


def test_a_damaged_picture_of_a_set_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session, cache = demonstrations(tmp_path / "session", 2), tmp_path / "sets"
    words = ["--set", "base", "--demonstrations", str(session), "--cache", str(cache)]
    assert main([*words, "-o", str(tmp_path / "one")]) == 0
    (store,) = cache.glob("*.zarr")
    chunk = store / "images" / "top" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    assert main([*words, "-o", str(tmp_path / "two")]) == 1
    error = capsys.readouterr().err
    assert "a damaged training set" in error and str(store) in error
