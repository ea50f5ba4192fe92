"""The headset's page in headless Chromium: two controllers drive two arms, and lose control."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.control import Mode
from hiwm_test_support.headless_browser import Page, chromium
from hiwm_test_support.played_headset import emulator, headset_browser, wear

sys.path.insert(0, str(Path(__file__).parent))
from page_rig import PageRig, drawn, opened  # noqa: E402

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed"),
    pytest.mark.flaky(
        reruns=2, reason="a page silent for 0.25 s loses control; a starved browser is silent"
    ),
]
HEADSETS = [
    pytest.param(True, id="emulator", marks=pytest.mark.skipif(
        emulator() is None, reason="npm has not installed iwer; a simple headset replaces it"
    )),
    pytest.param(False, id="simple", marks=pytest.mark.skipif(
        emulator() is not None, reason="the emulator iwer is installed"
    )),
]


class Driven:
    """A played session of two joint arms, and the page in a headset."""

    def __init__(self, rig: PageRig, page: Page) -> None:
        self.rig, self.page = rig, page
        self.step = 1
        rig.graph.arms = rig.embodiment.arms
        rig.mode(Mode.POLICY, "resumed")

    def play(self, *calls: str) -> None:
        """Do something with the headset."""
        for call in calls:
            self.page.run(f"void played.{call}")

    def until(self, predicate: Callable[[], object], what: str) -> None:
        """Make ticks until something holds."""
        end = time.monotonic() + 30.0
        while not predicate():
            assert time.monotonic() < end, (what, self.page.run("document.body.innerText"))
            self.step += 1
            self.rig.tick(self.step)
            time.sleep(0.03)

    @property
    def newest(self) -> object:
        """Newest command."""
        return self.rig.graph.commands[-1] if self.rig.graph.commands else None

    @property
    def holds(self) -> bool:
        """Whether the newest command holds the deadman."""
        return bool(self.newest is not None and self.newest.deadman)

    def grip(self, side: str = "left") -> None:
        """Take over with a grip, as the arbiter grants it."""
        self.play(f"press('{side}', 'squeeze', 1)")
        self.until(lambda: self.holds, "a takeover")
        self.rig.mode(Mode.HUMAN, "the operator took over", "console", 2)

    def release(self) -> None:
        """Open both grips, and wait until the page has seen it."""
        self.play("press('left', 'squeeze', 0)", "press('right', 'squeeze', 0)")
        self.page.until("[...hiwmHeadset.headset.down.values()].every((down) => !down[1])")

    def pauses(self) -> list[str]:
        """Reasons of the pauses that were requested."""
        return [act.note for act in self.rig.graph.acts if act.action == "pause"]

    def hands(self) -> dict[int, object]:
        """Hands of the newest command, by arm."""
        return {hand.arm: hand for hand in self.newest.settings.hands}

    def lost(self, why: str, count: int) -> None:
        """Check that control was lost and that the person is told."""
        self.until(lambda: len(self.pauses()) == count, "a pause")
        self.rig.mode(Mode.PAUSED, self.pauses()[-1])
        assert re.search(why, self.pauses()[-1])
        self.page.until("hiwmHeadset.headset.engaged == false")
        assert re.search(why, self.page.run("document.getElementById('state').textContent"))


@pytest.fixture(params=HEADSETS)
def driven(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driven]:
    rig = PageRig(tmp_path / "session", "yam_pair")
    rig.world({"top": (128, 128), "side": (160, 120)})
    rig.pictures([drawn(128, 128, "top"), drawn(160, 120, "side")])
    rig.numbers()
    with headset_browser() as browser:
        page = browser.open("about:blank")
        wear(page, emulated=request.param)
        page.go(rig.base + "xr")
        page.until("window.hiwmHeadset && !document.getElementById('enter').disabled")
        yield Driven(rig, page)
        assert page.errors == []
    rig.server.close()


def test_two_controllers_drive_two_arms_and_whatever_cannot_be_trusted_pauses(
    driven: Driven,
) -> None:
    page = driven.page
    driven.play("move('left', -0.2, -0.4, -0.3)", "move('right', 0.2, -0.4, -0.3)")
    page.click("#enter")
    page.until("hiwmHeadset.headset.hands.length == 2")
    page.until("hiwmHeadset.panels.boxes().length == 3")  # two cameras and the text
    assert not driven.rig.graph.commands  # nothing is driven without a grip
    driven.grip()
    start = driven.hands()
    driven.play("press('right', 'squeeze', 1)", "press('right', 'trigger', 0.5)",
                "move('left', -0.2, -0.35, -0.3)", "move('right', 0.2, -0.4, -0.35)")

    def followed() -> bool:
        hands = driven.hands()
        moved = {arm: np.subtract(hands[arm].position, start[arm].position) for arm in hands}
        return bool(
            hands[0].held and hands[1].held and hands[1].trigger == 0.5
            and np.allclose(moved[0], [0, 0.05, 0], atol=1e-4)
            and np.allclose(moved[1], [0, 0, -0.05], atol=1e-4)
        )

    driven.until(followed, "both hands")
    assert driven.newest.settings.frame == "camera top" and not any(driven.newest.axes)
    driven.play("push('right', 1, 0)", "push('left', 0, -1)")
    driven.until(lambda: driven.newest.settings.frame == "base", "the next view")
    driven.until(lambda: driven.newest.settings.speed == 0.5, "the next speed")

    # The headset only guesses where a controller is: control is lost, for both arms, until a grip
    # is closed again.
    driven.play("estimate('left', true)")
    driven.lost("left controller has lost its tracking", 1)
    driven.play("estimate('left', false)")
    count, step = len(driven.rig.graph.commands), driven.step
    driven.until(lambda: driven.step > step + 10, "ticks")
    assert not any(command.deadman for command in driven.rig.graph.commands[count:])
    driven.release()
    driven.grip()

    driven.play("connect('left', false)")
    driven.lost("left controller has lost its tracking", 2)
    driven.play("connect('left', true)")
    driven.release()
    driven.grip()

    # A headset that sleeps is lost as well.
    driven.play("sleep(true)")
    driven.lost("has been silent|taken off", 3)
    driven.play("sleep(false)")
    driven.release()
    driven.grip()

    # The upper button goes back; the lower one hands back, without a pause.
    driven.play("press('right', 'upper-button', 1)")
    driven.until(lambda: driven.rig.graph.acts[-1].action == "rollback", "a rollback")
    assert driven.rig.graph.acts[-1].steps == 10
    driven.play("press('left', 'lower-button', 1)")
    driven.until(lambda: not driven.holds, "the release")
    assert len(driven.pauses()) == 3

    # A session that ends is lost.
    driven.rig.mode(Mode.POLICY, "handed back")
    driven.release()
    driven.grip()
    page.run("hiwmHeadset.headset.session.end()")
    driven.lost("session ended", 4)
    assert page.run("document.getElementById('enter').textContent") == "Enter"

    # Browsers have no WebXR at an address that is not secure: the page says what to do.
    assert page.run("document.getElementById('insecure').hidden")
    page.ask("Page.addScriptToEvaluateOnNewDocument",
             source="Object.defineProperty(window, 'isSecureContext', { value: false })")
    page.ask("Page.reload")
    page.until("isSecureContext === false && !document.getElementById('insecure').hidden")
    port = driven.rig.server.port
    assert f"adb reverse tcp:{port} tcp:{port}" in page.run("document.body.innerText")


def test_a_view_that_stands_still_leaves_the_headset_s_pictures(tmp_path: Path) -> None:
    rig = PageRig(tmp_path / "session", "yam_pair")
    sizes = {"top": (128, 128), "side": (160, 120)}
    rig.world(sizes, views=("side",))
    rig.numbers()
    shown = "hiwmHeadset.panels.boxes().map(([name]) => name).join()"
    with headset_browser() as browser, opened(rig, browser, path="xr") as page:
        page.until("window.hiwmHeadset?.headset.world")
        rig.pictures([drawn(*size, name) for name, size in sizes.items()])
        page.until(f"{shown} == '0,1,text'")
        page.until(f"{shown} == '0,text'")
    rig.server.close()
