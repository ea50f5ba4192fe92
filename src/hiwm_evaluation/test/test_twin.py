"""The twin: both sides take the same commands, and what is written says what was seen."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from hiwm_core.bags import read_segment
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError
from hiwm_core.twin_folder import NUMBERS, TABLE, VIDEO, read_numbers, twins_in, view_path
from hiwm_evaluation.twin import command_line
from hiwm_evaluation.twin.lockstep import Twin, run
from hiwm_evaluation.twin.truths import recorded_truth
from hiwm_evaluation.twin.video import write_video
from hiwm_learning.world_models.evaluation.picture_measure import PictureMeasure
from hiwm_learning.world_models.families import load_simulator
from hiwm_test_support.bags import robot_bag
from hiwm_test_support.latent_worlds import write_untrained_checkpoint
from hiwm_test_support.shipped import TASK

EMBODIMENT = load_embodiment(TASK.embodiment)
TICKS = 6


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return robot_bag(tmp_path_factory.mktemp("robot"), TICKS)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained_checkpoint(tmp_path_factory.mktemp("model"))


def twin_of(bag: Path, checkpoint: Path, step: int = 1, steps: int = 99) -> Twin:
    simulator, _ = load_simulator(checkpoint, EMBODIMENT)
    twin = Twin(simulator.cameras)
    run(twin, simulator, recorded_truth(read_segment(bag), step), steps, 0, lambda step: None)
    return twin


def words(bag: Path, checkpoint: Path, output: Path, *more: str) -> list[str]:
    return [
        f"bag:{bag}@1", "--task", TASK.name, "--world-checkpoint", str(checkpoint), "-o",
        str(output), *more,
    ]


def test_both_sides_start_alike_and_take_the_recorded_commands(
    bag: Path, checkpoint: Path
) -> None:
    segment, twin = read_segment(bag), twin_of(bag, checkpoint)
    assert [step.step for step in twin.steps] == list(range(1, TICKS))
    simulator, _ = load_simulator(checkpoint, EMBODIMENT)
    state = simulator.begin(segment.observations["top"][1], segment.proprio[1], 0)
    for t, step in enumerate(twin.steps, 1):
        assert np.array_equal(step.true["top"], segment.observations["top"][t])
        assert np.array_equal(step.imagined["top"], simulator.observe(state).image)
        if t < TICKS - 1:
            state, _ = simulator.step(state, segment.actions[t].astype(np.float64))
    assert twin.steps[0].joints_off == 0.0
    assert len(twin_of(bag, checkpoint, steps=2).steps) == 3


def test_numbers_are_those_of_the_frames(bag: Path, checkpoint: Path) -> None:
    twin = twin_of(bag, checkpoint)
    rows = twin.rows(PictureMeasure())
    for row, step in zip(rows, twin.steps, strict=True):
        true, imagined = (side["top"].astype(float) for side in (step.true, step.imagined))
        rmse = float(np.sqrt(((true - imagined) ** 2).mean()))
        assert row["error"] == pytest.approx(rmse, rel=1e-5)
        assert row["psnr_db"] == pytest.approx(20 * np.log10(255 / rmse), abs=1e-4)
    assert [row["step"] for row in rows] == list(range(1, TICKS))


def test_a_step_without_a_command_after_it_is_refused(bag: Path) -> None:
    for step in (TICKS - 1, 99):
        with pytest.raises(BagError, match=f"no step {step} with a command"):
            recorded_truth(read_segment(bag), step)


def test_the_folder_has_video_table_numbers_and_views(
    bag: Path, checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "twin"
    assert command_line.main(words(bag, checkpoint, output)) == 0
    assert twins_in(output) == twins_in(tmp_path) == [output]
    numbers = read_numbers(output)
    rows = numbers["rows"]
    assert len(rows) == TICKS - 1 and not numbers["interrupted"]
    assert numbers["recorded_on"] == "standin (stand-in)"
    with av.open(str(output / VIDEO)) as video:
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert video.streams.video[0].codec_context.name == "h264"
    assert len(pictures) == len(rows)
    with (output / TABLE).open() as file:
        assert [float(row["psnr_db"]) for row in csv.DictReader(file)] == [
            row["psnr_db"] for row in rows
        ]
    views = np.asarray(Image.open(view_path(output, 2)))
    assert np.array_equal(views[:, :96], read_segment(bag).observations["top"][3])
    # The left third of the video's picture is the same frame, enlarged; the codec halves colours.
    left = Image.fromarray(pictures[2][22:310, :288]).resize((96, 96), Image.Resampling.BOX)
    shown, stored = (
        np.asarray(image.convert("L"), float).ravel()
        for image in (left, Image.fromarray(views[:, :96]))
    )
    assert np.corrcoef(shown, stored)[0, 1] > 0.95
    # Again, and shorter: only the views of the new run are left.
    assert command_line.main(words(bag, checkpoint, output, "--steps", "1")) == 0
    assert len(list((output / "views").iterdir())) == len(read_numbers(output)["rows"]) == 2


def test_an_interrupted_run_writes_what_there_is(
    bag: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> Callable[[Any], None]:
        def report(step: Any) -> None:
            if step.step == 3:
                raise KeyboardInterrupt

        return report

    monkeypatch.setattr(command_line, "_progress", interrupted)
    assert command_line.main(words(bag, checkpoint, tmp_path / "twin")) == 130
    numbers = json.loads((tmp_path / "twin" / NUMBERS).read_text())
    assert numbers["interrupted"] and len(numbers["rows"]) == 3


def test_the_stand_in_beside_the_shipped_world_model_stays_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "twin"
    assert command_line.main(["standin", "--steps", "8", "-o", str(output)]) == 0
    rows = read_numbers(output)["rows"]
    assert len(rows) == 9 and min(row["psnr_db"] for row in rows) > 30.0
    assert "PSNR, dB" in capsys.readouterr().out


@pytest.mark.parametrize(("truth", "reason"), [
    ("live", "is not a truth"), ("bag:/nowhere", "bag:PATH@STEP"), ("bag:/nowhere@1", "MCAP"),
])
def test_what_is_no_truth_is_refused(
    truth: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main([truth, "-o", str(tmp_path / "twin")]) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "twin").exists()


def test_a_video_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def pictures() -> Any:
        yield np.zeros((16, 16, 3), np.uint8)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_video(tmp_path / "a.mp4", pictures(), 10.0)
    assert list(tmp_path.iterdir()) == []
