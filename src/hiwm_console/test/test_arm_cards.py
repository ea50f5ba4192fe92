"""The cards of the arms in headless Chromium: keys with Shift, and what the robot measures."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hiwm_test_support.headless_browser import Browser, chromium

sys.path.insert(0, str(Path(__file__).parent))
from page_rig import (  # noqa: E402
    PHONE,
    READY,
    box,
    drawn,
    grant,
    opened,
    resize,
    rig_of,
)

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed"),
    pytest.mark.flaky(
        reruns=2, reason="a page silent for 0.5 s loses control; a starved browser is silent"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


def test_a_key_keeps_its_meaning_while_shift_goes_down_and_up(
    tmp_path: Path, browser: Browser
) -> None:
    """Shift released a moment before its key must not move an arm another way."""
    rig = rig_of(tmp_path, "yam_pair")
    left_x, left_z, right_z = 14, 16, 22

    def shifted(kind: str, key: str) -> None:
        page.ask("Input.dispatchKeyEvent", type=kind, key=key.upper(), code=f"Key{key.upper()}",
                 windowsVirtualKeyCode=ord(key.upper()), modifiers=8)

    def shift(kind: str) -> None:
        page.ask("Input.dispatchKeyEvent", type=kind, key="Shift", code="ShiftLeft",
                 windowsVirtualKeyCode=16, modifiers=8 * (kind == "rawKeyDown"))

    def moving() -> dict[int, float]:
        axes = page.run("hiwm.hands.axes()")
        return {place: value for place, value in enumerate(axes) if value}

    with opened(rig, browser) as page:
        page.until(READY)
        page.key("t")
        grant(rig, page)
        page.key("d", "down")
        shift("rawKeyDown")
        shifted("keyDown", "s")
        shifted("keyDown", "k")
        assert moving() == {left_x: 1, left_z: -1, right_z: -1}
        shift("keyUp")
        assert moving() == {left_x: 1}
        page.key("s", "up")
        page.key("k", "up")
        page.key("d", "up")
        assert moving() == {}
    rig.server.close()


def test_the_cards_show_where_tips_are_also_after_the_speed_changed_in_a_pause(
    tmp_path: Path, browser: Browser
) -> None:
    rig = rig_of(tmp_path, "yam_pair_cartesian", kind="hardware", robot="yam_pair")
    shown = "[...document.querySelectorAll('.arm .tip')].map(e => e.innerText).join('|')"
    with opened(rig, browser) as page:
        page.until(READY)
        rig.numbers(measured=[0.0] * 4 + [0.62] + [0.0] * 5, tips={
            "left": [0.31, 0.105, 0.008, 1.571], "right": [0.2, -0.21, 0.18, 0.0],
        })
        places = "x 31.0 y 10.5 z 0.8 cm yaw 90°|x 20.0 y -21.0 z 18.0 cm yaw 0°"
        page.until(f"{shown}.replaceAll('\\u00a0', ' ') == '{places}'")
        before = page.run(shown)
        page.key("-")
        page.until("document.querySelector('#steer-buttons').textContent.includes('50 %')")
        assert page.run(shown) == before
        assert page.run("document.querySelector('.rocker.gripper output').textContent") == "62 %"
        resize(page, PHONE)
        page.until("innerWidth == 390")
        assert page.run("document.documentElement.scrollWidth") <= PHONE[0]
        # Trust is a world model's.
        assert page.run("document.querySelector('#trust').closest('label').offsetHeight") == 0
    rig.server.close()


def test_a_demonstration_s_buttons_are_in_one_row_and_the_pictures_stay_as_large(
    tmp_path: Path, browser: Browser
) -> None:
    cameras = {name: (192, 192) for name in ("top", "side", "left_wrist", "right_wrist")}
    rig = rig_of(tmp_path, "yam_pair_cartesian", kind="hardware", cameras=cameras)
    with opened(rig, browser) as page:
        page.until(READY)
        page.key("q")
        before = box(page, "#cameras")
        page.key("t")
        grant(rig, page)
        page.until("document.querySelector('#controls').textContent.startsWith('Take over')"
                   " && document.querySelector('[data-key=h]').offsetHeight > 0")
        assert page.run("document.querySelector('[data-key=h]').textContent") == "Finish h"
        assert box(page, "#controls")["height"] < 60
        assert box(page, "#cameras") == before
    rig.server.close()


def test_a_view_that_stands_still_is_grey_and_says_so(tmp_path: Path, browser: Browser) -> None:
    sizes = {"top": (96, 96), "side": (96, 96)}
    rig = rig_of(tmp_path, "yam_pair_cartesian", cameras=sizes, views=("side",))
    rig.pictures([drawn(*size, name) for name, size in sizes.items()])
    names = ("[...document.querySelectorAll('#cameras figure')]"
             ".map(e => `${e.className} ${e.innerText}`.trim()).join()")
    with opened(rig, browser) as page:
        page.until(READY)
        page.until(f"{names}.replaceAll('pixels', '').replaceAll(' ', '') == 'top,side'")
        # The camera's age is that of the ticks; the view's is its own.
        page.until(f"{names}.replaceAll('pixels ', '') == 'top,stale side: no picture'")
        rig.pictures([drawn(*size, name) for name, size in sizes.items()], step=19)
        page.until(f"{names}.replaceAll('pixels ', '') == 'top,side'")
    rig.server.close()
