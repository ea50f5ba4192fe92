"""The labelling page's episodes, frames and labels: from bags, trees and states, over HTTP."""

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image

from hiwm_console.access import AccessRules
from hiwm_console.label_store import LabelStore, parse_verdict
from hiwm_console.protocol import Refused
from hiwm_core.branch_reader import BranchReader
from hiwm_core.episode_labels import LABEL_FILE, StaleLabelError, read_bag_label
from hiwm_core.errors import BagError, BusyError
from hiwm_core.session_lock import SessionLock

sys.path.insert(0, str(Path(__file__).parent))
from bag_folder import write_bags  # noqa: E402
from console_rig import ConsoleRig, fetch  # noqa: E402
from stored_tree import frame_of, write_session  # noqa: E402


def verdict(seen: str, **fields: Any) -> Any:
    content = {"label": "", "progress": [], "note": "", "who": "anna", "seen": seen, **fields}
    return parse_verdict(json.dumps(content))


def test_bags_are_listed_played_and_labelled_beside_the_bag(tmp_path: Path) -> None:
    write_bags(tmp_path / "imported", count=2, steps=5)
    store = LabelStore(tmp_path / "imported")
    listing = store.listing()
    assert [one["name"] for one in listing["episodes"]] == ["ep_0001-b000_e0001",
                                                            "ep_0002-b000_e0001"]
    opened = store.opened(1)
    assert opened["steps"] == [0, 1, 2, 3, 4] and opened["rate"] == pytest.approx(10.0)
    picture = np.asarray(Image.open(io.BytesIO(store.frame(1, 0, 3))))
    assert picture.shape == (24, 32, 3) and picture[0, 0, 0] == 3
    stored = store.write(1, verdict(opened["seen"], label="success", progress=[[2, 0.5], [4, 1]]))
    assert (stored["label"], stored["who"], stored["problem"]) == ("success", "anna", "")
    label = read_bag_label(tmp_path / "imported" / "bags" / "ep_0002-b000_e0001")
    assert label is not None and label.progress == {2: 0.5, 4: 1.0} and label.labelled_ns > 0
    assert LabelStore(tmp_path / "imported").listing()["episodes"][1]["label"] == "success"
    with pytest.raises(BagError, match="not in the episode"):
        store.write(1, verdict(opened["seen"], progress=[[9, 0.5]]))
    with pytest.raises(BagError, match="not a label of this task"):
        store.write(1, verdict(opened["seen"], label="splendid"))


def test_every_camera_of_a_bag_is_shown_in_the_order_of_the_embodiment(tmp_path: Path) -> None:
    cameras = ("top", "side", "left_wrist", "right_wrist")
    write_bags(tmp_path / "imported", count=1, steps=5, cameras=cameras)
    store = LabelStore(tmp_path / "imported")
    store.listing()
    assert store.opened(0)["cameras"] == list(cameras)
    for number in range(4):
        picture = np.asarray(Image.open(io.BytesIO(store.frame(0, number, 3))))
        assert (picture == 3 + 40 * number).all()
    with pytest.raises(BagError, match="no camera 4"):
        store.frame(0, 4, 3)


def test_a_label_for_an_episode_that_changed_is_refused_and_an_old_one_is_shown_as_stale(
    tmp_path: Path,
) -> None:
    [bag, _] = write_bags(tmp_path / "imported", count=2, steps=5)
    store = LabelStore(tmp_path / "imported")
    store.listing()
    seen = store.opened(0)["seen"]
    store.write(0, verdict(seen, label="success"))
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes() + b"more")
    before = (bag / LABEL_FILE).read_text()
    with pytest.raises(StaleLabelError, match="look at it again"):
        store.write(0, verdict(seen, label="failure"))
    assert (bag / LABEL_FILE).read_text() == before
    shown = store.listing()["episodes"][0]
    assert shown["label"] == "" and "changed since" in shown["problem"]


