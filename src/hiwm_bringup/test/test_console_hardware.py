"""The console on the stand-in: the same page, and guidance to put the scene back manually."""

import re
import sys
from pathlib import Path

import pytest

from hiwm_test_support.headless_browser import Browser, chromium

sys.path.insert(0, str(Path(__file__).parent))
from launched_session import GUARD_S, LaunchedSession  # noqa: E402

pytestmark = [
    pytest.mark.nodes, pytest.mark.slow, pytest.mark.timeout(400),
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed"),
    pytest.mark.flaky(
        reruns=2, reason="a page silent for 0.5 s loses control; a starved browser is silent"
    ),
]
_OVER_THE_CAMERA = """(() => {
  const [guide, camera] = ["guide", "camera-0"].map((id) =>
    document.getElementById(id).getBoundingClientRect());
  const picture = document.getElementById("guide");
  return !picture.hidden && picture.complete && picture.naturalWidth > 0
    && ["x", "y", "width"].every((key) => Math.abs(guide[key] - camera[key]) < 2);
})()"""


def test_a_person_drives_the_stand_in_and_is_guided_back(tmp_path: Path) -> None:
    arguments = {
        "world": "hardware", "robot": "standin", "start_mode": "paused", "device": "none",
        "console": "true", "console_port": "0", "record": "false",
    }
    with LaunchedSession(tmp_path / "session", arguments) as graph, Browser() as browser:
        graph.until(lambda: bool(graph.lines("console: http")) and bool(graph.ticks))
        address = re.search(r"http://127\.0\.0\.1:\d+/", graph.output)
        assert address
        page = browser.open(address[0])
        page.until("hiwm.state.connected && hiwm.tree.count > 0", GUARD_S)
        # The policy is available, and fork is not: the scene cannot be restored.
        graph.until(lambda: bool(page.run(
            "hiwm.state.missing && !hiwm.state.missing.start && hiwm.state.missing.fork"
        )))
        page.key(" ")
        graph.until(lambda: bool(page.run("hiwm.state.tick?.source == 1")))

        def in_control() -> bool:
            if page.run("!hiwm.hands.engaged && hiwm.state.control.mode != 'HUMAN'"):
                page.key("t")
            return bool(page.run("hiwm.state.tick.source == 2"))

        graph.until(in_control)
        page.key("h")
        graph.until(lambda: bool(page.run("hiwm.state.control.mode == 'POLICY'")))
        graph.until(lambda: bool(page.run("hiwm.state.tick.step > 12")))
        for key in ("5", "b"):  # a real scene cannot be rolled back: the page shows what to do
            page.key(key)
        graph.until(lambda: bool(page.run(_OVER_THE_CAMERA)))
        graph.until(lambda: bool(page.run("hiwm.state.control.mode == 'PAUSED'")))
        assert "cannot be put back" in page.run("document.getElementById('toasts').textContent")
        epoch = page.run("hiwm.state.tick.epoch")
        page.key("r")
        graph.until(lambda: bool(page.run(f"hiwm.state.tick.epoch == {epoch + 1}")))
        assert page.run("document.getElementById('guide').hidden") is True
        assert page.errors == []
