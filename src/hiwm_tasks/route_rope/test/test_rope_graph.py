"""A demonstration through the graph: pose controllers, gripper actions, two joint-state sources."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hiwm_core.ros_domains import domain_id

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[4]
HORIZON = 150


def test_the_expert_routes_the_rope_through_the_bridge(tmp_path: Path) -> None:
    ended = subprocess.run(
        [
            sys.executable, "-m", "hiwm_bringup.launcher", str(ROOT / "launch/collect.launch.xml"),
            "task:=route_rope", "robot:=yam_pair", "episodes:=1", f"horizon:={HORIZON}",
            "seed:=5", f"session_dir:={tmp_path}",
        ],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id())}, capture_output=True, text=True,
        timeout=500,
    )
    output = ended.stdout + ended.stderr
    assert ended.returncode == 0, output
    done = re.search(r"demonstration: 1 episodes, (\d+) ticks", output)
    # It ends before its horizon only if both clips hold the rope.
    assert done and int(done.group(1)) < HORIZON, output
    assert "refused" not in output and "rejected" not in output
