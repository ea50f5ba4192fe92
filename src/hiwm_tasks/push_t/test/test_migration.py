"""`scripts/migrate` on files that version 1 wrote; see version_1/README.md."""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from hiwm_core.bag_digest import read_digest
from hiwm_core.bags import audit_bag, read_segment, session_bags
from hiwm_core.bags.contents import BagContents
from hiwm_core.bags.mcap_file import decoded
from hiwm_core.bags.recover import recover_bag
from hiwm_core.bags.task_of_data import task_of
from hiwm_core.bags.topics import Stream, stream
from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_store import BranchStore
from hiwm_core.embodiment import load_embodiment, parse_embodiment
from hiwm_core.errors import HiwmError
from hiwm_core.session_lock import tool_lock
from hiwm_core.tasks import load_task, parse_task
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.datasets.episodes import load_episodes
from hiwm_learning.migration.command_line import main

VERSION_1 = Path(__file__).parent / "version_1"
STANDIN_BAG = Path("standin/bags/ep_0001-b000_e0001")
FORKED_BAG = Path("imagined/bags/ep_0002-b001_e0003")


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converted copy of everything; the original is unchanged."""
    folder = tmp_path_factory.mktemp("migration")
    shutil.copytree(VERSION_1, folder / "old")
    before = digests(folder / "old")
    assert main([str(folder / "old"), "-o", str(folder / "new")]) == 0
    assert digests(folder / "old") == before
    return folder / "new"


def old_messages(bag: Path, kind: Stream) -> list:
    return [
        decoded(message) for message in BagContents(VERSION_1 / bag).messages()
        if stream(message.channel) is kind
    ]


def test_a_bag_of_the_stand_in_has_the_same_data_and_named_truth(migrated: Path) -> None:
    segment = read_segment(migrated / STANDIN_BAG, load_embodiment("planar_bimanual"))
    ticks = old_messages(STANDIN_BAG, Stream.TICK)
    joints = {
        (m.header.stamp.sec, m.header.stamp.nanosec): dict(zip(m.name, m.position, strict=True))
        for m in old_messages(STANDIN_BAG, Stream.JOINT_STATES)
    }
    images = old_messages(STANDIN_BAG, Stream.IMAGE)
    truths = old_messages(STANDIN_BAG, Stream.GROUND_TRUTH)
    assert segment.steps.tolist() == [tick.step for tick in ticks] == list(range(86))
    assert np.array_equal(segment.observations["top"][5].ravel(), images[5].data)
    stamp = ticks[7].header.stamp
    for place, entry in enumerate(segment.embodiment.proprioception):
        known = joints[stamp.sec, stamp.nanosec][entry.joint]
        assert segment.proprio[7, place] == np.float32(known)
    assert np.array_equal(segment.actions[:-1], [
        np.float32(tick.applied_action) for tick in ticks[1:]
    ])
    assert segment.labels is not None
    names = load_task("push_t").start_names
    poses = [truth.object_pose.tolist() for truth in truths]
    assert segment.labels.columns(names)[3].tolist() in poses
    assert set(segment.labels.names) == {*names, "coverage"}


def test_bags_are_audited_have_checksums_and_today_s_metadata(migrated: Path) -> None:
    for old in (STANDIN_BAG, FORKED_BAG):
        audit = audit_bag(migrated / old)
        assert audit.ok and audit.checksums, audit.problems
        assert json.loads((migrated / old / "audit.json").read_text())["ok"]
        was = json.loads((VERSION_1 / old / "audit.json").read_text())
        assert (audit.messages, audit.frames_by_source) == (
            was["messages"], was["frames_by_source"]
        )
    digest = read_digest(migrated / FORKED_BAG)
    was = BagContents(VERSION_1 / FORKED_BAG)
    assert was.information is not None
    assert digest.lineage.parent_branch_id == "ep_0002-b000"
    assert str(digest.lineage.fork_step) == was.information["custom_data"]["hiwm.fork_step"]
    assert digest.lineage.embodiment_hash == load_embodiment("planar_bimanual").hash
    assert parse_task(digest.lineage.task_yaml, "bag").hash == load_task("push_t").hash
    assert digest.takeovers and digest.frame(digest.ticks[2]) is not None


def test_ticks_and_world_info_say_what_they_are_made_of(migrated: Path) -> None:
    for message in BagContents(migrated / FORKED_BAG).messages():
        kind = message.channel.message_type.rpartition("/")[2]
        if kind == "Tick":
            tick = decoded(message)
            assert tick.streams == ["cameras/top/image_raw", "joint_states"]
            assert {(s.sec, s.nanosec) for s in tick.stream_stamps} == {
                (tick.header.stamp.sec, tick.header.stamp.nanosec)
            }
        elif kind == "WorldInfo":
            info = decoded(message)
            assert info.instruction == load_task("push_t").instruction != ""
            assert info.labels[:2] == ["success", "failure"]
            assert info.control_period_s == pytest.approx(0.1)


def test_the_tree_keeps_nodes_branches_and_labels(migrated: Path) -> None:
    old = sqlite3.connect(
        f"{(VERSION_1 / 'imagined/tree.sqlite').as_uri()}?mode=ro&immutable=1", uri=True
    )
    nodes = {row[0]: row for row in old.execute(
        "SELECT node_id, parent_id, state_id, source, rolled_back, takeover FROM nodes"
    )}
    labels = dict(old.execute("SELECT branch_id, label FROM branches"))
    head = old.execute("SELECT head_id FROM meta").fetchone()[0]
    old.close()
    assert set(labels.values()) == {0, 1} and any(row[5] for row in nodes.values())
    with BranchReader(migrated / "imagined/tree.sqlite") as tree:
        found = {node.node_id: node for node in tree.tree()}
        assert {
            name: (name, n.parent_id, n.state_id, n.source, n.rolled_back, n.takeover)
            for name, n in found.items()
        } == nodes
        assert {branch.branch_id: branch.label for branch in tree.branches()} == {
            name: ("", "success")[label] for name, label in labels.items()
        }
        assert tree.head_id == head
        page = tree.page(0, 10_000)
        assert len(page.nodes) == len(nodes) and page.revision == tree.revision
    session = json.loads((migrated / "imagined/session.json").read_text())
    assert session["task_hash"] == load_task("push_t").hash
    assert session["embodiment_hash"] == load_embodiment("planar_bimanual").hash
    with BranchReader(migrated / "imagined/tree.sqlite") as tree:
        assert {one.task_hash for one in tree.sessions()} == {session["task_hash"]}


def test_a_migrated_session_continues(migrated: Path, tmp_path: Path) -> None:
    shutil.copytree(migrated / "imagined", tmp_path / "s")
    with BranchStore(tmp_path / "s/tree.sqlite") as store:
        before = store.revision
        store.label("ep_0002-b000", "failure", "late", "anna")
        assert store.revision == before + 1
        assert store.next_branch_id("ep_0002") == "ep_0002-b002"


def test_training_sets_checkpoints_and_results_follow(migrated: Path) -> None:
    episodes = load_episodes(migrated / "set.zarr")
    assert episodes.embodiment.hash == load_embodiment("planar_bimanual").hash
    assert [info.label for info in episodes.infos] == [""]
    assert episodes.infos[0].task_hash == load_task("push_t").hash
    segment = read_segment(migrated / STANDIN_BAG)
    assert np.array_equal(episodes.actions, segment.actions, equal_nan=True)
    checkpoint = load_checkpoint(
        migrated / "study/tiny.safetensors", embodiment_hash=episodes.embodiment.hash
    )
    assert checkpoint.weights["w"].tolist() == [0.0, 1.0, 2.0, 3.0]
    was = hashlib.sha256((VERSION_1 / "study/tiny.safetensors").read_bytes()).hexdigest()
    assert checkpoint.info.earlier_hashes == (was,) and checkpoint.hash != was
    conditions = json.loads((migrated / "study/trials/evaluation.json").read_text())
    assert conditions["format"] == 2 and conditions["checkpoint_hash"] == checkpoint.hash
    assert conditions["task_hash"] == load_task("push_t").hash
    lines = (migrated / "study/trials/trials.jsonl").read_text().splitlines()
    assert {json.loads(line)["policy"] for line in lines} == {checkpoint.label}


def test_config_files_are_converted(migrated: Path) -> None:
    text = (migrated / "config/planar_bimanual.yaml").read_text()
    assert parse_embodiment(text, "").hash == load_embodiment("planar_bimanual").hash
    assert parse_task((migrated / "config/push_t.yaml").read_text(), "").hash == load_task(
        "push_t"
    ).hash
    assert yaml.safe_load(text)["name"] == "planar_bimanual"


def test_start_frames_name_their_values(tmp_path: Path) -> None:
    poses = np.arange(6.0).reshape(2, 3)
    np.savez(
        tmp_path / "world_starts.npz", names=np.array(["a", "b"]), object_poses=poses,
        images=np.zeros((2, 4, 4, 3), np.uint8), proprioception=np.zeros((2, 4), np.float32),
    )
    assert main([str(tmp_path / "world_starts.npz")]) == 0
    with np.load(tmp_path / "world_starts_migrated.npz") as data:
        assert set(data.files) == {"names", "images", "proprioception", "start_values"}
        assert np.array_equal(data["start_values"], poses)


def test_what_was_converted_is_left_alone(
    migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(migrated)
    assert main([str(migrated)]) == 0
    assert "nothing of an earlier version" in capsys.readouterr().out
    assert digests(migrated) == before
    assert not migrated.with_name("new_migrated").exists()


def test_in_place_keeps_the_original(tmp_path: Path) -> None:
    for name in ("standin", "planar_bimanual.yaml"):
        source = VERSION_1 / ("config/" + name if "." in name else name)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    paths = [str(tmp_path / "standin"), str(tmp_path / "planar_bimanual.yaml")]
    assert main(["--in-place", *paths]) == 0
    assert digests(tmp_path / "standin_before_migration") == digests(VERSION_1 / "standin")
    kept = tmp_path / "planar_bimanual_before_migration.yaml"
    assert kept.read_text() == (VERSION_1 / "config/planar_bimanual.yaml").read_text()
    assert [audit_bag(bag).ok for bag in session_bags(tmp_path / "standin")] == [True]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([
        "standin", "standin_before_migration", "planar_bimanual.yaml", kept.name,
    ])


def test_a_bag_that_was_never_closed_is_converted_as_far_as_it_goes(tmp_path: Path) -> None:
    shutil.copytree(VERSION_1 / STANDIN_BAG, tmp_path / "old" / STANDIN_BAG.name)
    bag = tmp_path / "old" / STANDIN_BAG.name
    (bag / "metadata.yaml").unlink()
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:30_000])
    assert main([str(tmp_path / "old")]) == 0
    digest = read_digest(tmp_path / "old_migrated" / bag.name)
    assert digest.lineage.recovered and digest.lineage.lost
    assert 0 < len(digest.ticks) < 86


def test_what_cannot_be_converted_is_named_and_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(VERSION_1 / "standin", tmp_path / "s")
    tree = tmp_path / "s/tree.sqlite"
    tree.write_bytes(tree.read_bytes()[:6000])
    assert main([str(tmp_path / "s")]) == 1
    assert "tree.sqlite" in capsys.readouterr().err
    assert (tmp_path / "s_migrated/tree.sqlite").read_bytes() == tree.read_bytes()
    assert audit_bag(tmp_path / "s_migrated" / STANDIN_BAG.relative_to("standin")).ok


@pytest.mark.parametrize(("prepare", "words"), [
    (lambda folder: shutil.rmtree(folder / "s"), "nothing there"),
    (lambda folder: (folder / "s_migrated").mkdir(), "exists; nothing was changed"),
    (lambda folder: tool_lock(folder / "s", "recorder"), "in use by recorder"),
], ids=["missing", "target", "in use"])
def test_refusals_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prepare: Callable[[Path], object],
    words: str,
) -> None:
    shutil.copytree(VERSION_1 / "standin", tmp_path / "s")
    held = prepare(tmp_path)
    before = digests(tmp_path)
    assert main([str(tmp_path / "s")]) == 1
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1
    assert digests(tmp_path) == before
    if hasattr(held, "release"):
        held.release()


@pytest.mark.parametrize("read", [
    lambda old: read_segment(old / STANDIN_BAG),
    lambda old: audit_bag(old / STANDIN_BAG),
    lambda old: read_digest(old / FORKED_BAG),
    lambda old: recover_bag(old / STANDIN_BAG),
    lambda old: task_of([old / "standin"], None),
    lambda old: BranchReader(old / "imagined/tree.sqlite"),
    lambda old: BranchStore(old / "standin/tree.sqlite"),
    lambda old: load_episodes(old / "set.zarr"),
    lambda old: load_checkpoint(old / "study/tiny.safetensors"),
    lambda old: load_embodiment(old / "config/planar_bimanual.yaml"),
    lambda old: load_task(old / "config/push_t.yaml"),
], ids=[
    "segment", "audit", "digest", "recovery", "task of data", "tree", "store", "training set",
    "checkpoint", "embodiment", "task",
])
def test_everything_else_refuses_old_files_and_names_the_command(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    shutil.copytree(VERSION_1, tmp_path / "old")
    before = digests(tmp_path)
    with pytest.raises(HiwmError) as error:
        read(tmp_path / "old")
    assert "scripts/migrate" in str(error.value) and len(str(error.value).splitlines()) == 1
    assert digests(tmp_path) == before
