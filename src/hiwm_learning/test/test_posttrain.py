"""The contents of the three sets, and the errors for missing parts."""

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiwm_core.bags import Lineage
from hiwm_core.bags.metadata import bag_information, write_information
from hiwm_core.branch_records import Label, TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError, CheckpointError
from hiwm_core.provenance import Provenance
from hiwm_learning import posttrain
from hiwm_learning.datasets import EpisodeInfo, Episodes
from hiwm_learning.datasets.weights import Scheme
from hiwm_learning.posttrain import SetOptions, make_set

NAMES = tuple(str(name) for name in Provenance)
DEMO, POLICY, HUMAN = range(3)
INFO = EpisodeInfo(
    bag="b", session_id="s", episode_id="e", branch_id="e-b000", parent_branch_id="",
    fork_step=-1, world="imagination", stand_in=False, task="toy_task", task_hash="0",
)


def episodes(*parts: tuple[EpisodeInfo, int]) -> Episodes:
    codes = np.repeat([code for _, code in parts], 4).astype(np.uint8)
    nothing = np.full(len(codes), np.nan)
    return Episodes(
        embodiment=load_embodiment("planar_bimanual"), infos=tuple(info for info, _ in parts),
        ends=4 * np.arange(1, len(parts) + 1), images={},
        proprio=np.zeros((len(codes), 4), np.float32),
        actions=np.zeros((len(codes), 4), np.float32), source=codes, provenance=codes,
        provenance_names=NAMES, steps=np.arange(len(codes)),
        trust=np.ones(len(codes), np.float32), progress=nothing.astype(np.float32),
        success=nothing.astype(np.float32),
    )


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces the building of training sets; records requests and results."""
    held: dict[str, Any] = {}

    def build(
        places: Sequence[Path], cache: Path, write: object, resample_hz: float | None
    ) -> Path:
        held["places"] = list(places)
        return cache

    monkeypatch.setattr(posttrain, "_built", build)
    monkeypatch.setattr(posttrain, "load_episodes", lambda path, *_: held["episodes"])
    return held


def write_bag(session: Path, episode_id: str, session_id: str) -> Path:
    """Write a bag's metadata and an empty file."""
    bag = session / "bags" / f"{episode_id}-b000"
    bag.mkdir(parents=True)
    (bag / f"{bag.name}.mcap").touch()
    lineage = Lineage(session_id=session_id, episode_id=episode_id)
    write_information(bag, bag_information(
        f"{bag.name}.mcap", [], 0, 0, lineage.custom_data()
    ))
    return bag


def rollouts(folder: Path, *, session_id: str = "s", **outcomes: str) -> Path:
    """Return a recorded session with an evaluation of these outcomes."""
    (folder / "evaluation").mkdir(parents=True)
    for name in outcomes:
        write_bag(folder, name, session_id)
    (folder / "evaluation" / "trials.jsonl").write_text("".join(
        json.dumps(
            {"trial": number, "episode_id": name, "outcome": outcome, "start": [number, 0, 0]}
        ) + "\n"
        for number, (name, outcome) in enumerate(outcomes.items())
    ))
    return folder


def made(kind: str, **options: Any) -> posttrain.WeightedSet:
    return make_set(
        SetOptions(kind=kind, demonstrations=(Path("d"),), **options), Path("cache"),
        lambda line: None,
    )[1]


def test_base_learns_only_from_demonstrations(built: dict[str, Any]) -> None:
    built["episodes"] = episodes((INFO, DEMO), (INFO, DEMO))
    assert (made("base").weights == 1).all()
    assert built["places"] == [Path("d")]
    built["episodes"] = episodes((INFO, POLICY), (INFO, DEMO))
    with pytest.raises(BagError, match="these frames are .*policy"):
        made("base")


@pytest.mark.parametrize(("kind", "option"), [
    ("base", "corrections"), ("base", "rollouts"), ("wm-cl", "corrections"), ("hi-wm", "rollouts"),
])
def test_data_that_a_set_would_ignore_is_refused(
    built: dict[str, Any], kind: str, option: str
) -> None:
    with pytest.raises(BagError, match=f"the set {kind} does not learn from --{option}"):
        made(kind, **{option: (Path("c"),)})


