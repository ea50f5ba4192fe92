"""A training set contains the data of its bags, and reports the bags that were left out."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hiwm_core.bags import Lineage, Topic, audit_bag, open_bag, read_segment
from hiwm_core.bags.schema import recording_types
from hiwm_core.branch_store import BranchStore
from hiwm_core.control import Source
from hiwm_core.embodiment import load_embodiment, parse_embodiment
from hiwm_core.episode_labels import LABEL_FILE, EpisodeLabel, fingerprint, write_bag_label
from hiwm_core.errors import BagError, ConfigError
from hiwm_core.frames import observation_streams
from hiwm_core.session_lock import RECORDER, SessionLock
from hiwm_learning.datasets import build as build_module
from hiwm_learning.datasets import load_episodes, session_trees
from hiwm_learning.datasets.build import build_dataset
from hiwm_learning.world_models.recordings import read_recordings
from hiwm_test_support.robots import other_proprioception
from hiwm_test_support.shipped import TASK

EMBODIMENT = load_embodiment("planar_bimanual")
OTHER = parse_embodiment(EMBODIMENT.text.replace("[0.40, 0.40]", "[0.41, 0.40]"), "test")


def write_bag(
    session: Path, branch: str, sources: Sequence[int], *, first_step: int = 0,
    text: str = EMBODIMENT.text, frameless: int = -1, parent: str = "",
) -> Path:
    """Write a segment whose action t has sources[t]; one tick more than actions.

    The step `frameless` has no image.
    """
    types = recording_types()
    path = session / "bags" / branch
    path.parent.mkdir(parents=True, exist_ok=True)
    lineage = Lineage(
        session_id=session.name, episode_id="ep_0001", branch_id=branch, epoch=1, world="hardware",
        robot="standin", stand_in=True, embodiment="planar_bimanual", embodiment_yaml=text,
        task="toy_task", task_hash="abc", parent_branch_id=parent,
    )
    bag = open_bag(path, lineage.custom_data())
    kinds: dict[str, Any] = types.types
    for number in range(len(sources) + 1):
        step = first_step + number
        stamp = kinds["builtin_interfaces/msg/Time"](sec=1 + step // 10, nanosec=step % 10 * 10**8)
        header = kinds["std_msgs/msg/Header"](stamp=stamp, frame_id="table")
        pixels = np.full((96, 96, 3), step, np.uint8)
        messages = {
            "cameras/top/image_raw": kinds["sensor_msgs/msg/Image"](
                header=header, height=96, width=96, encoding="rgb8", is_bigendian=0, step=288,
                data=pixels.ravel(),
            ),
            "joint_states": kinds["sensor_msgs/msg/JointState"](
                header=header, name=list(EMBODIMENT.joint_names),
                position=np.arange(4) * 0.01 + step * 0.001, velocity=np.arange(4) * 0.1,
                effort=np.zeros(0),
            ),
            "tick": kinds["hiwm_interfaces/msg/Tick"](
                header=header, epoch=1, step=step, episode_id="ep_0001", branch_id=branch,
                started_from="", state_id="", trust=1.0, progress=float("nan"),
                success=float("nan"),
                applied_action=np.full(4, step * 0.001) if number else np.zeros(0),
                applied_source=sources[number - 1] if number else 0, applied_device="", sender="",
                applied_note="", streams=observation_streams(["top"]), stream_stamps=[stamp] * 2,
                control_period_s=0.0,
            ),
        }
        if step == frameless:
            del messages["cameras/top/image_raw"]
        for name, message in messages.items():
            kind = message.__msgtype__
            bag.write(
                Topic(name=f"/hiwm/{name}", message_type=kind),
                int(stamp.sec) * 10**9 + int(stamp.nanosec),
                bytes(types.serialize_cdr(message, kind)),
            )
    bag.close(lineage.custom_data())
    return path


def quiet(_line: str) -> None:
    pass


def unlabelled(branch: str) -> SimpleNamespace:
    """Return a branch as a tree's reader gives it."""
    return SimpleNamespace(branch_id=branch, label="", note="", labelled_by="", labelled_ns=0)


