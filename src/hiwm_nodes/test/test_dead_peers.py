"""A node ends well although a peer died with the mutex of its shared-memory port locked."""

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


def test_a_node_ends_well_after_a_peer_died_holding_its_ports() -> None:
    """Two rounds in three hang for ever where nothing bounds the end."""
    generator = random.Random(0)
    for _ in range(2):
        code, said = one_round(generator)
        assert code == 0, said
        assert "closed" in said
