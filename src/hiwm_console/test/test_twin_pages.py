"""The page of twins: what it serves, and what it shows."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from hiwm_core.output_folders import claim_folder
from hiwm_core.twin_folder import NUMBERS, VIDEO, VIEWS, WHAT, view_path
from hiwm_test_support.headless_browser import Browser, chromium

sys.path.insert(0, str(Path(__file__).parent))
from console_rig import ConsoleRig  # noqa: E402
from page_rig import opened  # noqa: E402

STEPS = 4


def write_twin(folder: Path) -> Path:
    """Write a twin of a few steps from step 7 on, without a verdict on success."""
    claim_folder(folder, WHAT)
    (folder / VIEWS).mkdir()
    for number in range(STEPS):
        Image.fromarray(np.full((8, 24, 3), 40 * number, np.uint8)).save(view_path(folder, number))
    (folder / VIDEO).write_bytes(b"video")
    (folder / NUMBERS).write_text(json.dumps({
        "task": "dot", "truth": "bag:/a@7", "recorded_on": "arm", "world_model": "latent 1a",
        "interrupted": False, "fps": 50.0, "cameras": ["top"],
        "measure": {"error_unit": "mm", "bad_error": 5.0, "columns": {}},
        "rows": [
            {"step": 7 + t, "psnr_db": 40.0 - t, "error": 0.5 * t, "trust": 0.9, "success": None}
            for t in range(STEPS)
        ],
    }))
    return folder


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ConsoleRig]:
    write_twin(tmp_path / "first")
    (tmp_path / "notes").mkdir()
    found = ConsoleRig(tmp_path, stored=True)
    yield found
    found.server.close()


def get(rig: ConsoleRig, path: str) -> tuple[int, bytes]:
    """Return status and body of an answer."""
    try:
        with urlopen(rig.base + path) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


def test_runs_views_and_video_are_served_by_number(rig: ConsoleRig, tmp_path: Path) -> None:
    listed = json.loads(get(rig, "twin/runs")[1])
    assert listed["runs"] == ["first"]
    write_twin(tmp_path / "second")
    assert json.loads(get(rig, "twin/runs")[1])["runs"] == ["first", "second"]
    assert json.loads(get(rig, "twin/runs/1")[1])["rows"][0]["step"] == 7
    views = listed["views"].lstrip("/")
    assert get(rig, f"{views}0/2")[1] == view_path(tmp_path / "first", 2).read_bytes()
    assert get(rig, "twin/video/0") == (200, b"video")
    for path in ("twin/runs/2", f"{views}0/9", "twin/views/other/0/0", "twin/runs/x"):
        assert get(rig, path)[0] == 404


def test_damaged_numbers_are_named(rig: ConsoleRig, tmp_path: Path) -> None:
    (tmp_path / "first" / NUMBERS).write_text("{")
    get(rig, "twin/runs")
    status, text = get(rig, "twin/runs/0")
    assert status == 404 and b"cannot be read" in text


def test_the_console_of_a_twin_opens_its_page(tmp_path: Path) -> None:
    rig = ConsoleRig(write_twin(tmp_path / "twin"), stored=True)
    try:
        with urlopen(rig.base) as answer:
            assert answer.url == rig.base + "twin"
    finally:
        rig.server.close()


@pytest.mark.timeout(300)
@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_the_page_plays_a_twin(rig: ConsoleRig) -> None:
    numbers = "document.querySelector('#numbers').textContent"
    with Browser() as browser, opened(rig, browser, path="twin") as page:
        page.until(f"{numbers}.includes('step7')")
        assert "error, mm0" in page.run(numbers) and "success?" in page.run(numbers)
        page.key("ArrowRight")
        page.until(f"{numbers}.includes('step8')")
        page.key(" ")
        page.until(f"{numbers}.includes('step{6 + STEPS}')")
        assert page.run("document.querySelector('#views').naturalWidth") == 24
        assert "bag:/a@7 (arm)" in page.run("document.querySelector('#about').textContent")
