"""What a drawing of `hiwm_core.tree_drawing` shows."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiwm_core.branch_records import BranchKind, Label, Node, TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.control import Source
from hiwm_core.errors import StoreError
from hiwm_core.palette import SOURCE_COLOURS
from hiwm_core.tree_drawing import draw_session, draw_tree, main


def node(branch: str, step: int, parent: str, **fields: object) -> Node:
    values: dict = {
        "node_id": f"{branch}:{step}",
        "parent_id": parent,
        "episode_id": branch.split("-")[0],
        "branch_id": branch,
        "epoch": 1,
        "step": step,
        "state_id": "",
        "stamp_ns": 0,
        "source": Source.POLICY if step else Source.NONE,
        "device": "",
        "action": (),
        "trust": 1.0,
        "progress": math.nan,
        "success": math.nan,
        "label": Label.NONE,
        "note": "",
        "pinned": False,
        "rolled_back": False,
        "discarded": False,
        "takeover": False,
    }
    return Node(**(values | fields))


def run(branch: str, first: int, last: int, parent: str = "", **fields: object) -> list[Node]:
    nodes = []
    for step in range(first, last + 1):
        nodes.append(node(branch, step, parent, **fields))
        parent = nodes[-1].node_id
    return nodes


def drawn(path: Path, nodes: Sequence[Node], **fields: str) -> np.ndarray:
    draw_tree(nodes, path, **fields)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def pixels_of(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Pixels of a colour below the legend."""
    return int((np.abs(picture[88:] - colour).max(axis=2) <= 3).sum())


@pytest.mark.parametrize("source", [s for s in Source if s is not Source.NONE])
def test_length_and_colour_show_source_and_duration(tmp_path: Path, source: Source) -> None:
    mine, other = SOURCE_COLOURS[source], SOURCE_COLOURS[Source.NONE]
    for share in (25, 75):
        nodes = run("ep-b000", 0, 100 - share, source=Source.NONE)
        nodes += run("ep-b000", 101 - share, 100, nodes[-1].node_id, source=source)
        picture = drawn(tmp_path / "tree.png", nodes)
        ratio = pixels_of(picture, mine) / (pixels_of(picture, mine) + pixels_of(picture, other))
        assert abs(ratio - share / 100) < 0.03


def test_rolled_back_states_are_pale(tmp_path: Path) -> None:
    nodes = run("ep-b000", 0, 50) + run("ep-b000", 51, 100, "ep-b000:50", rolled_back=True)
    full = pixels_of(drawn(tmp_path / "tree.png", run("ep-b000", 0, 100)), SOURCE_COLOURS[1])
    half = pixels_of(drawn(tmp_path / "tree.png", nodes), SOURCE_COLOURS[1])
    assert abs(half / full - 0.5) < 0.03


def test_labels_show(tmp_path: Path) -> None:
    pictures = [drawn(tmp_path / "tree.png", run("ep-b000", 0, 20, label=label)) for label in Label]
    assert len({picture.tobytes() for picture in pictures}) == len(Label)


@pytest.mark.parametrize("field", ["takeover", "discarded", "note"])
def test_marks_show(tmp_path: Path, field: str) -> None:
    plain = drawn(tmp_path / "tree.png", run("ep-b000", 0, 20))
    marked = drawn(tmp_path / "tree.png", run("ep-b000", 0, 20, **{field: "a note"}))
    assert plain.tobytes() != marked.tobytes()


def test_every_branch_has_a_row_and_many_stay_within_a_page(tmp_path: Path) -> None:
    heights = []
    for count in (3, 10, 30, 60, 120):
        nodes = run("ep-b000", 0, 100)
        for number in range(1, count):
            fork = number % 90
            nodes += run(f"ep-b{number:03d}", fork + 1, fork + 10, f"ep-b000:{fork}")
        heights.append(drawn(tmp_path / "tree.png", nodes).shape[0])
    assert heights == sorted(set(heights))
    assert heights[0] < 260 and heights[3] < 1400 and heights[4] < 2200


def test_a_chain_of_a_thousand_rollbacks_can_be_drawn(tmp_path: Path) -> None:
    nodes = run("ep-b000", 0, 2)
    for number in range(1, 1001):
        nodes += run(f"ep-b{number:03d}", number + 2, number + 2, nodes[-1].node_id)
    assert drawn(tmp_path / "tree.png", nodes).shape[0] > 10_000


@pytest.mark.parametrize(
    "nodes", [[], run("ep-b000", 0, 0), run("ep-b000", 7, 9), run("ep-b003", 5, 6, "lost:4")]
)
def test_odd_trees_can_be_drawn(tmp_path: Path, nodes: list[Node]) -> None:
    drawn(tmp_path / "tree.png", nodes, title="odd", head_id="nowhere")


def make_session(folder: Path) -> None:
    """Store a tree of five ticks and a fork."""
    with BranchStore(folder / "tree.sqlite") as store:
        for step in range(5):
            store.add_tick(
                TickRecord(
                    stamp_ns=step,
                    epoch=1,
                    step=step,
                    episode_id="ep_0001",
                    branch_id="ep_0001-b000",
                    source=Source.POLICY,
                )
            )
        store.plan_branch("ep_0001-b001", "ep_0001-b000:2", BranchKind.FORK)
        store.begin_branch("ep_0001-b001", 2)  # without states so far


def test_the_tree_of_a_session_is_drawn_into_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_session(tmp_path)
    with BranchStore(tmp_path / "tree.sqlite"):
        assert draw_session(tmp_path) == tmp_path / "tree.png"
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip().endswith("tree.png")
    assert main([str(tmp_path / "none")]) == 1
    assert "there is no branch tree here" in capsys.readouterr().err


def test_only_a_drawing_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = tmp_path / "session"
    session.mkdir()
    make_session(session)
    drawing, photo = tmp_path / "drawing.png", tmp_path / "photo.png"
    assert main([str(session), str(drawing)]) == main([str(session), str(drawing)]) == 0
    Image.new("RGB", (3, 2)).save(photo)
    tree = session / "tree.sqlite"
    for theirs in (photo, tree):
        before = theirs.read_bytes()
        assert main([str(session), str(theirs)]) == 1
        assert str(theirs) in capsys.readouterr().err
        assert theirs.read_bytes() == before
    # The session's own place; an earlier version left no mark there.
    Image.new("RGB", (3, 2)).save(session / "tree.png")
    assert main([str(session), str(session / "tree.png")]) == 0


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="drawing of the tree.*permissions"):
        draw_tree([], tmp_path / "file" / "tree.png")
