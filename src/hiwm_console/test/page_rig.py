"""The console's page in headless Chromium over a played session: any embodiment, any state."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hiwm_console.drive_axes import DriveAxes
from hiwm_console.pictures import picture
from hiwm_core.control import Mode
from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_test_support.headless_browser import Browser, Page
from hiwm_test_support.shipped import TASK

sys.path.insert(0, str(Path(__file__).parent))
from console_rig import ConsoleRig  # noqa: E402
from stored_tree import write_session  # noqa: E402

LAPTOP, PHONE = (1366, 768), (390, 844)
WIDTHS = [LAPTOP, PHONE]
READY = "window.hiwm?.state.tick && hiwm.state.control && hiwm.tree.count > 0"


class PageRig(ConsoleRig):
    """A console server whose session is played by the test."""

    def __init__(self, folder: Path, embodiment: str = "planar_bimanual", **options: Any) -> None:
        super().__init__(folder, **options)
        self.embodiment: Embodiment = load_embodiment(embodiment)
        if self.graph is not None:
            self.graph.axes = DriveAxes(self.embodiment).size
            self.graph.show_again = self._show_pictures
        self._pictures: list[bytes] = []
        self._step = 0

    def show(self, what: str, /, **fields: Any) -> None:
        """Show a state on every page."""
        self.on_loop(self.server.hub.show, what, fields)

    def world(
        self, cameras: dict[str, tuple[int, int]] | None = None, views: tuple[str, ...] = (),
        **fields: Any,
    ) -> None:
        """Show the world, with cameras by name and (width, height); some of them may be views."""
        sizes = cameras or {"top": (96, 96)}
        self.show("world", **{
            "kind": "imagination", "robot": "", "stand_in": False, "rate": 10.0, "lockstep": True,
            "task": TASK.name, "instruction": TASK.instruction,
            "cameras": [
                {"name": name, "width": width, "height": height, "view": name in views}
                for name, (width, height) in sizes.items()
            ],
            "embodiment": self.embodiment.name, "can_restore": True, "can_fork": True,
            "auto_reset": True, "labels": ["success", "failure"],
            **DriveAxes(self.embodiment).described(), **fields,
        })
        self.show("missing", actions=fields.get("missing", {}))

    def mode(self, mode: Mode, reason: str, device: str = "", source: int = 0) -> None:
        """Show a control state, and tell the hub."""
        self.show("control", mode=mode.name, source=source, device=device, reason=reason,
                  since_s=14.0, operator_age_s=None, takeover_ms=0.4, takeover_ticks=1,
                  takeovers=1, plans_dropped=0, commands_dropped=0)
        self.on_loop(self.server.hub.on_control, mode, device, reason)

    def numbers(self, branch: str = "ep_0001-b002", step: int = 18, **fields: Any) -> None:
        """Show a tick's numbers."""
        self.show("tick", **{
            "epoch": 1, "step": step, "episode": branch.split("-")[0], "branch": branch,
            "trust": 0.93, "progress": 0.42, "success": 0.08, "source": 1, "by": "policy",
            "rate": 10.0, "measured": list(self.embodiment.home), "note": "", **fields,
        })
        self.tick(step)

    def tick(self, step: int, epoch: int = 1) -> None:
        """Tell the hub of a tick."""
        self.step = step
        super().tick(step, epoch)

    def health(self, message: str = "running", level: int = 0, **values: str) -> None:
        """Show the diagnostics of three nodes, the world's with a message and values."""
        self.show("health", nodes=[
            {"name": f"/hiwm/{name}", "level": level if name == "robot_bridge" else 0,
             "message": message if name == "robot_bridge" else "running",
             "values": values if name == "robot_bridge" else {}}
            for name in ("arbiter", "policy", "robot_bridge")
        ])

    def pictures(self, frames: list[NDArray[np.uint8]], step: int = 18) -> None:
        """Show a picture of every camera, also to pages that connect later."""
        self._pictures, self._step = [picture(frame) for frame in frames], step
        self.on_loop(self._show_pictures)

    def _show_pictures(self) -> None:
        for camera, data in enumerate(self._pictures):
            self.server.hub.on_frame(camera, 1, self._step, data)


def drawn(width: int, height: int, name: str) -> NDArray[np.uint8]:
    """Return a drawn table [H, W, 3] rgb8 with two arms and a rope, for cameras without a world."""
    image = Image.new("RGB", (width, height), (196, 190, 178))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, height * 0.72, width, height), fill=(150, 143, 132))
    for side in (0.2, 0.8):
        pen.line((width * side, height, width * (0.5 + (side - 0.5) * 0.5), height * 0.45),
                 fill=(60, 64, 72), width=max(3, width // 24))
    points = [
        (width * (0.25 + 0.5 * t), height * (0.5 + 0.1 * np.sin(7 * t + len(name))))
        for t in np.linspace(0, 1, 40)
    ]
    pen.line(points, fill=(190, 60, 40), width=max(2, width // 70))
    return np.asarray(image)


@contextlib.contextmanager
def opened(
    rig: ConsoleRig, browser: Browser, size: tuple[int, int] = LAPTOP, path: str = ""
) -> Iterator[Page]:
    """Open a page of the console in a window of a size; check at the end that it had no errors."""
    page = browser.open("about:blank", width=size[0], height=size[1])
    resize(page, size)
    page.go(rig.base + path)
    try:
        yield page
        assert page.errors == []
    finally:
        page.ask("Page.close")


def resize(page: Page, size: tuple[int, int]) -> None:
    """Give a page the size of a laptop, or the size and touches of a phone."""
    page.ask("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1],
             deviceScaleFactor=1, mobile=size[0] < 500)
    page.ask("Emulation.setTouchEmulationEnabled", enabled=size[0] < 500)


def box(page: Page, selector: str) -> dict[str, float]:
    """Return an element's box in the window: x, y, width, height."""
    found: dict[str, float] = page.run(
        f"(() => {{ const b = document.querySelector({json.dumps(selector)})"
        ".getBoundingClientRect(); return {x: b.x, y: b.y, width: b.width, height: b.height}; })()"
    )
    return found


def touch(page: Page, kind: str, *points: tuple[float, float]) -> None:
    """Dispatch touchStart, touchMove or touchEnd with the fingers that are down."""
    page.ask("Input.dispatchTouchEvent", type=kind, touchPoints=[
        {"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)
    ])


def rig_of(folder: Path, embodiment: str, **world: object) -> PageRig:
    """Return a paused rig over a small stored session, with an embodiment and a world."""
    rig = PageRig(write_session(folder / "session"), embodiment)
    rig.world(**world)  # type: ignore[arg-type]
    rig.numbers()
    rig.health()
    rig.mode(Mode.PAUSED, "paused in the console")
    return rig


def grant(rig: PageRig, page: Page) -> None:
    """Let the arbiter grant the page's takeover, as soon as its command arrives."""
    end = time.monotonic() + 30.0
    while not any(command.deadman for command in rig.graph.commands):
        assert time.monotonic() < end
        time.sleep(0.01)
    rig.mode(Mode.HUMAN, "the operator took over", "console", 2)
    page.until("hiwm.state.control.mode == 'HUMAN'")
