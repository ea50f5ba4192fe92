"""Two cameras of different sizes, from a robot's drivers through the bridge to the live page."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from hiwm_test_support import tool_pair
from hiwm_test_support.drivers.cell import GUARD_S, Cell
from hiwm_test_support.drivers.node import Traits
from hiwm_test_support.headless_browser import Browser, chromium
from hiwm_test_support.nodes import NodeProcess

pytestmark = [
    pytest.mark.nodes, pytest.mark.timeout(400),
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed"),
]
PICTURES = "[...document.querySelectorAll('#cameras canvas')]"


def test_the_page_shows_every_camera_of_a_running_robot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool_pair.write_configs(tmp_path)
    monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path))
    with ExitStack() as stack:
        cell = Cell(stack, tool_pair.NAME, tmp_path, Traits())
        console = stack.enter_context(NodeProcess(
            "hiwm_console", "web_console", domain=cell.domain, namespace="cell",
            parameters={"session_dir": str(tmp_path / "session"), "port": 0},
        ))
        cell.more_ticks(2)
        cell.until(lambda: "http://" in console.output, "the console's address")
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+/", console.output)[:1]
        page = stack.enter_context(Browser()).open(address)
        page.until(
            f"{PICTURES}.length == 2 && {PICTURES}.every(one => Number(one.dataset.frames) > 2)",
            GUARD_S,
        )
        sizes = page.run(f"{PICTURES}.map(one => one.width + ' x ' + one.height).join(', ')")
        assert sizes == "64 x 48, 40 x 40"
        assert page.errors == []