def test_wm_cl_learns_from_rollouts_that_succeeded(built: dict[str, Any], tmp_path: Path) -> None:
    session = rollouts(tmp_path / "s", e1="success", e2="failure", e3="aborted")
    built["episodes"] = episodes(
        (INFO, DEMO), *((replace(INFO, episode_id=f"e{i}"), POLICY) for i in (1, 2, 3))
    )
    weights = made("wm-cl", rollouts=(session,)).weights
    assert (weights > 0).tolist() == [True] * 8 + [False] * 8
    # A person's verdict after the head's replaces it.
    with (session / "evaluation" / "trials.jsonl").open("a") as file:
        for trial, outcome in enumerate(("failure", "success")):
            file.write(json.dumps({
                "trial": trial, "episode_id": f"e{trial + 1}", "outcome": outcome,
                "start": [trial, 0, 0],
            }) + "\n")
    weights = made("wm-cl", rollouts=(session,)).weights
    assert (weights > 0).tolist() == [True] * 4 + [False] * 4 + [True] * 4 + [False] * 4


def test_successes_of_an_evaluation_that_was_killed_as_it_wrote(tmp_path: Path) -> None:
    session = rollouts(tmp_path / "s", e1="success", e2="failure")
    with (session / "evaluation" / "trials.jsonl").open("a") as file:
        file.write('{"trial": 2, "epis')
    assert posttrain.successes([session], write=print) == {("s", "e1")}


def test_wm_cl_learns_from_a_session_whose_folder_was_renamed(
    built: dict[str, Any], tmp_path: Path
) -> None:
    session = rollouts(tmp_path / "s", e1="success", e2="failure").rename(tmp_path / "renamed")
    # A session that is continued after that has bags of both ids.
    write_bag(session, "e3", "renamed")
    with (session / "evaluation" / "trials.jsonl").open("a") as file:
        trial = {"trial": 2, "episode_id": "e3", "outcome": "success", "start": [0, 0, 0]}
        file.write(json.dumps(trial) + "\n")
    assert posttrain.successes([session], write=print) == {("s", "e1"), ("renamed", "e3")}
    built["episodes"] = episodes(
        (INFO, DEMO), *((replace(INFO, episode_id=f"e{i}"), POLICY) for i in (1, 2))
    )
    weights = made("wm-cl", rollouts=(session,)).weights
    assert (weights > 0).tolist() == [True] * 8 + [False] * 4


def test_wm_cl_without_a_frame_of_a_rollout_is_refused(
    built: dict[str, Any], tmp_path: Path
) -> None:
    """All rollouts were left out of the training set, or have low trust."""
    session = rollouts(tmp_path / "s", e1="success", e2="failure")
    built["episodes"] = episodes((INFO, DEMO), (replace(INFO, episode_id="e2"), POLICY))
    with pytest.raises(BagError, match="no frame of a successful rollout"):
        made("wm-cl", rollouts=(session,))
    built["episodes"] = episodes((INFO, DEMO), (replace(INFO, episode_id="e1"), POLICY))
    built["episodes"].trust[:] = 0.2
    with pytest.raises(BagError, match="no frame of a successful rollout"):
        made("wm-cl", rollouts=(session,), min_trust=0.3)


def test_a_success_without_a_readable_bag_is_reported(tmp_path: Path) -> None:
    session = rollouts(tmp_path / "s", e1="success", e2="success")
    (session / "bags" / "e2-b000" / "metadata.yaml").write_text("damaged")
    said: list[str] = []
    assert posttrain.successes([session], write=said.append) == {("s", "e1")}
    assert said == [f"{session}: no readable bag of successful trial 1, episode e2"]


def test_two_sessions_with_the_same_episode_are_refused(tmp_path: Path) -> None:
    """A success of one would let in the failure of the other."""
    one, two = (
        rollouts(tmp_path / name / "s", e1=outcome)
        for name, outcome in (("one", "success"), ("two", "failure"))
    )
    with pytest.raises(BagError, match="episode e1 of session s is also in") as caught:
        posttrain.successes([one, two], write=print)
    assert str(one) in str(caught.value) and str(two) in str(caught.value)


