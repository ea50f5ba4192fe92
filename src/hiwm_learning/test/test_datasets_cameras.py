"""Bags of several cameras become digests, segments, data sets and clips, each in its own size."""

from pathlib import Path

import numpy as np
import pytest

from hiwm_core.bag_digest import read_digest
from hiwm_core.bags import (
    Lineage,
    RecordedTopic,
    RecordingSession,
    audit_bag,
    read_segment,
    session_bags,
)
from hiwm_core.branch_store import BranchStore
from hiwm_core.contact_sheet import Row, Tile, contact_sheet
from hiwm_core.errors import ConfigError
from hiwm_learning.datasets import load_episodes
from hiwm_learning.datasets.build import build_dataset
from hiwm_learning.world_models.latent.clips import clips_of
from hiwm_learning.world_models.layered.model import planar_config
from hiwm_test_support.arms import two_arms
from hiwm_test_support.shipped import TASK
from hiwm_test_support.two_arm_bags import TwoArmWorld, shade

TICKS = 6
SHAPES = {"front": (48, 64, 3), "wrist": (41, 33, 3)}


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arms") / "session"
    session, now = RecordingSession(folder, Lineage(seed=5, session_id="session")), [100.0]

    def send(topic: RecordedTopic, raw: bytes) -> None:
        now[0] += 0.001
        session.receive(topic, raw, int(now[0] * 1e9), now[0])

    world = TwoArmWorld(send, lags_ns={"cameras/wrist/image_raw": 20_000_000})
    world.world_info()
    world.run(TICKS)
    session.close_all()
    (path,) = session_bags(folder)
    return path


def test_a_segment_has_every_camera_and_the_arrays_of_the_embodiment(bag: Path) -> None:
    assert audit_bag(bag).ok, audit_bag(bag).problems
    segment = read_segment(bag)
    for camera, shape in SHAPES.items():
        frames = segment.observations[camera]
        assert frames.shape == (TICKS, *shape)
        assert [frame[0, 0, 0] for frame in frames] == [shade(camera, t) for t in range(TICKS)]
    assert segment.proprio.shape == (TICKS, 16) and segment.actions.shape == (TICKS, 14)


def test_a_digest_shows_the_embodiments_first_camera(bag: Path) -> None:
    # Every image of the second camera was recorded before that of the first.
    digest = read_digest(bag)
    for t, tick in enumerate(digest.ticks):
        picture = digest.frame(tick)
        assert picture is not None and picture.shape == SHAPES["front"]
        assert (picture == shade("front", t)).all()


def test_a_contact_sheet_keeps_the_aspect_ratio() -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 255
    row = Row(
        name="b", lines=(), verdict="",
        tiles=(Tile(frame=red, source=1, step=0, trust=1.0),), sources=(1,),
    )
    drawn = (np.asarray(contact_sheet("session", [row])) == (255, 0, 0)).all(-1)
    height, width = drawn.any(1).sum(), drawn.any(0).sum()
    assert width == 112 and height == 84


def test_a_data_set_stores_every_camera_in_its_size(bag: Path, tmp_path: Path) -> None:
    session = bag.parent.parent
    with BranchStore(session / "tree.sqlite"):
        pass
    build_dataset([session], tmp_path / "set.zarr")
    episodes = load_episodes(tmp_path / "set.zarr")
    for camera, shape in SHAPES.items():
        assert episodes.images[camera].shape[1:] == shape
        assert episodes.images[camera][2, 0, 0, 0] == shade(camera, 2)


def test_clips_hold_every_camera_in_the_size_of_the_model(bag: Path) -> None:
    segment = read_segment(bag)
    clips = clips_of([("arms", segment)], tuple(SHAPES), TASK, (48, 64))
    assert clips.frames.shape == (TICKS, 2, 48, 64, 3)
    for number, camera in enumerate(SHAPES):
        assert (clips.frames[3, number] == shade(camera, 3)).all()
    assert [view.shape for view in clips.starts[0].frames] == list(SHAPES.values())


def test_the_layered_world_model_refuses_several_cameras() -> None:
    with pytest.raises(ConfigError, match="draws one camera, not front, wrist.*--family latent"):
        planar_config(two_arms())
