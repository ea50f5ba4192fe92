"""A node exits cleanly after a peer died with the mutex of its shared-memory port locked."""

import os
import random
import sys
from pathlib import Path

import pytest

from hiwm_core.abandoned_memory import remove_abandoned

sys.path.insert(0, str(Path(__file__).parent))
from dead_peers import (  # noqa: E402
    exit_code_in,
    killed_while_creating_ports,
    one_round,
)

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


def test_ports_that_a_killed_peer_left_unfinished_are_removed() -> None:
    """A node that opens one of them hangs in its start for ever."""
    domain = killed_while_creating_ports()
    assert remove_abandoned() >= 1
    assert exit_code_in(domain) == 0