def test_wm_cl_refuses_successes_of_a_head_that_was_never_trained(
    built: dict[str, Any], tmp_path: Path
) -> None:
    session = rollouts(tmp_path / "s", e1="success")
    built["episodes"] = episodes((INFO, DEMO), (replace(INFO, episode_id="e1"), POLICY))
    (session / "session.json").write_text(json.dumps({"heads": ["trust"]}))
    trials = session / "evaluation" / "trials.jsonl"
    trial = {
        "trial": 0, "episode_id": "e1", "outcome": "success", "judged_by": "success head",
        "start": [0, 0, 0],
    }
    trials.write_text(json.dumps(trial) + "\n")
    with pytest.raises(CheckpointError, match="never trained"):
        made("wm-cl", rollouts=(session,))
    trials.write_text(json.dumps(trial | {"judged_by": "person anna"}) + "\n")
    assert (made("wm-cl", rollouts=(session,)).weights > 0).all()


def test_contested_successes_are_among_failures(tmp_path: Path) -> None:
    """Two groups of starts a metre apart: an easy one with one failure, and a hard one."""
    outcomes = {
        **{f"easy{i}": "failure" if i == 0 else "success" for i in range(6)},
        **{f"hard{i}": "success" if i == 0 else "failure" for i in range(6)}, "cut": "aborted",
    }
    session = rollouts(tmp_path / "s", **outcomes)
    path = session / "evaluation" / "trials.jsonl"
    path.write_text("".join(
        json.dumps({**trial, "start": [float("hard" in trial["episode_id"]), place * 1e-3, 3.14]})
        + "\n" for place, trial in enumerate(map(json.loads, path.read_text().splitlines()))
    ))
    assert len(posttrain.successes([session], write=print)) == 6
    assert posttrain.successes([session], write=print, contested=True) == {("s", "hard0")}
    assert posttrain.successes([session], write=print, trials=3) == {("s", "easy1"), ("s", "easy2")}


def test_contested_starts_that_are_no_planar_poses_are_refused(tmp_path: Path) -> None:
    session = rollouts(tmp_path / "s", one="success", two="failure")
    path = session / "evaluation" / "trials.jsonl"
    trials = [json.loads(line) | {"start": [0.1] * 16} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(trial) + "\n" for trial in trials))
    with pytest.raises(BagError, match="starts of x, y and yaw"):
        posttrain.successes([session], write=print, contested=True)


def test_a_half_turn_either_way_is_the_same_start() -> None:
    starts = [[0, 0, 3.1], *([0, 0, -3.1 + 1e-3 * i] for i in range(4)),
              *([0, 0, 1 + 1e-3 * i] for i in range(6))]
    won = np.array([True] + [False] * 4 + [True] * 6)
    assert posttrain._among_failures(starts, won)[0]


def test_hi_wm_weighs_corrections_as_its_scheme_says(built: dict[str, Any]) -> None:
    built["episodes"] = episodes((INFO, DEMO), (INFO, DEMO), (INFO, HUMAN))
    weights = made("hi-wm", corrections=(Path("c"),), scheme=Scheme.SIRIUS).weights
    assert weights[8:].sum() == pytest.approx(weights.sum() / 2)
    # By default, corrections have their share of the frames.
    weights = made("hi-wm", corrections=(Path("c"),)).weights
    assert weights[8:].sum() == pytest.approx(weights.sum() / 3)
    assert built["places"] == [Path("d"), Path("c")]


@pytest.mark.parametrize(("kind", "words"), [
    ("wm-cl", "--rollouts is missing"), ("hi-wm", "--corrections is missing"),
])
def test_a_missing_part_is_named(kind: str, words: str) -> None:
    with pytest.raises(BagError, match=words):
        made(kind)


