"""The evaluation from end to end, on a drawn model and recordings it drew itself."""

import json
from pathlib import Path

import pytest

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.tasks import load_task
from hiwm_learning.world_models.evaluation import evaluate, latency, open_loop
from hiwm_learning.world_models.evaluation.curves import draw_curves
from hiwm_learning.world_models.evaluation.evaluate import main, read_floor
from hiwm_learning.world_models.evaluation.open_loop import Evaluation
from hiwm_learning.world_models.evaluation.picture_measure import PictureMeasure
from hiwm_learning.world_models.evaluation.report import card_numbers, markdown
from hiwm_learning.world_models.evaluation.rollouts import held_out_starts
from hiwm_learning.world_models.latent.simulator import LatentSimulator
from hiwm_learning.world_models.layered.simulator import Simulator
from hiwm_test_support.latent_worlds import untrained_world
from hiwm_test_support.layered_worlds import (
    drawn_recording,
    drawn_world_model,
    write_drawn_checkpoint,
)

TASK = load_task(default_task())
EMBODIMENT = load_embodiment(TASK.embodiment)
MEASURE = TASK.stand_in().frame_measure(EMBODIMENT, EMBODIMENT.cameras[0].name)
assert MEASURE is not None


def test_an_evaluation_measures_writes_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_loop, "LATENCY_REPEATS", 4)
    monkeypatch.setattr(latency, "BATCHES", (1, 2))
    monkeypatch.setattr(open_loop, "IDLE_STEPS", 3)
    model = drawn_world_model(EMBODIMENT)
    recordings = [drawn_recording(model, name, 53, seed=k) for k, name in enumerate("ab")]
    starts = held_out_starts(recordings, 2, seed=0)
    evaluation = Evaluation(
        Simulator(model, EMBODIMENT), MEASURE, TASK, recordings, starts, lambda _: None
    )
    numbers, sheet = evaluation.measure()
    # What the model itself drew, it registers and draws again all but exactly.
    one = numbers["horizons"]["1"]
    assert one["n"] == 2
    assert one["bound"]["psnr_db"] > 35 and one["bound"]["place_median_T"] < 0.01
    assert one["copy"]["place_median_T"] < 0.01
    # The T rests throughout, so that no rollout counts later on, and none is missed.
    assert numbers["horizons"]["10"] == {"n": 0} and numbers["horizons"]["190"] == {"n": 0}
    assert numbers["divergence"]["copy"]["never_share"] == 1.0
    assert numbers["heads"]["held_out_frames"]["n"] == 106
    assert numbers["heads"]["last_imagined_frames"]["positives"] == 0
    assert set(numbers["latency"]) == {"1", "2"}
    assert numbers["all_starts"]["10"]["n"] == 2
    assert numbers["all_starts"]["10"]["imagined"]["proprioception_median"]["m"] < 0.05
    assert numbers["replays"]["frames"]["agree_share"] == 1.0  # the T rests: no success anywhere
    numbers["floor"] = None
    text = json.dumps(numbers, allow_nan=False)
    assert "| rollouts counted | 2 | 0 |" in markdown(json.loads(text))
    assert "100 idle steps" in card_numbers(numbers)
    picture = tmp_path / "curves.png"
    draw_curves(numbers, None, picture)
    assert picture.stat().st_size > 1000
    assert sheet == []  # the T goes nowhere


def test_a_latent_model_is_measured_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task's own measure is not needed: only pixels are compared."""
    monkeypatch.setattr(open_loop, "LATENCY_REPEATS", 2)
    monkeypatch.setattr(latency, "BATCHES", (1, 2))
    monkeypatch.setattr(open_loop, "IDLE_STEPS", 2)
    monkeypatch.setattr(open_loop, "HORIZONS", (1, 2))
    monkeypatch.setattr(open_loop, "ACTION_HORIZONS", (1, 2))
    drawn = drawn_world_model(EMBODIMENT)
    recordings = [drawn_recording(drawn, name, 53, seed=k) for k, name in enumerate("ab")]
    evaluation = Evaluation(
        LatentSimulator(untrained_world(EMBODIMENT), EMBODIMENT),
        PictureMeasure(), TASK, recordings, held_out_starts(recordings, 2, seed=0), lambda _: None,
    )
    numbers, _ = evaluation.measure()
    assert numbers["horizons"]["1"]["imagined"]["rmse_median"] > 20
    assert numbers["horizons"]["1"]["copy"]["psnr_db"] > 25
    json.dumps(numbers, allow_nan=False)


def test_episodes_shorter_than_the_usual_horizons_are_measured_as_far_as_they_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_loop, "LATENCY_REPEATS", 2)
    monkeypatch.setattr(latency, "BATCHES", (1,))
    monkeypatch.setattr(open_loop, "IDLE_STEPS", 2)
    model = drawn_world_model(EMBODIMENT)
    recordings = [
        drawn_recording(model, name, count, seed=k)
        for k, (name, count) in enumerate((("a", 37), ("b", 22)))
    ]
    starts = held_out_starts(recordings, 9, seed=0)
    evaluation = Evaluation(
        Simulator(model, EMBODIMENT), MEASURE, TASK, recordings, starts, lambda _: None
    )
    numbers, _ = evaluation.measure()
    assert numbers["all_starts"]["10"]["n"] == 3 and numbers["all_starts"]["25"]["n"] == 1
    assert numbers["all_starts"]["50"] == {"n": 0}
    assert numbers["replays"]["n"] == 2
    numbers["floor"] = None
    assert "| rollouts, all starts | 3 | 3 | 1 | 0 |" in markdown(
        json.loads(json.dumps(numbers, allow_nan=False))
    )


def test_all_of_data_that_the_model_has_not_seen_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(open_loop, "LATENCY_REPEATS", 2)
    monkeypatch.setattr(latency, "BATCHES", (1,))
    monkeypatch.setattr(open_loop, "IDLE_STEPS", 2)
    checkpoint = write_drawn_checkpoint(tmp_path)
    model = drawn_world_model(EMBODIMENT)
    recording = drawn_recording(model, "a", 62, seed=1, held_out=False)
    monkeypatch.setattr(evaluate, "read_recordings", lambda *_: [recording])
    monkeypatch.setattr(evaluate, "task_of", lambda *_: (TASK, EMBODIMENT))
    words = [str(checkpoint), str(tmp_path / "data"), "--starts", "2"]
    assert main(words) == 1
    assert "--unseen" in capsys.readouterr().err
    assert main([*words, "--unseen"]) == 0
    numbers = json.loads((tmp_path / f"{checkpoint.stem}.evaluation.json").read_text())
    assert numbers["unseen"] and numbers["held_out_recordings"] == 1
    card = checkpoint.with_suffix(".card.md").read_text()
    assert "1 bags recorded for this; none was in the training set" in card


def test_a_floor_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "floor.json"
    for text in ("{", "[]", '{"steps": 3}'):
        path.write_text(text)
        with pytest.raises(ConfigError, match="standin_floor"):
            read_floor(path)
    path.write_text('{"steps": {"1": {"n": 3}}}')
    assert read_floor(path)["steps"]["1"]["n"] == 3


def test_folders_without_bags_end_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_drawn_checkpoint(tmp_path)
    (tmp_path / "nothing").mkdir()
    assert main([str(checkpoint), str(tmp_path / "nothing")]) == 1
    assert "collect_data" in capsys.readouterr().err
