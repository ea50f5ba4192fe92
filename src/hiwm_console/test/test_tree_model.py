"""The page's copy of the tree, in JavaScript: pages of changes in any order, and lost ones.

Runs where node is installed; elsewhere only the browser tests run this code.
"""

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

MODEL = Path(__file__).parents[1] / "hiwm_console" / "page" / "tree_model.js"
NODE = shutil.which("node")
SCRIPT = """
const { Tree } = await import(process.argv[1]);
const { pages, lost, early } = JSON.parse(process.argv[2]);
const tree = new Tree();
for (const page of early) tree.show(page);
const ahead = tree.count;
const missing = lost.map((page) => tree.apply(page));
while (tree.revision < pages.at(-1).latest) {
  tree.apply(pages.find((page) => page.since <= tree.revision && tree.revision < page.revision));
}
const nodes = [...tree.branches.values()].flatMap((branch) => branch.nodes.map((node) => node.id));
const labels = Object.fromEntries([...tree.branches.values()].map(({ id, label }) => [id, label]));
const line = tree.line(tree.node(tree.head)).map((node) => node.id);
console.log(JSON.stringify({ nodes, labels, line, missing, ahead, count: tree.count }));
"""


def run(branch: str, step: int, count: int) -> dict[str, Any]:
    unknown = [-1] * count
    return {
        "branch": branch, "step": step, "source": "1" * count, "flags": "8" * count,
        "trust": unknown, "progress": unknown, "success": unknown,
    }


def page(since: int, revision: int, branches: list[dict[str, Any]], *runs: Any) -> dict[str, Any]:
    return {
        "type": "tree", "since": since, "revision": revision, "latest": 14, "head": "b:6",
        "branches": branches, "runs": list(runs),
    }


def branch(name: str, fork: str, label: str) -> dict[str, Any]:
    return {
        "id": name, "episode": "e", "from": fork, "kind": "fork", "label": label, "note": "",
        "discarded": False,
    }


# The first nodes of a branch changed last, and a branch was labelled after its nodes.
PAGES = [
    page(0, 5, [], run("a", 3, 2), run("b", 5, 1)),
    page(5, 9, [branch("a", "", "")], run("b", 6, 1)),
    page(9, 14, [branch("b", "a:4", "success")], run("a", 0, 3)),
]


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("seed", range(4))
def test_the_page_converges_whatever_it_missed(seed: int) -> None:
    rng = random.Random(seed)
    lost = rng.sample(PAGES, rng.randint(1, 3))
    # The present episode comes first, with a label that has changed since.
    early = [page(0, 0, [branch("b", "a:4", "failure")], run("b", 5, 2))] if seed % 2 else []
    answer = subprocess.run(
        [str(NODE), "--input-type=module", "-e", SCRIPT, MODEL.as_uri(),
         json.dumps({"pages": PAGES, "lost": lost, "early": early})],
        capture_output=True, text=True, check=True, timeout=60,
    )
    found = json.loads(answer.stdout)
    assert sorted(found["nodes"]) == ["a:0", "a:1", "a:2", "a:3", "a:4", "b:5", "b:6"]
    assert found["labels"] == {"a": "", "b": "success"}
    assert found["line"] == ["a:0", "a:1", "a:2", "a:3", "a:4", "b:5", "b:6"]
    assert found["missing"][0] is True
    assert (found["ahead"], found["count"]) == (2 if early else 0, 7)