def test_a_set_with_nothing_to_learn_from_is_refused(
    built: dict[str, Any], tmp_path: Path
) -> None:
    built["episodes"] = episodes((INFO, DEMO))
    with pytest.raises(BagError, match="no frame of a correction"):
        made("hi-wm", corrections=(Path("c"),))
    with pytest.raises(BagError, match="no rollout succeeded"):
        made("wm-cl", rollouts=(rollouts(tmp_path / "s", e1="failure"),))
    with pytest.raises(BagError, match="no evaluation there"):
        made("wm-cl", rollouts=(tmp_path / "nothing",))


def test_corrections_with_only_low_trust_are_refused(built: dict[str, Any]) -> None:
    built["episodes"] = episodes((INFO, DEMO), (INFO, HUMAN))
    built["episodes"].trust[:] = 0.2
    with pytest.raises(BagError, match="no frame of a correction"):
        made("hi-wm", corrections=(Path("c"),), min_trust=0.3)


def test_the_contents_of_a_set_are_printed(built: dict[str, Any]) -> None:
    built["episodes"] = episodes((INFO, DEMO), (INFO, HUMAN))
    text = posttrain.describe("hi-wm", made("hi-wm", corrections=(Path("c"),)).description)
    assert "human" in text and "50.0%" in text and "1 failure states" in text


def test_two_parallel_trainings_build_one_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first and uses its set."""
    built = []

    def build(
        places: Sequence[Path], path: Path, *, resample_hz: float | None, write: object
    ) -> None:
        built.append(path)
        time.sleep(0.2)
        path.mkdir()

    monkeypatch.setattr(posttrain, "build_dataset", build)
    monkeypatch.setattr(posttrain, "find_bags", lambda places: [])
    with ThreadPoolExecutor(2) as pool:
        paths = set(pool.map(lambda _: posttrain._built([], tmp_path / "sets", print), range(2)))
    assert len(paths) == 1 and built == list(paths)


@pytest.fixture
def build_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    """Returns the name of the set that is built, or reused, for a folder."""
    def build(
        places: Sequence[Path], path: Path, *, resample_hz: float | None, write: object
    ) -> None:
        path.mkdir()

    monkeypatch.setattr(posttrain, "build_dataset", build)
    return lambda place: posttrain._built([place], tmp_path / "sets", lambda line: None).name


def test_sessions_with_equal_names_and_sizes_have_their_own_sets(
    tmp_path: Path, build_of: Callable[[Path], str]
) -> None:
    bags = [write_bag(tmp_path / name / "s", "e1", "s") for name in ("one", "two")]
    for file in (bag / f"{bag.name}.mcap" for bag in bags):
        os.utime(file, ns=(1, 1))
    assert build_of(tmp_path / "one") == build_of(tmp_path / "one")
    assert build_of(tmp_path / "one") != build_of(tmp_path / "two")


def test_a_bag_that_was_recorded_again_is_not_read_from_an_old_set(
    tmp_path: Path, build_of: Callable[[Path], str]
) -> None:
    bag = write_bag(tmp_path / "s", "e1", "s")
    file = bag / f"{bag.name}.mcap"
    sets = [build_of(tmp_path)]
    os.utime(file, ns=(2, 2))
    sets.append(build_of(tmp_path))
    lineage = Lineage(session_id="s", episode_id="e1").custom_data()
    write_information(bag, bag_information(file.name, [], 5, 9, lineage))
    sets.append(build_of(tmp_path))
    assert len(set(sets)) == 3


def test_a_mark_in_the_tree_needs_a_new_set(
    tmp_path: Path, build_of: Callable[[Path], str]
) -> None:
    """Also while SQLite keeps it in its second file, so that the tree's own file is unchanged."""
    write_bag(tmp_path / "s", "e1", "s")
    path = tmp_path / "s" / "tree.sqlite"
    store = BranchStore(path)
    store.add_tick(TickRecord(stamp_ns=1, epoch=1, step=0, episode_id="e1", branch_id="e1-b000"))
    before, first = path.read_bytes(), build_of(tmp_path)
    assert build_of(tmp_path) == first
    store.label("e1-b000", Label.FAILURE)
    assert path.read_bytes() == before
    assert build_of(tmp_path) != first
    store.close()
