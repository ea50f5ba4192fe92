"""All training refuses segments of different control periods, or resamples them."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hiwm_core.bags import Lineage, RecordingSession, session_bags
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError, CheckpointError, ConfigError
from hiwm_learning.datasets import load_episodes
from hiwm_learning.datasets.build import build_dataset, main
from hiwm_learning.policies.command import BACKBONES
from hiwm_learning.policies.trainer import PolicyTrainer
from hiwm_learning.world_models.latent.clips import read_clips
from hiwm_learning.world_models.latent.subset import Subset
from hiwm_learning.world_models.recordings import read_recordings
from hiwm_test_support.bags import RecordedWorld
from hiwm_test_support.shipped import TASK

EMBODIMENT = load_embodiment("planar_bimanual")


def record(folder: Path, bags: int, **world: Any) -> Path:
    """Record segments of 31 ticks through the recorder's own session."""
    session = RecordingSession(folder, Lineage())
    now = 100.0

    def send(topic: Any, raw: bytes) -> None:
        nonlocal now
        now += 0.001
        session.receive(topic, raw, int(now * 1e9), now)

    source = RecordedWorld(send, **{"kind": "hardware", "rate": 10.0, **world})
    source.world_info()
    for number in range(bags):
        source.begin_branch(f"ep_0001-b{number:03d}", 0)
        source.run(31, source=3)
    session.close_all()
    return folder


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data") / "ten", 10)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data") / "five", 1, rate=5.0, tick_ns=200_000_000)


def test_a_bag_carries_its_period_commanded_and_measured(ten: Path, five: Path) -> None:
    for folder, period in ((ten, 0.1), (five, 0.2)):
        bag = session_bags(folder)[0]
        text = (bag / "metadata.yaml").read_text()
        assert f"hiwm.period_s: '{period}'" in text
        assert f"hiwm.measured_period_s: '{period}'" in text


