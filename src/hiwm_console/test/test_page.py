"""The console's page in headless Chromium, over a played session: layout, keys, touch, alerts.

The tests of hiwm_bringup run the page over the whole graph.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hiwm_console.page_commands import DriveSettings
from hiwm_core.control import Mode
from hiwm_test_support.headless_browser import Browser, chromium

sys.path.insert(0, str(Path(__file__).parent))
from bag_folder import write_bags  # noqa: E402
from console_rig import ConsoleRig  # noqa: E402
from page_rig import (  # noqa: E402
    LAPTOP,
    PHONE,
    READY,
    WIDTHS,
    PageRig,
    box,
    drawn,
    grant,
    opened,
    rig_of,
    touch,
)

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed"),
    pytest.mark.flaky(
        reruns=2, reason="a page silent for 0.5 s loses control; a starved browser is silent"
    ),
]
FOUR = {"top": (640, 480), "left_wrist": (640, 480), "right_wrist": (320, 240), "side": (96, 96)}
LATCHED = "stopped: interlock estop: /io/estop data is True, not False; then call world/rearm"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture
def planar(tmp_path: Path) -> Iterator[PageRig]:
    rig = rig_of(tmp_path, "planar_bimanual")
    yield rig
    rig.server.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[PageRig]:
    rig = rig_of(tmp_path, "i2rt_yam_pair", cameras=FOUR, kind="hardware", robot="yam_pair")
    rig.pictures([drawn(*size, name) for name, size in FOUR.items()])
    yield rig
    rig.server.close()


def requested(rig: PageRig, action: str) -> None:
    """Wait until the page has requested something."""
    end = time.monotonic() + 30.0
    while not [act for act in rig.graph.acts if act.action == action]:
        assert time.monotonic() < end, action
        time.sleep(0.01)


STATES = {
    "policy": (Mode.POLICY, "resumed", "policy"), "human": (Mode.HUMAN, "took over", "spacemouse"),
    "paused": (Mode.PAUSED, "paused", ""), "stopped": (Mode.STOPPED, "stopped", ""),
    "handback": (Mode.HANDBACK, "handed back", "policy"),
}


@pytest.mark.parametrize("size", WIDTHS)
def test_stop_is_in_view_and_nothing_pans_sideways_in_every_state(
    pair: PageRig, browser: Browser, size: tuple[int, int]
) -> None:
    with opened(pair, browser, size) as page:
        page.until(READY)

        def check(what: str) -> None:
            stop = box(page, "#stop-button")
            assert stop["y"] >= 0 and stop["y"] + stop["height"] <= size[1], what
            assert stop["x"] >= 0 and stop["x"] + stop["width"] <= size[0], what
            assert stop["width"] >= 120 and stop["height"] >= 48, what
            on_top = "document.elementFromPoint({}, {}).closest('#stop-button') !== null".format(
                stop["x"] + stop["width"] / 2, stop["y"] + stop["height"] / 2
            )
            assert page.run(on_top), what
            assert page.run("document.documentElement.scrollWidth") <= size[0], what
            mode = box(page, "#mode")
            assert mode["y"] >= 0 and mode["width"] >= 120, what

        for name, (mode, reason, device) in STATES.items():
            pair.mode(mode, reason, device)
            page.until(f"document.getElementById('mode-name').textContent == '{mode.name}'")
            check(name)
        pair.health(LATCHED, 2, phase="stopped")
        page.until("document.querySelector('#rearm') !== null")
        check("interlock")
        page.run("window.scrollTo(0, 5000)")
        check("scrolled")
        page.run("document.querySelector('#health').open = true; "
                 "document.querySelector('#devices').open = true")
        check("details")
        page.key("?")
        page.until("document.querySelector('#help').open")
        check("help")
        page.key("Escape")
        page.until("!document.querySelector('#help').open")
        page.key("?")
        page.key("x")
        requested(pair, "stop")
        pair.graph.acts.clear()
        assert "emergency" in page.run("document.querySelector('#stop-button').title")
        page.click("#stop-button")
        requested(pair, "stop")


@pytest.mark.parametrize("size", WIDTHS)
def test_pictures_of_different_sizes_fill_their_place(
    pair: PageRig, browser: Browser, size: tuple[int, int]
) -> None:
    with opened(pair, browser, size) as page:
        page.until(READY)
        page.until("[...document.querySelectorAll('#cameras canvas')].length == 4 && "
                   "[...document.querySelectorAll('#cameras canvas')].every(c => c.dataset.frames)")
        stage = box(page, "#stage")
        shown = [box(page, f"#camera-{number}") for number in range(4)]
        for found, (width, height) in zip(shown, FOUR.values(), strict=True):
            assert found["width"] / found["height"] == pytest.approx(width / height, rel=0.02)
        area = sum(found["width"] * found["height"] for found in shown)
        assert area > 0.6 * stage["width"] * stage["height"]
        assert page.run("getComputedStyle(document.querySelector('#cameras')).boxShadow") != "none"


def test_keys_move_what_the_hints_say_on_joint_arms_with_grippers(
    pair: PageRig, browser: Browser
) -> None:
    with opened(pair, browser) as page:
        page.until(READY)
        hints = page.run("document.querySelector('#arm-cards').textContent")
        for word in ("Left arm", "Right arm", "joint6", "gripper", "⇧Q", "⇧O", "A", "L"):
            assert word in hints
        page.key("t")
        grant(pair, page)
        gripper = next(iter(page.run(
            "hiwm.hands.arms[0].controls.filter(c => c.kind == 'gripper').map(c => c.entry)")))
        page.key("d", "down")
        assert page.run("hiwm.hands.axes()")[0] == 1
        page.key("d", "up")
        page.ask("Input.dispatchKeyEvent", type="keyDown", key="Shift", code="ShiftLeft",
                 windowsVirtualKeyCode=16, modifiers=8)
        page.ask("Input.dispatchKeyEvent", type="keyDown", key="E", code="KeyE",
                 windowsVirtualKeyCode=69, modifiers=8)
        assert page.run("hiwm.hands.axes()")[gripper] == 1
        page.ask("Input.dispatchKeyEvent", type="keyUp", key="E", code="KeyE",
                 windowsVirtualKeyCode=69, modifiers=8)
        page.ask("Input.dispatchKeyEvent", type="keyUp", key="Shift", code="ShiftLeft",
                 windowsVirtualKeyCode=16)
        assert not any(page.run("hiwm.hands.axes()"))
        pair.numbers(measured=[0, 0, 0, 0, 0, 0, 0.62, 0, 0, 0, 0, 0, 0, 0.0])
        page.until("[...document.querySelectorAll('.rocker.gripper output')]"
                   ".map(e => e.textContent).join() == '62 %,shut'")


def test_pads_move_the_tips_of_joint_arms_in_the_frame_and_at_the_speed_of_the_person(
    tmp_path: Path, browser: Browser
) -> None:
    rig = rig_of(tmp_path, "yam_pair")
    steering = "document.querySelector('#steer-buttons').textContent"
    with opened(rig, browser) as page:
        page.until(READY)
        assert page.run(steering).startswith("Frame: camera top ;Speed: 100 % -")
        page.key("t")
        grant(rig, page)
        page.key("d", "down")
        page.until("hiwm.hands.axes()[14] == 1")  # the left tip's x, after 14 entries
        rig.numbers(measured=[0.0] * 14, note="left at the edge of its reach")
        page.until("document.querySelector('#steer-text').textContent.includes('edge')")
        page.key(";")
        page.key("-")
        page.until(f"{steering}.startsWith('Frame: base ;Speed: 50 % -')")
        end = time.monotonic() + 30.0
        while rig.graph.commands[-1].settings != DriveSettings(frame="base", speed=0.5):
            rig.tick(rig.step + 1)
            assert time.monotonic() < end, rig.graph.commands[-1]
            time.sleep(0.05)
        assert rig.graph.commands[-1].axes[14] == 1 and len(rig.graph.commands[-1].axes) == 26
        page.key("d", "up")
        page.click("[data-key=';']")
        page.click("[data-key=';']")  # joint by joint
        page.until("document.querySelector('#arm-cards').textContent.includes('joint6')")
        page.key("d", "down")
        page.until("hiwm.hands.axes()[0] == 1 && hiwm.hands.axes()[14] == 0")
        page.key("d", "up")
    rig.server.close()


def test_a_touch_on_a_pad_takes_over_and_letting_go_releases_control(
    planar: PageRig, browser: Browser
) -> None:
    with opened(planar, browser, PHONE) as page:
        page.until(READY)
        page.run("document.querySelector('#arms').scrollIntoView({block: 'end'})")
        pads = [page.run(
            f"(() => {{ const b = document.querySelectorAll('.pad')[{number}]"
            ".getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
        ) for number in range(2)]
        at = [(x + 0.95 * width, y + 0.5 * height) for x, y, width, height in pads]
        touch(page, "touchStart", at[0])
        grant(planar, page)
        assert page.run("hiwm.hands.axes()") == [1, 0, 0, 0]
        touch(page, "touchStart", *at)  # the second thumb
        page.until("hiwm.hands.axes()[2] == 1")
        upper = (at[1][0], pads[1][1] + 4)
        touch(page, "touchMove", at[0], upper)
        page.until("hiwm.hands.axes()[3] > 0.9")
        assert page.run("window.scrollX") == 0
        touch(page, "touchEnd")
        # At once nothing moves; then control ends, and the session pauses.
        assert not any(page.run("hiwm.hands.axes()"))
        page.until("!hiwm.hands.engaged")
        requested(planar, "pause")
        assert not planar.graph.commands[-1].deadman or planar.graph.commands[-1].axes == (0.0,) * 4


@pytest.mark.parametrize("event", [
    "window.dispatchEvent(new Event('blur'))",
    "Object.defineProperty(document, 'hidden', { value: true, configurable: true }); "
    "document.dispatchEvent(new Event('visibilitychange'))",
    "(() => { const end = Date.now() + 2500; while (Date.now() < end); })()",
])
def test_a_page_that_loses_focus_is_hidden_or_sleeps_has_let_go(
    planar: PageRig, browser: Browser, event: str
) -> None:
    with opened(planar, browser, PHONE) as page:
        page.until(READY)
        page.run("document.querySelector('#arms').scrollIntoView({block: 'end'})")
        pad = box(page, ".pad")
        touch(page, "touchStart", (pad["x"] + 0.95 * pad["width"], pad["y"] + pad["height"] / 2))
        grant(planar, page)
        page.run(event)
        page.until("!hiwm.hands.engaged && hiwm.hands.pads.size == 0")
        page.until("document.querySelector('#alerts').textContent.includes('lost control')")
        requested(planar, "pause")
        # Whoever lets go and takes over again has control again.
        page.run("delete document.hidden")
        touch(page, "touchEnd")
        planar.mode(Mode.PAUSED, "the page was silent")
        page.until("hiwm.state.control.mode == 'PAUSED'")
        planar.graph.commands.clear()
        page.key("t")
        grant(planar, page)
        assert page.run("hiwm.hands.engaged && document.querySelector('#alerts').children.length "
                        "== 0")


def test_a_latched_interlock_is_shown_with_its_reason_and_re_armed_by_hand(
    pair: PageRig, browser: Browser
) -> None:
    with opened(pair, browser) as page:
        page.until(READY)
        assert page.run("document.querySelector('#rearm') === null")
        pair.health(LATCHED, 2, phase="stopped")
        page.until("document.querySelector('#rearm') !== null")
        text = page.run("document.querySelector('#alerts').textContent")
        assert "/io/estop data is True, not False" in text and "world/rearm" not in text
        page.click("#rearm")
        requested(pair, "rearm")
        pair.health()
        page.until("!document.querySelector('#rearm')")
        held = "command held: left wrist would be 12 mm from the right forearm (at least 30 mm)"
        pair.health(held, 1, phase="running")
        page.until(f"document.querySelector('#alerts').textContent.includes({json.dumps(held)})")
        assert page.run("document.querySelector('#rearm') === null")


def test_two_people_see_who_has_the_controls_and_the_last_rollback_can_be_undone(
    planar: PageRig, browser: Browser
) -> None:
    with opened(planar, browser) as one, opened(planar, browser) as two:
        one.until(READY)
        two.until(READY)
        one.run("document.querySelector('#name').value = 'operator 1'; "
                "document.querySelector('#name').dispatchEvent(new Event('change'))")
        one.key("b")
        two.until("document.querySelector('#alerts').textContent"
                  ".includes('operator 1 has the controls')")
        one.until("document.querySelector('#toasts').textContent.includes('you have the controls')")
        assert planar.graph.who == "operator 1"  # stored with labels
        head = one.run("hiwm.view.present().id")
        one.until("hiwm.state.undo")
        assert one.run("document.querySelector('#controls [data-key=Backspace]').checkVisibility()")
        one.click("#controls [data-key=Backspace]")
        one.until("!hiwm.state.undo")
        actions = [(act.action, act.node) for act in planar.graph.acts]
        assert actions[0][0] == "rollback" and actions[-1] == ("fork", head)
        assert one.run("document.querySelector('#controls [data-key=Backspace]').hidden")


def test_an_imagined_episode_starts_where_the_person_says(
    planar: PageRig, browser: Browser
) -> None:
    with opened(planar, browser) as page:
        page.until(READY)
        page.click("#controls [data-key='=']")
        page.run("document.querySelector('#start-place').value = ' bag:/data/ep_0001-b000@42 '")
        page.click("#start-form button")
        page.until("document.querySelector('#start-form').hidden")
        page.key("=")
        page.click("#start-live")
        page.until("document.querySelector('#start-form').hidden")
        starts = [act.start for act in planar.graph.acts if act.action == "reset"]
        assert starts == ["bag:/data/ep_0001-b000@42", "live"]
        planar.world(kind="hardware")
        page.until("document.querySelector('#controls [data-key=\\'=\\']').hidden")


def test_the_reference_picture_lies_over_the_live_one(planar: PageRig, browser: Browser) -> None:
    with opened(planar, browser) as page:
        page.until(READY)
        page.key("/")
        page.until("!document.querySelector('#guide').hidden")
        assert "a success" in page.run("document.querySelector('#guide-text').textContent")
        page.key("/")
        assert page.run("document.querySelector('#guide').hidden")


# The grey in the middle of each camera's picture, and the pictures' boxes.
SHOWN = ("[...document.querySelectorAll('#pictures canvas')].map((one) => "
         "one.getContext('2d').getImageData(16, 12, 1, 1).data[0])")
BOXES = ("[...document.querySelectorAll('#pictures canvas')].map((one) => { const b = "
         "one.getBoundingClientRect(); return {width: b.width, right: b.right}; })")


@pytest.mark.parametrize("size", [LAPTOP, PHONE])
def test_episodes_are_labelled_by_keys_one_after_another(
    tmp_path: Path, browser: Browser, size: tuple[int, int]
) -> None:
    bags = write_bags(tmp_path / "imported", 1, 12, ("top", "side", "left_wrist", "right_wrist"))
    bags += write_bags(tmp_path / "imported" / "more", count=2, steps=12)
    rig = ConsoleRig(tmp_path / "imported", stored=True)
    try:
        with opened(rig, browser, size, "label") as page:
            page.until("window.hiwmLabels?.state.opened && hiwmLabels.player.playing")
            assert page.run("document.documentElement.scrollWidth") <= size[0]
            page.run("document.querySelector('#who').value = 'anna'")
            page.until("!hiwmLabels.player.playing")  # it has played to its end
            page.until(f"JSON.stringify({SHOWN}) == '[11,51,91,131]'")  # every camera's last frame
            boxes = page.run(BOXES)
            assert min(one["width"] for one in boxes) > 0.4 * min(size[0] - 20, 900) / 2
            assert all(one["right"] <= size[0] for one in boxes)
            for key in ("ArrowLeft", "ArrowLeft", "5", "ArrowRight", "ArrowRight", "d", "y"):
                page.key(key)
            page.until("hiwmLabels.state.at == 1 && hiwmLabels.state.opened")
            page.key("n")
            page.until("hiwmLabels.state.at == 2 && hiwmLabels.state.opened")
            page.until("document.querySelector('#done').textContent.startsWith('2 of 3')")
            # It changes while somebody looks at it: nothing is stored, and the page says so.
            file = next(bags[2].glob("*.mcap"))
            file.write_bytes(file.read_bytes() + b"more")
            page.key("y")
            page.until("document.querySelector('#problem').textContent.includes('has changed')")
            assert page.run("document.querySelectorAll('#list .stale').length") == 1
    finally:
        rig.server.close()
    stored = [json.loads((bag / "label.json").read_text()) for bag in bags[:2]]
    assert [(one["label"], one["who"]) for one in stored] == [
        ("success", "anna"), ("failure", "anna")
    ]
    assert stored[0]["progress"] == [[9, 0.5], [11, 1]] and stored[0]["labelled_ns"] > 0
    assert not (bags[2] / "label.json").exists()