def test_a_label_beside_a_bag_is_used_unless_the_bag_has_changed(tmp_path: Path) -> None:
    for number in range(2):
        bag = write_bag(tmp_path / "one", f"ep_0001-b00{number}", [Source.DEMONSTRATION] * 3)
        write_bag_label(bag, EpisodeLabel(label="failure", who="anna"), seen=fingerprint(bag))
    stored = bag / LABEL_FILE
    stored.write_text(stored.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    said: list[str] = []
    before = session_trees.tree_state(tmp_path / "one")
    build_dataset([tmp_path / "one"], tmp_path / "set.zarr", write=said.append)
    labels = [info.label for info in load_episodes(tmp_path / "set.zarr").infos]
    assert labels == ["failure", ""]
    assert any("b001: without its label" in line and "changed" in line for line in said), said
    write_bag_label(bag, EpisodeLabel(label="success"), seen=fingerprint(bag))
    assert session_trees.tree_state(tmp_path / "one") != before


def test_a_bag_that_is_being_recorded_is_left_out(tmp_path: Path) -> None:
    write_bag(tmp_path / "one", "ep_0001-b000", [Source.POLICY] * 5)
    live = write_bag(tmp_path / "one", "ep_0001-b001", [Source.POLICY] * 5)
    (live / "metadata.yaml").unlink()
    with SessionLock(tmp_path / "one", RECORDER):
        [line] = build_dataset([tmp_path / "one"], tmp_path / "set.zarr", write=quiet)
    assert line.startswith(f"ep_0001-b001: being recorded by pid {os.getpid()} on ")
    assert len(load_episodes(tmp_path / "set.zarr").ends) == 1


def test_proprioception_with_other_entries_than_the_action_is_kept_beside_it(
    tmp_path: Path,
) -> None:
    """Velocities, another order and another length than the action's."""
    robot = other_proprioception(EMBODIMENT)
    bag = write_bag(tmp_path / "one", "ep_0001-b000", [Source.POLICY] * 5, text=robot.text)
    segment = read_segment(bag, robot)
    places = np.arange(4) * 0.01 + np.arange(6)[:, None] * 0.001
    np.testing.assert_allclose(segment.measured, places, rtol=1e-6)
    assert build_dataset([tmp_path / "one"], tmp_path / "set.zarr", write=quiet) == []
    episodes = load_episodes(tmp_path / "set.zarr")
    assert episodes.embodiment.hash == robot.hash
    expected = np.stack([np.tile([0.3, 0.2, 0.1, 0.0], (6, 1)), places[:, ::-1]], axis=2)
    np.testing.assert_allclose(episodes.proprio, expected.reshape(6, 8), rtol=1e-6)
    np.testing.assert_allclose(episodes.actions[:-1, 0], np.arange(1, 6) * 0.001, rtol=1e-6)


def test_a_set_contains_the_arrays_of_its_bags(tmp_path: Path) -> None:
    bags = [
        write_bag(tmp_path / "one", f"ep_0001-b00{k}", [Source.DEMONSTRATION] * length)
        for k, length in enumerate((5, 70, 3))
    ]
    assert build_dataset([tmp_path / "one"], tmp_path / "set.zarr", write=quiet) == []
    episodes = load_episodes(tmp_path / "set.zarr")
    assert episodes.embodiment.hash == EMBODIMENT.hash
    np.testing.assert_array_equal(episodes.ends, [6, 77, 81])
    for bag, start, end, info in zip(
        bags, episodes.starts, episodes.ends, episodes.infos, strict=True
    ):
        segment = read_segment(bag)
        np.testing.assert_array_equal(
            episodes.images["top"][start:end], segment.observations["top"]
        )
        np.testing.assert_array_equal(episodes.proprio[start:end], segment.proprio)
        np.testing.assert_array_equal(episodes.actions[start:end], segment.actions)
        np.testing.assert_array_equal(episodes.steps[start:end], segment.steps)
        assert (info.bag, info.world, info.stand_in, info.task) == (
            bag.name, "hardware", True, "toy_task"
        )
    summary = episodes.summary()
    assert (summary["episodes"], summary["frames"]) == (3, 81)
    assert summary["frames_by_provenance"] == {"demonstration": 78, "none": 3}
    assert summary["worlds"] == ["standin (stand-in)"]
    assert load_episodes(tmp_path / "set.zarr", cameras=()).images == {}


def test_provenance_marks_what_led_to_a_takeover(tmp_path: Path) -> None:
    sources = [Source.POLICY] * 20 + [Source.HUMAN] * 4 + [Source.HANDBACK] + [Source.POLICY] * 2
    write_bag(tmp_path / "one", "ep_0001-b000", sources)
    build_dataset([tmp_path / "one"], tmp_path / "set.zarr", write=quiet)
    episodes = load_episodes(tmp_path / "set.zarr")
    names = [episodes.provenance_names[code] for code in episodes.provenance]
    assert names == (
        ["policy"] * 5 + ["pre-intervention"] * 15 + ["human"] * 5 + ["policy"] * 2 + ["none"]
    )


def test_a_discarded_branch_is_left_out_and_the_tree_decides_provenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = tmp_path / "one"
    write_bag(session, "ep_0001-b000", [Source.POLICY] * 3)
    write_bag(session, "ep_0001-b001", [Source.HUMAN] * 3)
    (session / "tree.sqlite").touch()

    def node(branch: str, step: int, **marks: bool) -> SimpleNamespace:
        return SimpleNamespace(**{
            "node_id": f"{branch}:{step}", "parent_id": f"{branch}:{step - 1}" if step else "",
            "branch_id": branch, "source": Source.POLICY, "rolled_back": False,
            "discarded": False, "label": "", **marks,
        })

    class Reader:
        def __init__(self, path: Path) -> None:
            assert path == session / "tree.sqlite"

        def __enter__(self) -> "Reader":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def tree(self) -> list[SimpleNamespace]:
            return [node("ep_0001-b000", step, rolled_back=step > 1) for step in range(4)] + [
                node("ep_0001-b001", step, discarded=True) for step in range(4)
            ]

        def branches(self) -> list[SimpleNamespace]:
            return [unlabelled("ep_0001-b000"), unlabelled("ep_0001-b001")]

    monkeypatch.setattr(session_trees, "BranchReader", Reader)
    left_out = build_dataset([session], tmp_path / "set.zarr", write=quiet)
    assert len(left_out) == 1 and "ep_0001-b001" in left_out[0] and "discarded" in left_out[0]
    episodes = load_episodes(tmp_path / "set.zarr")
    names = [episodes.provenance_names[code] for code in episodes.provenance]
    assert names == ["policy", "rolled-back", "rolled-back", "none"]


def test_bags_of_two_embodiments_are_refused_with_both_named(tmp_path: Path) -> None:
    write_bag(tmp_path / "one", "ep_0001-b000", [Source.DEMONSTRATION] * 3)
    write_bag(tmp_path / "two", "ep_0001-b000", [Source.DEMONSTRATION] * 3, text=OTHER.text)
    with pytest.raises(BagError) as caught:
        build_dataset([tmp_path / "one", tmp_path / "two"], tmp_path / "set.zarr", write=quiet)
    assert EMBODIMENT.hash in str(caught.value)
    assert OTHER.hash in str(caught.value)
    assert not (tmp_path / "set.zarr").exists()


def test_a_damaged_bag_is_left_out_and_named(tmp_path: Path) -> None:
    write_bag(tmp_path / "one", "ep_0001-b000", [Source.DEMONSTRATION] * 3)
    broken = write_bag(tmp_path / "one", "ep_0001-b001", [Source.DEMONSTRATION] * 3)
    next(broken.glob("*.mcap")).write_bytes(b"nothing")
    left_out = build_dataset([tmp_path / "one"], tmp_path / "set.zarr", write=quiet)
    assert len(left_out) == 1 and left_out[0].startswith("ep_0001-b001")
    assert len(load_episodes(tmp_path / "set.zarr").ends) == 1


def test_a_bag_cut_short_or_never_closed_is_left_out_and_counted(tmp_path: Path) -> None:
    """Its first ticks are never used as if they were complete."""
    folder = tmp_path / "demonstration"
    for number in range(4):
        write_bag(folder, f"ep_0001-b00{number}", [Source.DEMONSTRATION] * 14)
    cut, unclosed, gone = (folder / "bags" / f"ep_0001-b00{number}" for number in (1, 2, 3))
    file = next(cut.glob("*.mcap"))
    os.truncate(file, file.stat().st_size * 2 // 3)
    (unclosed / "metadata.yaml").unlink()
    next(gone.glob("*.mcap")).unlink()
    said: list[str] = []
    left_out = build_dataset([folder], tmp_path / "set.zarr", write=said.append)
    assert [text.split(":")[0] for text in left_out] == [cut.name, unclosed.name, gone.name]
    assert "cut short" in left_out[0]
    assert "never closed" in left_out[1]
    assert "0 MCAP files" in left_out[2]
    assert all(f"left out {text}" in said for text in left_out)
    assert len(load_episodes(tmp_path / "set.zarr").ends) == 1
    # World-model training reports the same.
    said.clear()
    assert len(read_recordings([folder], ["top"], EMBODIMENT, TASK, said.append)) == 1
    assert sum("left out" in line for line in said) == 3
    assert said[-1] == "demonstration: 1 of 4 segments, 15 frames"


def test_a_bag_that_failed_its_audit_is_left_out_and_named(tmp_path: Path) -> None:
    good = write_bag(tmp_path / "demonstration", "ep_0001-b000", [Source.DEMONSTRATION] * 14)
    gap = write_bag(
        tmp_path / "demonstration", "ep_0001-b001", [Source.DEMONSTRATION] * 14, frameless=6
    )
    assert audit_bag(good).ok
    assert "ticks without an image" in audit_bag(gap).problems[0]
    left_out = build_dataset([tmp_path / "demonstration"], tmp_path / "set.zarr", write=quiet)
    assert len(left_out) == 1 and left_out[0].startswith("ep_0001-b001: gap between steps 5 and 7")
    assert len(load_episodes(tmp_path / "set.zarr").ends) == 1
    # World-model training uses the same bags.
    said: list[str] = []
    folder = tmp_path / "demonstration"
    (recording,) = read_recordings([folder], ["top"], EMBODIMENT, TASK, said.append)
    assert recording.name == "demonstration/ep_0001-b000"
    assert any("left out ep_0001-b001: gap" in line for line in said)
    with pytest.raises(BagError, match=OTHER.hash):
        read_recordings([folder], ["top"], OTHER, TASK, said.append)


def test_no_bag_and_no_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="no bag there"):
        build_dataset([tmp_path / "one"], tmp_path / "set.zarr", write=quiet)
    with pytest.raises(BagError, match="not a training set"):
        load_episodes(tmp_path / "set.zarr")


def test_an_output_folder_that_is_not_a_training_set_stays_unchanged(tmp_path: Path) -> None:
    session = tmp_path / "one"
    write_bag(session, "ep_0001-b000", [Source.DEMONSTRATION] * 3)
    for output in (session, session / "bags", session / "set.zarr", tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ConfigError, match="input of this command"):
            build_dataset([session], output, write=quiet)
        assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="not a training set written by hiwm"):
        build_dataset([session], tmp_path / "mine", write=quiet)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"


