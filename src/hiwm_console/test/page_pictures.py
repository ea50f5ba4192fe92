"""Makes the pictures of docs/console.md: each state of the page at two widths.

    PYTHONPATH=test_support:$PYTHONPATH python src/hiwm_console/test/page_pictures.py \\
        SESSION docs/console

SESSION is a stored session with bags, such as that of scripts/demo; its labels are not changed. The
states are played, so that all of them can be shown without a robot that has stopped itself.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiwm_console.session_files import SessionFiles
from hiwm_console.stored_session import serve
from hiwm_core.branch_reader import BranchReader
from hiwm_core.control import Mode
from hiwm_core.errors import HiwmError
from hiwm_core.output_folders import claim_folder
from hiwm_core.user_paths import path_argument
from hiwm_test_support.headless_browser import Browser, Page

sys.path.insert(0, str(Path(__file__).parent))
from page_rig import PHONE, WIDTHS, PageRig, drawn, opened  # noqa: E402

FOUR = {name: (640, 480) for name in ("top", "left_wrist", "right_wrist", "side")}
LATCHED = "stopped: interlock estop: /io/estop data is True, not False; then call world/rearm"
READY = (
    "window.hiwm?.state.tick && hiwm.tree.count > 0 && "
    "Number(document.querySelector('#camera-0')?.dataset.frames) > 0"
)
_SETTLED_S = 2.0  # thumbnails are loaded
_COLOURS = 256


def few_colours(picture: Image.Image) -> Image.Image:
    """Return a picture with a palette, and so with few bytes; rare colours keep their own."""
    return picture.quantize(
        _COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )


def save(page: Page, path: Path) -> None:
    """Write a screenshot."""
    page.screenshot(path)
    picture = Image.open(path).convert("RGB")
    few_colours(picture).save(path, optimize=True)
    print(path, path.stat().st_size)


class Pictures:
    """Opens pages at both widths and keeps what they show."""

    def __init__(self, browser: Browser, session: Path, output: Path) -> None:
        self._browser, self._session, self._output = browser, session, output
        with BranchReader(session / "tree.sqlite") as reader:
            self._head = reader.head_id
        files = SessionFiles(session)
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(files.frame(self._head))
            self._frame = np.asarray(Image.open(file.name).convert("RGB"))
        files.close()

    def planar(self) -> PageRig:
        """Return a rig over the session."""
        rig = PageRig(self._session)
        rig.world()
        self._begin(rig, [self._frame])
        return rig

    def pair(self) -> PageRig:
        """Return a rig with two arms of joints and four cameras."""
        rig = PageRig(self._session, "i2rt_yam_pair")
        rig.world(FOUR, kind="hardware", robot="yam_pair", task="stack_cups",
                  instruction="route the rope through both clips")
        self._begin(rig, [drawn(*size, name) for name, size in FOUR.items()])
        return rig

    def _begin(self, rig: PageRig, frames: list[NDArray[np.uint8]]) -> None:
        branch, _, step = self._head.rpartition(":")
        rig.numbers(branch, int(step), measured=[
            0.62 if group.kind == "gripper" else 0.0
            for group in rig.embodiment.groups for _ in range(group.size)
        ])
        rig.health()
        rig.pictures(frames)

    def take(self, rig: PageRig, name: str, then: Callable[[Page], object] = lambda _: 0) -> None:
        """Save a state of a rig at both widths, and end the rig."""
        for size in WIDTHS:
            with opened(rig, self._browser, size) as page:
                page.until(READY)
                time.sleep(_SETTLED_S)
                then(page)
                time.sleep(0.5)
                save(page, self._output / f"{name}_{size[0]}.png")
        rig.server.close()

    def stored(self) -> None:
        """Save the stored session and the labelling page, of a copy of the session."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(self._session, Path(folder) / self._session.name))
            server = serve(copy, 0)
            for size in WIDTHS:
                page = self._browser.open(server.address, width=size[0], height=size[1])
                page.until("hiwm.tree.count > 0 && document.querySelector('#still').naturalWidth")
                time.sleep(_SETTLED_S)
                save(page, self._output / f"stored_{size[0]}.png")
                page.go(f"{server.address}label")
                page.until("hiwmLabels.state.opened && !hiwmLabels.player.playing")
                page.run("document.querySelector('#who').value = 'operator 1'")
                page.run("hiwmLabels.player.seek(Math.round(hiwmLabels.player.last / 3))")
                page.key("2")
                page.run("hiwmLabels.player.seek(hiwmLabels.player.last)")
                page.key("4")
                page.run("hiwmLabels.give({label: 'failure', note: 'turned the wrong way'})")
                time.sleep(1.0)
                save(page, self._output / f"label_{size[0]}.png")
                page.ask("Page.close")
            server.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the pictures and return the exit code."""
    parser = argparse.ArgumentParser(description="Make the pictures of docs/console.md.")
    parser.add_argument("session", type=path_argument)
    parser.add_argument("output", type=path_argument)
    options = parser.parse_args(arguments)
    try:
        claim_folder(options.output, "pictures of the console", inputs=[options.session])
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with Browser() as browser:
        pictures = Pictures(browser, options.session.resolve(), options.output)
        rig = pictures.planar()
        rig.mode(Mode.POLICY, "resumed in the console", "policy", 1)
        pictures.take(rig, "policy")
        rig = pictures.planar()
        rig.mode(Mode.PAUSED, "paused in the console")
        pictures.take(rig, "paused", lambda page: (page.key("/"), page.run("scrollTo(0, 0)")))
        rig = pictures.pair()
        rig.mode(Mode.STOPPED, "stopped in the console")
        rig.health(LATCHED, 2, phase="stopped")
        pictures.take(rig, "stopped")
        rig = pictures.pair()

        def drive(page: Page) -> None:
            page.run("document.querySelector('#toasts').replaceChildren(); hiwm.hands.engage()")
            rig.mode(Mode.HUMAN, "the operator took over", "console", 2)
            page.key("d", "down")
            page.run("document.querySelector('#toasts').hidden = true")

        rig.mode(Mode.PAUSED, "started paused")
        pictures.take(rig, "human", drive)
        rig = pictures.planar()
        held = "command held: left wrist would be 12 mm from the right forearm (at least 30 mm)"
        rig.health(held, 1, phase="running")
        rig.mode(Mode.PAUSED, "the page in control has been silent for 0.27 s")
        pictures.take(rig, "lost_control", lambda page: page.run(
            "hiwm.hands.engage(); hiwm.hands.drop('this page slept for 3 s'); "
            "document.querySelector('#toasts').hidden = true"
        ))
        rig = pictures.planar()
        rig.mode(Mode.HUMAN, "the operator took over", "console", 3)
        pictures.take(rig, "two_people", lambda page: rig.show(
            "seats", driver=99, asking=None,
            people={"99": "operator 1", page.run("hiwm.state.id"): "operator 2"},
        ))
        rig = pictures.planar()
        rig.mode(Mode.POLICY, "resumed in the console", "policy", 1)
        pictures.take(rig, "no_connection", lambda page: page.run(
            "hiwm.link.connect = () => {}; hiwm.link.socket.close()"
        ))
        pictures.stored()
    phones = [
        Image.open(options.output / f"{name}_{PHONE[0]}.png").convert("RGB")
        for name in ("policy", "human", "stopped", "label")
    ]
    sheet = Image.new("RGB", (sum(one.width + 16 for one in phones) - 16, PHONE[1]), "white")
    for number, one in enumerate(phones):
        sheet.paste(one, (number * (one.width + 16), 0))
    few_colours(sheet).save(
        options.output / "phone.png", optimize=True
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
