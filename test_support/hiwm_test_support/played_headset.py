"""A headset in headless Chromium, which a test moves by ``window.played``.

The headset is the emulator of a Quest 3 from the npm package iwer, which ``scripts/test`` installs,
or else the simple one of ``played_headset.js``.
"""

import os
from pathlib import Path

from hiwm_test_support.headless_browser import Browser, Page

_HERE = Path(__file__).resolve()
_SCRIPT = _HERE.with_suffix(".js")
# Chromium's own WebXR would answer before the emulator, and wait for a person's gesture. WebGL is
# drawn in software.
_SWITCHES = (
    "--disable-blink-features=WebXR", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)


def emulator() -> Path | None:
    """Return the emulator's script; None if it is not installed."""
    build = Path(os.environ.get("HIWM_BUILD") or _HERE.parents[2] / "build")
    file = build / ".setup/headset_emulator/node_modules/iwer/build/iwer.min.js"
    return file if file.is_file() else None


def headset_browser() -> Browser:
    """Return a browser that has WebXR only by `wear`."""
    return Browser(*_SWITCHES)


def wear(page: Page, *, emulated: bool) -> None:
    """Give a headset to every page that a tab opens from now on.

    Args:
        page: the tab.
        emulated: whether it is the emulator's, which must be installed.
    """
    played = f"(() => {{ {_SCRIPT.read_text()}\n }})()"
    scripts = [played]
    if emulated:
        file = emulator()
        assert file is not None, "the emulator is not installed"
        scripts = [file.read_text(), played]
    for script in scripts:
        page.ask("Page.addScriptToEvaluateOnNewDocument", source=script)