def test_a_training_set_is_replaced_unless_it_contains_other_files(tmp_path: Path) -> None:
    write_bag(tmp_path / "one", "ep_0001-b000", [Source.DEMONSTRATION] * 3)
    write_bag(tmp_path / "two", "ep_0001-b000", [Source.DEMONSTRATION] * 5)
    output = tmp_path / "set.zarr"
    for session, frames in (("one", 4), ("two", 6)):
        build_dataset([tmp_path / session], output, write=quiet)
        assert load_episodes(output).ends[-1] == frames
    write_bag(output / "session", "ep_0001-b000", [Source.DEMONSTRATION] * 3)
    with pytest.raises(ConfigError, match="it was left unchanged"):
        build_dataset([tmp_path / "one"], output, write=quiet)
    assert load_episodes(output).ends[-1] == 6


def test_an_interrupted_build_keeps_the_old_set(tmp_path: Path) -> None:
    write_bag(tmp_path / "one", "ep_0001-b000", [Source.DEMONSTRATION] * 3)
    output = tmp_path / "set.zarr"
    build_dataset([tmp_path / "one"], output, write=quiet)
    before = sorted(tmp_path.rglob("*"))

    def interrupt(line: str) -> None:
        if "frames" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_dataset([tmp_path / "one"], output, write=interrupt)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("lost", ["missing", "empty", "no states", "cut", "not ours"])
