"""What export_lerobot writes, read back by the specification."""

import json
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from hiwm_core.control import Source
from hiwm_core.errors import BagError, ConfigError, StoreError
from hiwm_core.output_folders import claim_folder
from hiwm_exchange import export_lerobot
from hiwm_exchange.export_lerobot import WHAT, export, main
from hiwm_exchange.lerobot import writer as writer_module
from hiwm_exchange.lerobot.journals import JOURNAL_FOLDER, Journals
from hiwm_exchange.sources import BagSource, Exported
from hiwm_learning.datasets.session_trees import SessionTree, SessionTrees
from hiwm_test_support.exchange_data import (
    SpecificationReader,
    at_period,
    demonstrations,
    forked,
    record,
    segment,
)
from hiwm_test_support.shipped import TASK

CAMERA = "observation.images.top"


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Return the signal to noise ratio of images, dB."""
    return float(10 * np.log10(255**2 / ((one.astype(float) - other.astype(float)) ** 2).mean()))


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_a_session_is_read_back_by_the_specification(tmp_path: Path, version: str) -> None:
    segments = forked()
    session = record(tmp_path / "session", segments)
    output = tmp_path / "set"
    assert main([str(session), "-o", str(output), "--format", version, "--without-tree"]) == 0
    read = SpecificationReader(output)
    assert read.info["codebase_version"] == version
    assert (read.info["total_episodes"], read.info["total_frames"], read.info["fps"]) == (3, 39, 10)
    assert read.tasks == [TASK.instruction]
    at = 0
    for number, given in enumerate(segments):
        rows = read.rows(number)
        assert read.episodes[number]["length"] == given.length
        assert np.array_equal(np.array(rows["observation.state"], np.float32), given.proprio)
        assert np.array_equal(np.array(rows["action"], np.float32)[:-1], given.actions[:-1])
        assert rows["action"][-1] == rows["action"][-2], "the arms hold still at the end"
        assert rows["hiwm.action_known"] == [True] * (given.length - 1) + [False]
        assert rows["intervention"] == [one == Source.HUMAN for one in given.source]
        assert rows["hiwm.branch"] == [given.lineage.branch_id] * given.length
        assert rows["hiwm.parent"][0] == given.lineage.parent_branch_id
        assert rows["hiwm.fork_step"][0] == given.lineage.fork_step
        assert rows["hiwm.step"] == given.steps.tolist()
        assert np.allclose(rows["hiwm.trust"], given.trust)
        assert rows["index"] == list(range(at, at + given.length))
        assert np.allclose(rows["timestamp"], np.arange(given.length) / 10, atol=1e-6)
        assert psnr(read.images(number, CAMERA), given.observations["top"]) > 32
        at += given.length
    assert read.rows(1)["hiwm.provenance"][:6] == ["human"] * 6
    mean = np.concatenate([one.proprio for one in segments]).mean(axis=0)
    assert np.allclose(read.stats["observation.state"]["mean"], mean, atol=1e-6)
    pixels = np.concatenate([one.observations["top"] for one in segments]) / 255
    assert np.allclose(
        np.array(read.stats[CAMERA]["mean"]).ravel(), pixels.mean(axis=(0, 1, 2)), atol=1e-6
    )
    assert ("q99" in read.stats["action"]) == (version == "v3.0")


def test_one_episode_for_each_path_from_root_to_leaf(tmp_path: Path) -> None:
    session = record(tmp_path / "session", forked())
    assert main([
        str(session), "-o", str(tmp_path / "set"), "--episodes-per", "path", "--without-tree"
    ]) == 0
    read = SpecificationReader(tmp_path / "set")
    assert [episode["length"] for episode in read.episodes] == [12 + 9] * 2
    for number, leaf in enumerate(("ep_0001-b001", "ep_0001-b002")):
        rows = read.rows(number)
        assert rows["hiwm.step"] == list(range(21))
        assert rows["hiwm.branch"] == ["ep_0001-b000"] * 12 + [leaf] * 9
        assert rows["hiwm.action_known"] == [True] * 20 + [False]
        assert rows["intervention"] == [False] * 12 + [True] * 6 + [False] * 3


def test_a_discarded_branch_gives_its_steps_to_a_kept_correction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = record(tmp_path / "session", forked())
    marks = SessionTree(discarded=frozenset(("ep_0001-b000", "ep_0001-b002")))
    monkeypatch.setattr(SessionTrees, "_read", lambda *_arguments: marks)
    arguments = [str(session), "-o", str(tmp_path / "set"), "--episodes-per", "path"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "left out ep_0001-b002_e0003: its branch was discarded" in said
    assert "b000" not in said
    read = SpecificationReader(tmp_path / "set")
    assert len(read.episodes) == 1
    assert read.rows(0)["hiwm.branch"] == ["ep_0001-b000"] * 12 + ["ep_0001-b001"] * 9
    assert read.rows(0)["hiwm.step"] == list(range(21))


def test_a_path_of_several_branches_is_resampled_as_one(tmp_path: Path) -> None:
    session = record(tmp_path / "session", forked())
    assert main([
        str(session), "-o", str(tmp_path / "set"), "--episodes-per", "path", "--without-tree",
        "--resample-to", "8",
    ]) == 0
    read = SpecificationReader(tmp_path / "set")
    at = np.arange(17) / 8 * 10  # in recorded steps; the path has 21
    for number, leaf in enumerate(("ep_0001-b001", "ep_0001-b002")):
        rows = read.rows(number)
        assert rows["hiwm.step"] == at.astype(int).tolist()
        assert rows["hiwm.branch"] == ["ep_0001-b000"] * 10 + [leaf] * 7
        assert rows["hiwm.action_known"] == [True] * 16 + [False]
        # Also at the seam, between steps 11 and 12, positions and targets lie on the motion.
        positions = np.array(rows["observation.state"])[:, 0]
        assert np.allclose(positions, at * 1e-3, atol=1e-6)
        assert np.allclose(
            np.array(rows["action"])[:-1, 0], (at[1:] - 1) * 1e-3 + 2e-3, atol=1e-6
        )


def test_a_path_with_missing_steps_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, corrected, _ = forked()
    late = segment(
        "ep_0001-b002", [Source.HUMAN] * 6, first_step=22, epoch=3, parent="ep_0001-b000",
        fork_step=22,
    )
    session = record(tmp_path / "session", [policy, late, corrected])
    assert main([
        str(session), "-o", str(tmp_path / "set"), "--episodes-per", "path", "--without-tree"
    ]) == 0
    assert "steps 21 to 21 before it are missing" in capsys.readouterr().out
    read = SpecificationReader(tmp_path / "set")
    assert [one["length"] for one in read.episodes] == [21]


@pytest.mark.parametrize("content", [b"", bytes(90), b"{}", b'{"episodes": [{"a": 1}]}'])
def test_a_damaged_journal_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / JOURNAL_FOLDER / "shard-000000.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match="export again") as caught:
        list(Journals(tmp_path).finished())
    assert str(path) in str(caught.value)


def test_a_cut_off_export_continues_and_ends_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = demonstrations(tmp_path / "session", 5)
    monkeypatch.setattr(writer_module.DatasetWriter.__init__, "__defaults__", (30,))

    def source() -> BagSource:
        return BagSource(
            [session], "segment", resample_hz=None, without_tree=False, write=lambda line: None
        )

    def cut_off(entry: int) -> Exported | None:
        if entry == 4:
            raise KeyboardInterrupt
        return whole.read(entry)

    for name in ("cut", "whole"):
        claim_folder(tmp_path / name, WHAT)
    whole, broken = source(), source()
    broken.read = cut_off  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        export(broken, tmp_path / "cut", write=lambda line: None)
    assert not (tmp_path / "cut/meta/info.json").exists(), "not yet a data set"
    said: list[str] = []
    assert export(source(), tmp_path / "cut", write=said.append) == 85
    assert said[0] == "continues after 4 episodes, 68 frames"
    assert export(source(), tmp_path / "whole", write=lambda line: None) == 85
    one, other = (SpecificationReader(tmp_path / name) for name in ("cut", "whole"))
    assert one.info == other.info and one.stats == other.stats
    for number in range(5):
        assert repr(one.rows(number)) == repr(other.rows(number)), "NaN included"
        assert np.array_equal(one.images(number, CAMERA), other.images(number, CAMERA))
    export(source(), tmp_path / "cut", write=said.append)
    assert said[-1].endswith("complete already")
    with pytest.raises(ConfigError, match="other bags or options"):
        export(source(), tmp_path / "cut", task="other", write=lambda line: None)


def test_a_set_like_another_has_exactly_its_features(tmp_path: Path) -> None:
    session = demonstrations(tmp_path / "session", 1)
    main([str(session), "-o", str(tmp_path / "theirs"), "--robot-type", "pair"])
    path = tmp_path / "theirs/meta/info.json"
    info = json.loads(path.read_text())
    for name in list(info["features"]):
        if name.startswith("hiwm.") or name == "intervention":
            del info["features"][name]
    front = info["features"].pop(CAMERA)
    front["shape"] = [48, 48, 3]
    info["features"]["observation.images.front"] = front
    names = info["features"]["action"]["names"]
    info["features"]["action"]["names"] = names[::-1]
    path.write_text(json.dumps(info))
    output = tmp_path / "like"
    assert main([
        str(session), "-o", str(output), "--like", str(tmp_path / "theirs"),
        "--camera", "top=observation.images.front",
    ]) == 0
    read = SpecificationReader(output)
    assert read.info["features"] == info["features"] and read.info["robot_type"] == "pair"
    rows = read.rows(0)
    assert set(rows) == set(info["features"]) - {"observation.images.front"}
    assert np.allclose(np.array(rows["action"][0])[::-1], np.arange(4) * 0.01 + 0.002)
    assert read.images(0, "observation.images.front").shape == (17, 48, 48, 3)
    beside = pq.read_table(output / "hiwm/chunk-000/file-000.parquet").to_pydict()
    assert beside["hiwm.provenance"][0] == "demonstration" and len(beside["index"]) == 17


def test_a_mapping_fills_a_set_of_other_names_units_and_axes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = demonstrations(tmp_path / "session", 1)
    theirs, mapping = tmp_path / "theirs", tmp_path / "mapping.yaml"
    main([str(session), "-o", str(theirs)])
    path = theirs / "meta/info.json"
    info = json.loads(path.read_text())
    info["features"] = {
        name: feature for name, feature in info["features"].items()
        if not name.startswith(("hiwm.", "intervention"))
    }
    info["features"][CAMERA] |= {
        "shape": [3, 36, 48], "names": ["channels", "height", "width"]
    }
    # Two of the names are ours, and they stand for another entry.
    names = {"motors": ["left_y", "left_x", "elbow.pos", "wrist.pos"]}
    info["features"]["action"]["names"] = names
    path.write_text(json.dumps(info))
    arguments = [str(session), "-o", str(tmp_path / "like"), "--like", str(theirs)]
    capsys.readouterr()
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "features.action.names" in error and "elbow.pos, wrist.pos" in error
    assert "--mapping" in error
    mapping.write_text(
        "embodiment: planar_bimanual\nactions:\n"
        "  left_x: {at: left_y, scale: 0.01, offset: 0.001}\n"
        "  left_y: left_x\n  right_x: 2\n"
    )
    assert main([*arguments, "--mapping", str(mapping)]) == 1
    assert f"correct {mapping}" in capsys.readouterr().err
    mapping.write_text(mapping.read_text() + "  right_y: wrist.pos\n")
    assert main([*arguments, "--mapping", str(mapping)]) == 0
    assert (
        "action: left_y = (left_x - 0.001) / 0.01 [m], left_x = left_y [m], elbow.pos = right_x "
        "[m], wrist.pos = right_y [m]"
    ) in capsys.readouterr().out
    read = SpecificationReader(tmp_path / "like")
    assert read.info["features"] == info["features"]
    assert np.allclose(read.rows(0)["action"][0], [(0.002 - 0.001) / 0.01, 0.012, 0.022, 0.032])
    assert np.allclose(read.rows(0)["observation.state"][0], np.arange(4) * 0.01)
    assert read.images(0, CAMERA).shape == (17, 36, 48, 3)


def test_another_set_that_cannot_be_filled_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = demonstrations(tmp_path / "session", 1)
    theirs = tmp_path / "theirs"
    main([str(session), "-o", str(theirs)])
    given = json.loads((theirs / "meta/info.json").read_text())
    for change, field, remedy in (
        ({"fps": 30}, "fps", "--resample-to 30"),
        ({"codebase_version": "v1.6"}, "codebase_version", "v3.0 and v2.1"),
        ({"features": given["features"] | {"next.reward": {"dtype": "float32", "shape": [1]}}},
         "features.next.reward", "--like"),
        ({"features": given["features"] | {"action": {"dtype": "float32", "shape": [7]}}},
         "features.action.shape", "embodiment"),
    ):
        features = {
            name: feature for name, feature in given["features"].items()
            if not name.startswith("hiwm.")
        }
        changed = given | {"features": features} | change
        if "features" in change:
            changed["features"] = {
                name: feature for name, feature in change["features"].items()
                if not name.startswith("hiwm.")
            }
        (theirs / "meta/info.json").write_text(json.dumps(changed))
        capsys.readouterr()
        assert main([str(session), "-o", str(tmp_path / "like"), "--like", str(theirs)]) == 1
        error = capsys.readouterr().err
        assert field in error and remedy in error, error


def test_a_rate_that_is_no_whole_number_is_refused() -> None:
    assert export_lerobot.whole_rate(0.1) == 10
    with pytest.raises(ConfigError, match=r"12\.50 frames/s.*--resample-to 12"):
        export_lerobot.whole_rate(0.08)


def test_bags_of_unequal_periods_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "session", [
        segment("ep_0001-b000", [3] * 15),
        at_period(segment("ep_0002-b000", [3] * 15, episode="ep_0002"), 0.05),
    ])
    assert main([str(tmp_path / "session"), "-o", str(tmp_path / "set")]) == 1
    assert "--resample-to" in capsys.readouterr().err
    assert not (tmp_path / "set/meta/info.json").exists()


@pytest.mark.parametrize(("error", "words"), [
    (OSError(28, "No space left on device"), "disk is full.*it continues"),
    (av.FFmpegError(-22, "bad size"), "video cannot be encoded.*--codec"),
])
def test_a_refused_write_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    session = demonstrations(tmp_path / "session", 1)
    source = BagSource(
        [session], "segment", resample_hz=None, without_tree=False, write=lambda line: None
    )
    claim_folder(tmp_path / "set", WHAT)

    def refused(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(writer_module, "table_of", refused)
    with pytest.raises(BagError, match=words):
        export(source, tmp_path / "set", write=lambda line: None)
