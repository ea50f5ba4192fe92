"""Runs that the page of twins starts: watched while they run, stopped with the console."""

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from hiwm_console.protocol import Refused
from hiwm_console.twin_runs import parse_request
from hiwm_core.twin_folder import NUMBERS, SILENT_S, is_running
from hiwm_test_support.headless_browser import Browser, chromium
from hiwm_test_support.nodes import wait_until

sys.path.insert(0, str(Path(__file__).parent))
from console_rig import ConsoleRig  # noqa: E402
from page_rig import opened  # noqa: E402

GOOD = {"truth": "standin", "steps": 20, "seed": 3, "policy": ""}
# Plays the command: writes a step each time it is asked to, until SIGINT.
PLAYER = """
import json, signal, sys, time
from pathlib import Path
import numpy as np
from PIL import Image
from hiwm_core.atomic_files import replace_file
from hiwm_core.output_folders import claim_folder
from hiwm_core.twin_folder import NUMBERS, VIEWS, WHAT, view_path
words = sys.argv[1:]
if words[0] == "bag:/nowhere@1":
    print("error: no such bag", file=sys.stderr)
    sys.exit(1)
folder = Path(words[words.index("--output") + 1])
claim_folder(folder, WHAT)
(folder / VIEWS).mkdir()
rows, running = [], True
def stop(*_):
    global running
    running = False
signal.signal(signal.SIGINT, stop)
while True:
    goes_on = running
    Image.fromarray(np.zeros((8, 24, 3), np.uint8)).save(view_path(folder, len(rows)))
    rows.append({"step": len(rows), "psnr_db": 30.0, "error": 1.0, "trust": 0.5, "success": None})
    replace_file(folder / NUMBERS, json.dumps({
        "task": "dot", "truth": " ".join(words), "recorded_on": "arm", "world_model": "latent 1a",
        "interrupted": not goes_on, "running": goes_on, "fps": 50.0, "cameras": ["top"],
        "measure": {"error_unit": "mm", "bad_error": 5.0, "columns": {}}, "rows": rows,
    }))
    if not goes_on:
        sys.exit(130)
    time.sleep(0.02)
"""


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConsoleRig]:
    player = tmp_path / "player.py"
    player.write_text(PLAYER)
    monkeypatch.setattr("hiwm_console.twin_runs.COMMAND", (sys.executable, str(player)))
    folder = tmp_path / "mine"
    folder.mkdir()
    found = ConsoleRig(folder, stored=True)
    yield found
    if not found.server.loop.is_closed():
        found.server.close()


def post(rig: ConsoleRig, path: str, body: Any, kind: str = "application/json") -> tuple[int, Any]:
    """Return status and answer."""
    request = Request(
        rig.base + path, json.dumps(body).encode(), headers={"Content-Type": kind}
    )
    try:
        with urlopen(request) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text.startswith("{") else text


def listed(rig: ConsoleRig) -> Any:
    with urlopen(rig.base + "twin/runs") as answer:
        return json.load(answer)


def test_a_run_is_watched_while_it_runs_and_stopped(rig: ConsoleRig, tmp_path: Path) -> None:
    assert listed(rig)["may_run"]
    assert post(rig, "twin/runs", GOOD) == (200, {"ok": True, "name": "twin_0001"})
    wait_until(lambda: listed(rig)["runs"] == ["twin_0001"])
    status, answer = post(rig, "twin/runs", GOOD)
    assert status == 400 and "stop it first" in answer["message"]
    with urlopen(rig.base + "twin/runs/0") as answer:
        numbers = json.load(answer)
    assert numbers["running"] and "--steps 20 --seed 3" in numbers["truth"]
    post(rig, "twin/stop", {})
    wait_until(lambda: not listed(rig)["run"]["running"])
    assert listed(rig)["run"]["error"] == ""
    assert json.loads((tmp_path / "mine" / "twin_0001" / NUMBERS).read_text())["interrupted"]
    assert post(rig, "twin/runs", GOOD)[1]["name"] == "twin_0002"


def test_two_pages_cannot_start_the_same_run(rig: ConsoleRig, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(rig, "twin/runs", GOOD), range(4)))
    assert sorted(status for status, _ in answers) == [200, 400, 400, 400]
    wait_until(lambda: listed(rig)["runs"] == ["twin_0001"])
    post(rig, "twin/stop", {})
    post(rig, "twin/stop", {})  # a second SIGINT would end the writing
    wait_until(lambda: not listed(rig)["run"]["running"])
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["twin_0001"]


def test_a_run_that_fails_says_why(rig: ConsoleRig) -> None:
    post(rig, "twin/runs", {**GOOD, "truth": "bag:/nowhere@1"})
    wait_until(lambda: not listed(rig)["run"]["running"])
    assert listed(rig)["run"]["error"] == "error: no such bag"


def test_the_console_ends_its_run(rig: ConsoleRig, tmp_path: Path) -> None:
    post(rig, "twin/runs", GOOD)
    wait_until(lambda: listed(rig)["runs"] == ["twin_0001"])
    rig.server.close()
    numbers = json.loads((tmp_path / "mine" / "twin_0001" / NUMBERS).read_text())
    assert numbers["interrupted"] and not numbers["running"]


@pytest.mark.parametrize(("change", "reason"), [
    ({"truth": "--help"}, "truth"), ({"truth": 3}, "truth"), ({"steps": 0}, "steps"),
    ({"steps": 1.5}, "steps"), ({"steps": True}, "steps"), ({"seed": -1}, "seed"),
    ({"policy": "--help"}, "policy"), ({"policy": None}, "policy"),
])
def test_other_requests_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        parse_request(json.dumps({**GOOD, **change}))
    for text in ("", "[]", "{}", "nothing"):
        with pytest.raises(Refused, match="not the request"):
            parse_request(text)


def test_a_form_of_another_site_cannot_start_a_run(rig: ConsoleRig) -> None:
    assert post(rig, "twin/runs", GOOD, "text/plain")[0] == 415
    assert not listed(rig)["run"]["running"]


def test_a_killed_run_does_not_run_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NUMBERS).write_text("{}")
    assert is_running({"running": True}, tmp_path)
    assert not is_running({"running": False}, tmp_path)
    # Later, and after the clock was set back.
    for now in (time.time() + SILENT_S + 1, time.time() - 3600.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert not is_running({"running": True}, tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_the_page_starts_a_run_follows_it_and_stops_it(rig: ConsoleRig) -> None:
    last = "Number(document.querySelector('#scrub').max)"
    with Browser() as browser, opened(rig, browser, path="twin") as page:
        page.until("!document.querySelector('#new').hidden")
        page.run("document.querySelector('#start').click()")
        page.until(f"{last} > 2 && document.querySelector('#about').textContent.includes('runs')")
        seen = page.run(last)
        page.until(f"{last} > {seen} && document.querySelector('#scrub').value > {seen}")
        page.run("document.querySelector('#stop').click()")
        page.until("document.querySelector('#about').textContent.includes('interrupted')")
        page.until("!document.querySelector('#start').disabled")