def test_a_session_whose_tree_is_lost_is_refused_or_named(
    tmp_path: Path, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    session, output = tmp_path / "one", tmp_path / "set.zarr"
    write_bag(session, "ep_0001-b000", [Source.POLICY] * 3)
    write_bag(session, "ep_0001-b001", [Source.HUMAN] * 3, parent="ep_0001-b000")
    tree = session / "tree.sqlite"
    if lost == "empty":
        tree.touch()
    if lost == "no states":
        BranchStore(tree).close()
    if lost == "cut":
        BranchStore(tree).close()
        tree.write_bytes(tree.read_bytes()[:5000])
    if lost == "not ours":
        with sqlite3.connect(tree) as connection:
            connection.execute("CREATE TABLE mine (x)")
    assert build_module.main([str(session), "-o", str(output)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(tree) in said
    for words in ("labels, discards and rollback marks are lost", "restore", "--without-tree"):
        assert words in said
    assert not output.exists()
    assert build_module.main([str(session), "-o", str(output), "--without-tree"]) == 0
    assert "without labels, discards and rollback marks" in capsys.readouterr().out


def test_a_tree_without_states_is_reported_for_bags_of_no_branch_manager(tmp_path: Path) -> None:
    """A branch manager that started after the recording has nothing to store."""
    write_bag(tmp_path / "one", "ep_0001-b000", [Source.DEMONSTRATION] * 3)
    BranchStore(tmp_path / "one" / "tree.sqlite").close()
    said: list[str] = []
    build_dataset([tmp_path / "one"], tmp_path / "set.zarr", write=said.append)
    assert any("does not contain branch ep_0001-b000" in line for line in said)


def test_a_session_that_never_had_a_tree_needs_none(tmp_path: Path) -> None:
    write_bag(tmp_path / "one", "ep_0001-b000", [Source.DEMONSTRATION] * 3)
    said: list[str] = []
    build_dataset([tmp_path / "one"], tmp_path / "set.zarr", write=said.append)
    assert not [line for line in said if "tree" in line]


@pytest.mark.parametrize("place", [".", "link"])
def test_the_tree_is_found_from_within_the_bags_folder_and_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    session = tmp_path / "one"
    write_bag(session, "ep_0001-b000", [Source.POLICY] * 3)
    write_bag(session, "ep_0001-b001", [Source.HUMAN] * 3, parent="ep_0001-b000")
    (session / "tree.sqlite").touch()
    opened: list[Path] = []

    class Reader:
        def __init__(self, path: Path) -> None:
            opened.append(path)

        def __enter__(self) -> "Reader":
            return self

        def __exit__(self, *_exception: object) -> None:
            pass

        def tree(self) -> list[SimpleNamespace]:
            return [
                SimpleNamespace(
                    node_id=f"{branch}:0", parent_id="", branch_id=branch, step=0, episode_id="",
                    source=0, rolled_back=False, discarded=branch.endswith("1"), label="",
                ) for branch in ("ep_0001-b000", "ep_0001-b001")
            ]

        def branches(self) -> list[SimpleNamespace]:
            return [unlabelled("ep_0001-b000"), unlabelled("ep_0001-b001")]

    monkeypatch.setattr(session_trees, "BranchReader", Reader)
    monkeypatch.setattr(session_trees, "tree_provenance", lambda nodes: {})
    (tmp_path / "link").symlink_to(session / "bags")
    monkeypatch.chdir(session / "bags" if place == "." else tmp_path)
    [line] = build_dataset([Path(place)], tmp_path / "set.zarr", write=quiet)
    assert line == "ep_0001-b001: its branch was discarded"
    assert opened == [session / "tree.sqlite"]


def test_a_bag_that_two_places_reach_is_used_once(tmp_path: Path) -> None:
    write_bag(tmp_path / "one", "ep_0001-b000", [Source.POLICY] * 3)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    build_dataset([tmp_path / "one", tmp_path / "link"], tmp_path / "set.zarr", write=quiet)
    assert len(load_episodes(tmp_path / "set.zarr").ends) == 1
