"""The whole graph from launch to exit: the same tests in imagination and on the stand-in.

In imagination the policy is behind a server of the openpi protocol; on the stand-in it is local.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.bags import Segment, read_segment, session_bags
from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import Branch, BranchKind, Node
from hiwm_core.config_files import default_task
from hiwm_core.control import Source
from hiwm_core.session_summary import summarise
from hiwm_learning.policies.planning import load_planner
from hiwm_learning.policies.remote.serve import CheckpointService
from hiwm_recording.audit import main as audit
from hiwm_test_support.policy_servers import PolicyServer

sys.path.insert(0, str(Path(__file__).parent))
from launched_session import ROOT, LaunchedSession  # noqa: E402

# The first test of a world launches its session.
pytestmark = [pytest.mark.nodes, pytest.mark.slow, pytest.mark.timeout(600)]

WORLDS = {
    "imagination": {"world": "imagination", "rate": "0.0", "policy": "openpi"},
    "standin": {"world": "hardware", "robot": "standin", "fast": "true"},
}
CONTINUATIONS = 3


@dataclass(frozen=True)
class Session:
    """What a session wrote."""

    world: str
    folder: Path
    code: int
    output: str
    nodes: dict[str, Node]
    branches: list[Branch]
    segments: dict[str, Segment]  # by branch


def served_policy() -> PolicyServer:
    """Serve the shipped policy of the default task."""
    path = ROOT / "models" / f"policy_{default_task()}.safetensors"
    service = CheckpointService(load_planner(path))
    server = PolicyServer(service.metadata)
    server.answer = service.infer  # type: ignore[method-assign]
    return server


@pytest.fixture(scope="module", params=WORLDS)
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
            ) -> Iterator[Session]:
    """Launch a session, wait until the scripted operator ends it, and return what it wrote."""
    folder = tmp_path_factory.mktemp(request.param) / "session"
    arguments = {
        **WORLDS[request.param], "device": "scripted", "failures": 1, "branches": CONTINUATIONS,
        "max_seconds": 300.0, "seed": 1, "view": "true",
    }
    with ExitStack() as stack:
        if "policy" in arguments:
            arguments["port"] = stack.enter_context(served_policy()).port
        graph = stack.enter_context(LaunchedSession(folder, arguments))
        code = graph.wait()
        output = graph.output
    with BranchReader(folder / "tree.sqlite") as reader:
        nodes = {node.node_id: node for node in reader.tree()}
        branches = reader.branches()
    segments = [read_segment(bag) for bag in session_bags(folder)]
    yield Session(
        request.param, folder, code, output, nodes, branches,
        {segment.lineage.branch_id: segment for segment in segments},
    )
    if request.session.testsfailed:
        print(output)


def test_the_operator_ends_the_session_and_every_node_exits_with_0(session: Session) -> None:
    assert session.code == 0, session.output
    assert "Traceback" not in session.output
    assert "during shutdown" not in session.output, session.output


def test_every_bag_passes_its_audit(session: Session) -> None:
    assert session.segments
    assert audit([str(session.folder)]) == 0


def test_the_policy_acts_and_corrections_are_recorded(session: Session) -> None:
    sources = np.concatenate([segment.source for segment in session.segments.values()])
    assert np.count_nonzero(sources == Source.POLICY) > 0, "the policy never acted"
    assert np.count_nonzero(sources == Source.HUMAN) > 0, "no correction was recorded"
    if session.world == "imagination":
        assert "connected to ws://127.0.0.1:" in session.output  # with what the server said
    for segment in session.segments.values():
        moved = segment.source != Source.NONE
        assert np.isfinite(segment.actions[moved]).all()
        assert segment.observations["top"].shape[1:] == (96, 96, 3)


def test_takeovers_take_effect_on_the_next_tick(session: Session) -> None:
    summary = summarise(session.folder)
    assert summary["takeovers"]["count"] >= 1
    assert summary["takeovers"]["latency_ticks_most"] <= 1
    for file in ("summary.json", "contact_sheet.png", "tree.png", "live.png", "session.json"):
        assert (session.folder / file).stat().st_size > 0


def test_the_tree_holds_every_recorded_tick_with_its_source(session: Session) -> None:
    for branch, segment in session.segments.items():
        for step, source in zip(segment.steps[1:], segment.applied_source[1:], strict=True):
            assert session.nodes[f"{branch}:{step}"].source == source


def test_rollback_works_in_imagination_and_is_refused_on_a_robot(session: Session) -> None:
    kinds = [branch.kind for branch in session.branches]
    refused = [line for line in session.output.splitlines() if "rollback: refused" in line]
    if session.world == "imagination":
        assert BranchKind.ROLLBACK in kinds
        assert not refused
    else:
        assert set(kinds) == {BranchKind.RESET}
        assert refused
        for words in ("not possible on hardware (robot standin)", "reset the scene by hand"):
            assert words in refused[0]


def test_every_continuation_starts_from_one_failure_state_and_frame(
    session: Session,
) -> None:
    if session.world != "imagination":
        assert not any(node.state_id for node in session.nodes.values())
        return
    corrected = [branch for branch in session.branches if branch.kind is not BranchKind.RESET]
    assert len(corrected) >= CONTINUATIONS
    assert len({branch.fork_node_id for branch in corrected}) == 1
    state = session.nodes[corrected[0].fork_node_id]
    parent = session.segments[state.branch_id]
    frame = parent.observations["top"][list(parent.steps).index(state.step)]
    for branch in corrected:
        segment = session.segments[branch.branch_id]
        assert segment.state_ids[0] == state.state_id
        first = segment.observations["top"][0]
        assert first.tobytes() == frame.tobytes()
