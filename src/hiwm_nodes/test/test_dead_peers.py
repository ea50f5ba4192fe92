"""A node exits cleanly after a peer died with the mutex of its shared-memory port locked."""

import os
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from dead_peers import one_round  # noqa: E402

pytestmark = [
    pytest.mark.nodes,
    pytest.mark.skipif(
        "fastrtps" not in os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"),
        reason="shared memory of Fast DDS",
    ),
]


def test_a_node_exits_cleanly_after_a_peer_died_holding_its_ports() -> None:
    """Two rounds in three hang forever if nothing limits the shutdown."""
    generator = random.Random(0)
    for _ in range(2):
        code, output = one_round(generator)
        assert code == 0, output
        assert "closed" in output
