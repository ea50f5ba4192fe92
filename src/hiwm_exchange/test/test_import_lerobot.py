"""Imports of LeRobot sets and IWS files: equal arrays, and clear errors for bad input."""

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hiwm_core.bags import read_segment
from hiwm_core.control import Source
from hiwm_core.episode_labels import (
    EpisodeLabel,
    fingerprint,
    read_bag_label,
    write_bag_label,
)
from hiwm_exchange import export_lerobot
from hiwm_exchange.import_lerobot import main
from hiwm_exchange.lerobot.video import VideoWriter
from hiwm_learning.datasets import load_episodes
from hiwm_learning.datasets.build import build_dataset
from hiwm_test_support.exchange_data import demonstrations, forked, record
from hiwm_test_support.shipped import TASK

CAMERA = "observation.images.top"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a data set of each version, and their session."""
    folder = tmp_path_factory.mktemp("exported")
    session = record(folder / "session", forked())
    for version in ("v3.0", "v2.1"):
        assert export_lerobot.main([
            str(session), "-o", str(folder / version), "--format", version, "--without-tree"
        ]) == 0
    return {"session": session, "v3.0": folder / "v3.0", "v2.1": folder / "v2.1"}


@pytest.fixture
def theirs(exported: dict[str, Path], tmp_path: Path) -> Path:
    """Return a set as others have it: without our columns and description; to be changed."""
    folder = tmp_path / "theirs"
    source = exported["v3.0"]
    for file in source.rglob("*"):
        if file.is_file() and file.name not in ("hiwm.json", ".hiwm_folder"):
            target = folder / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    change_info(folder, lambda info: info["features"].update({
        name: None for name in list(info["features"]) if name.startswith(("hiwm.", "interv"))
    }))
    table = folder / "data/chunk-000/file-000.parquet"
    kept = pq.read_table(table)
    pq.write_table(kept.drop_columns(
        [name for name in kept.column_names if name.startswith(("hiwm.", "interv"))]
    ), table)
    return folder


def change_info(folder: Path, change: object) -> None:
    """Change info.json; features that become None are removed."""
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)  # type: ignore[operator]
    info["features"] = {name: one for name, one in info["features"].items() if one}
    path.write_text(json.dumps(info))


def change_column(folder: Path, name: str, change: object) -> None:
    """Change a column of the table."""
    path = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    values = np.array(table[name].to_pylist(), np.float32)
    change(values)  # type: ignore[operator]
    column = pa.array(values.tolist(), table.schema.field(name).type)
    pq.write_table(table.set_column(table.column_names.index(name), name, column), path)


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_an_export_comes_back_with_the_same_arrays(
    exported: dict[str, Path], tmp_path: Path, version: str
) -> None:
    assert main([str(exported[version]), "-o", str(tmp_path / "back")]) == 0
    bags = sorted((tmp_path / "back/bags").iterdir())
    assert len(bags) == 3
    for bag, given in zip(bags, forked(), strict=True):
        read = read_segment(bag)
        for name in ("proprio", "measured", "actions", "source", "applied_source", "trust",
                     "progress", "success"):
            assert np.array_equal(getattr(read, name), getattr(given, name), equal_nan=True), name
        error = read.observations["top"].astype(float) - given.observations["top"]
        assert 10 * np.log10(255**2 / (error**2).mean()) > 32
        assert read.lineage.world == "imagination" and read.lineage.task == TASK.name
        assert json.loads((bag / "audit.json").read_text())["ok"]
    build_dataset([tmp_path / "back"], tmp_path / "set.zarr", write=lambda line: None)
    assert load_episodes(tmp_path / "set.zarr").summary()["frames"] == 39


def test_labels_come_back(tmp_path: Path) -> None:
    session = demonstrations(tmp_path / "session", 1)
    bag = next((session / "bags").iterdir())
    write_bag_label(bag, EpisodeLabel(label="failure"), seen=fingerprint(bag))
    export_lerobot.main([str(session), "-o", str(tmp_path / "set")])
    assert main([str(tmp_path / "set"), "-o", str(tmp_path / "back")]) == 0
    label = read_bag_label(next((tmp_path / "back/bags").iterdir()))
    assert label is not None and label.label == "failure"


def test_a_mapping_renames_scales_and_takes_the_next_state(theirs: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(
        "embodiment: planar_bimanual\n"
        f"cameras: {{top: {CAMERA}}}\n"
        "proprioception:\n"
        "  left_x: left_y\n"
        "  left_y: {at: 0, scale: -1.0, offset: 0.05}\n"
        "actions_from: next_state\n"
    )
    assert main([
        str(theirs), "-o", str(tmp_path / "back"), "--mapping", str(mapping), "--robot", "arm"
    ]) == 0
    read = read_segment(sorted((tmp_path / "back/bags").iterdir())[0])
    given = forked()[0]
    assert np.allclose(read.proprio[:, 0], given.proprio[:, 1])
    assert np.allclose(read.proprio[:, 1], 0.05 - given.proprio[:, 0])
    assert np.array_equal(read.actions[:-1], read.measured[1:])
    assert read.device[0] == "next measured state"
    assert set(read.source[:-1]) == {Source.DEMONSTRATION}
    assert (read.lineage.world, read.lineage.robot) == ("hardware", "arm")


def test_episodes_are_resampled_to_the_control_period(theirs: Path, tmp_path: Path) -> None:
    change_info(theirs, lambda info: info.update(fps=20))
    change_column(theirs, "timestamp", lambda values: values.__imul__(0.5))
    episodes = theirs / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(episodes).to_pylist()
    for line in table:
        line[f"videos/{CAMERA}/from_timestamp"] /= 2
    pq.write_table(pa.Table.from_pylist(table), episodes)
    video = next(theirs.rglob("*.mp4"))
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    video.unlink()
    writer = VideoWriter(
        video, fps=20, width=96, height=96, codec="h264", pix_fmt="yuv420p"
    )
    writer.append(np.stack(frames))
    writer.close()
    assert main([
        str(theirs), "-o", str(tmp_path / "back"), "--embodiment", "planar_bimanual"
    ]) == 0
    read = read_segment(sorted((tmp_path / "back/bags").iterdir())[0])
    assert read.length == 11 and read.lineage.period_s == 0.1
    assert np.allclose(np.diff(read.stamps_ns), 1e8)
    assert np.allclose(read.proprio, forked()[0].proprio[::2], atol=1e-6)


@pytest.mark.parametrize(("damage", "words"), [
    ("version", ("codebase_version", "v1.6", "lerobot's own script")),
    ("no info", ("meta/info.json", "meta/info.json")),
    ("video", (".mp4", "missing", "git lfs pull")),
    ("pointer", (".mp4", "cannot be decoded", "git lfs pull")),
    ("table", ("file-000.parquet", "missing")),
    ("episodes", ("meta/episodes", "cannot be read", "git lfs pull")),
    ("tasks", ("meta/tasks.parquet", "cannot be read", "git lfs pull")),
    ("periods", ("timestamp", "unequal periods", "frame 3")),
    ("limits", ("action", "outside -0.18 to 0.18", "frame 2", "--clip")),
    ("nan", ("observation.state", "left_y is nan at frame 4")),
    ("names", ("left_x", "no entry named", "place")),
])
def test_bad_input_is_named_with_its_field_and_remedy(
    theirs: Path, tmp_path: Path, damage: str, words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    video = next(theirs.rglob("*.mp4"))
    if damage == "version":
        change_info(theirs, lambda info: info.update(codebase_version="v1.6"))
    elif damage == "no info":
        (theirs / "meta/info.json").unlink()
    elif damage == "video":
        video.unlink()
    elif damage == "pointer":
        video.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif damage in ("episodes", "tasks"):
        (table,) = (theirs / "meta").rglob("*000.parquet" if damage == "episodes" else "tasks.*")
        table.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif damage == "table":
        (theirs / "data/chunk-000/file-000.parquet").unlink()
    elif damage == "periods":
        change_column(theirs, "timestamp", lambda values: values.__setitem__(3, 0.34))
    elif damage == "limits":
        change_column(theirs, "action", lambda values: values.__setitem__((2, 0), 0.5))
    elif damage == "nan":
        change_column(
            theirs, "observation.state", lambda values: values.__setitem__((4, 1), np.nan)
        )
    else:
        change_info(theirs, lambda info: info["features"]["observation.state"].update(names=None))
    output = tmp_path / "back"
    arguments = [str(theirs), "-o", str(output), "--embodiment", "planar_bimanual"]
    assert main([*arguments, "--strict"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and all(word in error for word in words), error
    assert not output.exists(), "an import that fails leaves nothing"
    if damage == "limits":
        assert main([*arguments, "--clip"]) == 0
        first = read_segment(sorted((output / "bags").iterdir())[0])
        assert first.actions[2, 0] == np.float32(0.18)


@pytest.mark.parametrize(("column", "place", "value", "words"), [
    ("observation.state", (4, 1), np.nan, "left_y is nan at frame 4"),
    ("action", (2, 0), 0.5, "outside -0.18 to 0.18; 1 frames are"),
])
def test_a_bad_episode_is_left_out_named_and_counted(
    theirs: Path, tmp_path: Path, column: str, place: tuple[int, int], value: float, words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change_column(theirs, column, lambda values: values.__setitem__(place, value))
    arguments = [str(theirs), "-o", str(tmp_path / "back"), "--embodiment", "planar_bimanual"]
    assert main(arguments) == 3
    said = capsys.readouterr()
    assert "left out episode 0: " in said.out and words in said.out
    assert "1 left out;" in said.err
    assert len(list((tmp_path / "back/bags").iterdir())) == 2
    # Without a good one there is no session.
    change_column(theirs, column, lambda values: values.fill(value))
    assert main([*arguments[:2], str(tmp_path / "none"), *arguments[3:]]) == 1
    assert "episode 0" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_an_import_overwrites_nothing(
    exported: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(exported["v3.0"]), "-o", str(tmp_path / "back")]
    assert main(arguments) == 0
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == 1
    assert "left unchanged" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_set_of_others_needs_a_mapping_or_an_embodiment(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(theirs), "-o", str(tmp_path / "back")]) == 1
    assert "--mapping" in capsys.readouterr().err


def test_iws_episodes_are_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is an optional dependency")
    given = forked()[0]
    length = given.length
    with h5py.File(tmp_path / "episode_0.hdf5", "w") as file:
        file["timestamp"] = 5.0 + np.arange(length) * 0.1
        file["action"] = np.nan_to_num(given.actions, nan=0.01)
        file["obs/joint_pos"] = given.proprio
        file["obs/images/camera_0_color"] = given.observations["top"].repeat(2, 1).repeat(2, 2)
    mapping = tmp_path / "mapping.yaml"
    entries = "".join(
        f"  {entry.name}: {i}\n" for i, entry in enumerate(given.embodiment.actions)
    )
    mapping.write_text(
        "embodiment: planar_bimanual\nstate: obs/joint_pos\naction: action\n"
        f"cameras: {{top: obs/images/camera_0_color}}\nproprioception:\n{entries}"
        f"actions:\n{entries}"
    )
    assert main([
        str(tmp_path / "episode_0.hdf5"), "-o", str(tmp_path / "back"), "--mapping", str(mapping)
    ]) == 0
    read = read_segment(next((tmp_path / "back/bags").iterdir()))
    assert np.array_equal(read.proprio, given.proprio)
    assert np.array_equal(read.actions, given.actions, equal_nan=True)
    assert np.array_equal(read.observations["top"], given.observations["top"])
    assert read.lineage.world == "hardware"