def test_a_branch_of_a_session_is_labelled_in_its_tree_unless_it_is_in_use(tmp_path: Path) -> None:
    session = write_session(tmp_path / "session")
    store = LabelStore(session)
    names = [one["name"] for one in store.listing()["episodes"]]
    assert names == ["ep_0001-b000", "ep_0001-b001", "ep_0001-b002"]
    opened = store.opened(2)
    assert opened["steps"] == list(range(7, 19))
    assert opened["cameras"] == [""]
    picture = np.asarray(Image.open(io.BytesIO(store.frame(2, 0, 0))))
    assert (picture == frame_of(2, 7)).all()
    store.write(2, verdict(opened["seen"], label="failure", note="slipped"))
    with BranchReader(session / "tree.sqlite") as reader:
        branch = reader.branch("ep_0001-b002")
    assert (branch.label, branch.note, branch.labelled_by) == ("failure", "slipped", "anna")
    with pytest.raises(BagError, match="record the session"):
        store.write(2, verdict(opened["seen"], progress=[[8, 0.5]]))
    with SessionLock(session, "world"), pytest.raises(BusyError):
        store.write(2, verdict(opened["seen"], label="success"))
    store.close()


@pytest.mark.parametrize("text", [
    "", "[]", "{}", '{"label": "success"}', '{"type": 1}', "x" * 5000,
    *(json.dumps({"label": "", "progress": [], "note": "", "who": "", "seen": "", **wrong})
      for wrong in (
          {"label": 3}, {"who": "a" * 41}, {"progress": 3}, {"progress": [[0, 2.0]]},
          {"progress": [[0.5, 0.5]]}, {"progress": [[1]]}, {"progress": [["a", "b"]]},
          {"progress": [[1, 0.5]] * 61}, {"progress": [[-1, 0.5]]}, {"more": 1},
          {"progress": [[1, None]]}, {"progress": [[True, 0.5]]},
      )),
])
def test_anything_but_a_label_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_verdict(text)


def post(rig: ConsoleRig, path: str, **options: Any) -> tuple[int, str]:
    async def main() -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session, session.post(rig.base + path, **options) as answer,
        ):
            return answer.status, await answer.text()

    return asyncio.run(main())


def test_only_who_may_drive_labels_and_no_other_site_can(tmp_path: Path) -> None:
    folder = tmp_path / "imported"
    write_bags(folder, count=1, steps=3)
    rig = ConsoleRig(folder, stored=True, rules=AccessRules(token="open-sesame"))
    try:
        assert fetch(rig, "")[0] == 200  # a folder of bags opens on the labelling page
        listing = json.loads(fetch(rig, "label/episodes")[2])
        assert listing["may_label"] is False and len(listing["episodes"]) == 1
        opened = json.loads(fetch(rig, "label/episodes/0")[2])
        assert fetch(rig, listing["frames"][1:] + "0/0/2")[0] == 200
        for path in ("label/frames/0000/0/0/0", listing["frames"][1:] + "0/0/99",
                     listing["frames"][1:] + "0/1/2", listing["frames"][1:] + "7/0/0",
                     "label/episodes/7", "label/episodes/..%2f0"):
            assert fetch(rig, path)[0] == 404
        content = {"label": "success", "progress": [], "note": "", "who": "b",
                   "seen": opened["seen"]}
        allowed = {"Authorization": "Bearer open-sesame"}
        address = "label/episodes/0"
        assert post(rig, address, json=content)[0] == 403
        assert post(rig, address, data=json.dumps(content), headers=allowed)[0] == 415
        assert post(rig, address, json=content,
                    headers={**allowed, "Origin": "http://evil.example"})[0] == 403
        assert post(rig, address, json={**content, "seen": "other"}, headers=allowed)[0] == 409
        assert post(rig, address, json={"label": "x"}, headers=allowed)[0] == 400
        status, text = post(rig, address, json=content, headers=allowed)
        assert status == 200 and json.loads(text)["label"] == "success"
    finally:
        rig.server.close()


def test_in_a_running_session_the_branch_manager_writes_the_tree(tmp_path: Path) -> None:
    session = write_session(tmp_path / "session")
    rig = ConsoleRig(session)
    try:
        fetch(rig, "label/episodes")
        opened = json.loads(fetch(rig, "label/episodes/1")[2])
        content = {"label": "failure", "progress": [], "note": "n", "who": "anna",
                   "seen": opened["seen"]}
        assert post(rig, "label/episodes/1", json=content)[0] == 200
        [act] = rig.graph.acts
        assert (act.action, act.branch, act.label, act.note) == (
            "label", "ep_0001-b001", "failure", "n"
        )
        assert rig.graph.who == "anna"
        with BranchReader(session / "tree.sqlite") as reader:
            assert reader.branch("ep_0001-b001").label == "success"  # not by the console itself
    finally:
        rig.server.close()