def test_mixing_is_refused_with_bags_and_periods_named(
    ten: Path, five: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "set.zarr"
    assert main([str(ten), str(five), "-o", str(output)]) == 1
    error = capsys.readouterr().err
    for part in (str(ten), str(five), "0.100 s (10 Hz)", "0.200 s (5 Hz)", "--resample-to 5"):
        assert part in error, error
    assert not output.exists()
    for read in (
        lambda: read_recordings([ten, five], ["top"], EMBODIMENT, TASK, lambda _: None),
        lambda: read_clips([ten, five], ("top",), EMBODIMENT, TASK, lambda _: None),
    ):
        with pytest.raises(BagError, match="--resample-to 5"):
            read()


def test_a_robot_slower_than_commanded_is_refused_as_well(ten: Path, tmp_path: Path) -> None:
    slow = record(tmp_path / "slow", 1, tick_ns=130_000_000)
    with pytest.raises(BagError, match="measured 0.130 s"):
        build_dataset([ten, slow], tmp_path / "set.zarr", write=lambda _: None)
    # Frames cannot be invented, so the slowest segment limits the rate.
    with pytest.raises(BagError, match="too few frames for 10 Hz"):
        build_dataset([ten, slow], tmp_path / "set.zarr", resample_hz=10.0, write=lambda _: None)


def test_resampled_segments_mix_and_the_set_reports_it(
    ten: Path, five: Path, tmp_path: Path
) -> None:
    output = tmp_path / "set.zarr"
    assert main([str(ten), str(five), "-o", str(output), "--resample-to", "5"]) == 0
    episodes = load_episodes(output)
    assert {info.period_s for info in episodes.infos} == {0.2}
    assert (episodes.period_s, episodes.measured_period_s) == (0.2, 0.2)
    lengths = np.diff(np.r_[0, episodes.ends])
    assert sorted(lengths.tolist()) == [16] * 10 + [31]
    # Provenance is that of the recorded steps.
    assert episodes.summary()["frames_by_provenance"] == {"demonstration": 10 * 15 + 30, "none": 11}
    recordings = read_recordings([ten, five], ["top"], EMBODIMENT, TASK, lambda _: None, 5.0)
    assert {recording.period_s for recording in recordings} == {0.2}
    trained, held_out = read_clips([ten, five], ("top",), EMBODIMENT, TASK, lambda _: None, 5.0)
    assert trained.summary["period_s"] == held_out.summary["period_s"] == 0.2
    assert trained.summary["worlds"] == ["standin (stand-in)"]


def test_a_few_first_bags_are_enough_to_train_and_hold_out(five: Path, tmp_path: Path) -> None:
    three = record(tmp_path / "three", 3)
    said: list[str] = []
    trained, held_out = read_clips([three], ("top",), EMBODIMENT, TASK, said.append)
    assert (trained.summary["episodes"], held_out.summary["episodes"]) == (2, 1)
    assert "held out only ep_0001-b002: there are few segments" in said
    with pytest.raises(BagError, match="record at least two"):
        read_clips([five], ("top",), EMBODIMENT, TASK, said.append)


def test_clips_on_disk_are_those_in_memory(ten: Path, tmp_path: Path) -> None:
    three = record(tmp_path / "three", 3)
    for folder in (ten, three):
        read = partial(read_clips, [folder], ("top",), EMBODIMENT, TASK, lambda _: None)
        for there, here in zip(read(on_disk=tmp_path), read(), strict=True):
            for name in ("frames", "proprioception", "actions", "first", "last"):
                torch.testing.assert_close(
                    getattr(there, name), getattr(here, name), rtol=0, atol=0, equal_nan=True
                )
            assert [start.name for start in there.starts] == [start.name for start in here.starts]
            assert all(
                (one.frames[0] == other.frames[0]).all()
                for one, other in zip(there.starts, here.starts, strict=True)
            )
    assert [path.name for path in tmp_path.iterdir()] == ["three"]  # the files have no names
    subset = Subset(frames=10, shares={}, seed=0)
    with pytest.raises(ConfigError, match="a subset with --stream"):
        read_clips([ten], ("top",), EMBODIMENT, TASK, print, subset=subset, on_disk=tmp_path)


def test_a_policy_starts_only_from_one_of_the_same_period(
    ten: Path, five: Path, tmp_path: Path
) -> None:
    config = BACKBONES["diffusion"].config.for_embodiment(
        EMBODIMENT, encoder_width=8, keypoints=4, features=16, denoiser_width=16,
        denoiser_blocks=1,
    )

    def trainer(name: str, folder: Path, start: Path | None) -> PolicyTrainer:
        build_dataset([folder], tmp_path / f"{name}.zarr", write=lambda _: None)
        episodes = load_episodes(tmp_path / f"{name}.zarr")
        return PolicyTrainer(
            episodes, config, weights=np.ones(len(episodes.steps), np.float32), data={}, seed=0,
            output=tmp_path / f"{name}.safetensors", name=name, start_from=start,
        )

    first = trainer("ten", ten, None)
    first.export(1, 1.0, {})
    card = (tmp_path / "ten.card.md").read_text()
    assert "| Control period | 0.100 s, measured 0.100 s |" in card
    assert "| Recorded on | standin (stand-in) |" in card
    with pytest.raises(CheckpointError, match="--resample-to 10"):
        trainer("five", five, tmp_path / "ten.safetensors")


def test_one_recording_of_the_robot_only_is_enough(tmp_path: Path) -> None:
    one = record(tmp_path / "one", 1)
    with pytest.raises(BagError, match="too few segments"):
        read_clips([one], ("top",), EMBODIMENT, TASK, lambda _: None)
    clips, same = read_clips([one], ("top",), EMBODIMENT, TASK, lambda _: None, hold_out=False)
    assert same is clips and len(clips) > 10
    streamed, _ = read_clips(
        [one], ("top",), EMBODIMENT, TASK, lambda _: None, on_disk=tmp_path, hold_out=False
    )
    assert torch.equal(streamed.frames, clips.frames)
