"""Headless Chromium, driven over its DevTools protocol: for tests of the page and benchmarks.

Deliberately small, and based on the websocket client of the console's own library: the protocol
needs no driver program of a matching version.
"""

import asyncio
import base64
import contextlib
import itertools
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from hiwm_core.errors import HiwmError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Key to its code, its number and the text it types.
_NAMED_KEYS = {
    "Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""), "Tab": ("Tab", 9, ""),
    " ": ("Space", 32, " "), "ArrowLeft": ("ArrowLeft", 37, ""), "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""), "ArrowDown": ("ArrowDown", 40, ""),
}
_START_S = 60.0
_ANSWER_S = 60.0


def chromium() -> str | None:
    """Return the path of Chromium on this machine; None if there is none."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Browser:
    """One browser process with its own profile, stopped on leaving the context.

    Args:
        switches: of Chromium, besides the usual ones.

    Raises:
        HiwmError: Chromium is missing, or does not start.
    """

    def __init__(self, *switches: str) -> None:
        program = chromium()
        if program is None:
            raise HiwmError("no Chromium on this machine", remedy="install the package chromium")
        self._profile = tempfile.TemporaryDirectory(prefix="hiwm_browser_")
        folder = Path(self._profile.name)
        self._process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-dev-shm-usage", "--disable-extensions", "--disable-sync",
                "--disable-background-networking", "--disable-component-update",
                "--hide-scrollbars",
                # A page without a window counts as hidden, whose timers run once a second or less.
                "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
                "--disable-backgrounding-occluded-windows",
                "--remote-debugging-port=0", f"--user-data-dir={folder}", *switches,
                "about:blank",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._pages: list[Page] = []
        try:
            self._base = self._address(folder / "DevToolsActivePort")
            self._http = self.wait(self._new_session())
        except BaseException:
            self.close()
            raise

    def open(self, address: str, *, width: int = 1366, height: int = 768) -> "Page":
        """Return a new page in its own visible window, at an address."""
        page = self.wait(self._open(width, height))
        self._pages.append(page)
        page.go(address)
        return page

    def close(self) -> None:
        """Stop the browser."""
        if hasattr(self, "_http"):
            for page in self._pages:
                with contextlib.suppress(Exception):
                    self.wait(page.socket.close())
            self.wait(self._http.close())
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        with contextlib.suppress(OSError):
            self._profile.cleanup()

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return the result of a coroutine on the browser's own loop."""
        return self.start(coroutine).result(_ANSWER_S)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Return the future result of a coroutine on the browser's own loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _address(self, file: Path) -> str:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                lines = file.read_text().split()
                if len(lines) == 2:
                    return f"127.0.0.1:{lines[0]}"
            time.sleep(0.05)
        raise HiwmError("Chromium does not start", remedy="try: chromium --headless about:blank")

    async def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def _open(self, width: int, height: int) -> "Page":
        async with self._http.get(f"http://{self._base}/json/version") as answer:
            root = (await answer.json())["webSocketDebuggerUrl"]
        async with self._http.ws_connect(root) as socket:
            await socket.send_json({
                "id": 1, "method": "Target.createTarget",
                "params": {
                    "url": "about:blank", "newWindow": True, "width": width, "height": height,
                },
            })
            while "result" not in (message := await socket.receive_json()):
                pass
        target = message["result"]["targetId"]
        socket = await self._http.ws_connect(
            f"ws://{self._base}/devtools/page/{target}", max_msg_size=0
        )
        page = Page(self, socket)
        await page.begin(width, height)
        return page

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the browser."""
        self.close()


class Page:
    """One page of a browser."""

    def __init__(self, browser: Browser, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.browser = browser
        self.socket = socket
        self.errors: list[str] = []  # uncaught exceptions and logged errors
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def begin(self, width: int, height: int) -> None:
        """Start reading, and emulate a focused window of a certain size."""
        self._reader = asyncio.ensure_future(self._read())
        for domain in ("Page", "Runtime", "Network"):
            await self._ask(f"{domain}.enable", {})
        await self._ask("Emulation.setFocusEmulationEnabled", {"enabled": True})
        await self._ask("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False,
        })

    def ask(self, method: str, **parameters: Any) -> Any:
        """Return the result of a DevTools method."""
        return self.browser.wait(self._ask(method, parameters))

    def go(self, address: str) -> None:
        """Open an address."""
        self.ask("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited.

        Raises:
            HiwmError: it throws.
        """
        return self.browser.wait(self._value(script))

    def start(self, script: str) -> Future[Any]:
        """Start what `run` waits for; return its future value."""
        return self.browser.start(self._value(script))

    def until(self, script: str, timeout_s: float = 60.0) -> Any:
        """Return the value of an expression once it is true. Raises HiwmError at the timeout."""
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(HiwmError):  # the page may not be loaded yet
                if value := self.run(script):
                    return value
            if time.monotonic() > deadline:
                raise HiwmError(
                    f"waited in vain for {script}", where=" ".join(self.errors) or "the page"
                )
            time.sleep(0.02)

    def key(self, key: str, kind: str = "press") -> None:
        """Press a key as a person does, or only hold it ("down") or release it ("up")."""
        code, number, text = _NAMED_KEYS.get(
            key, (f"Key{key.upper()}" if key.isalpha() else "", ord(key[0].upper()), key)
        )
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        if kind in ("press", "down"):
            self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        if kind in ("press", "up"):
            self.ask("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        x, y = self.until(
            f"(() => {{ const e = document.querySelector({selector!r}); if (!e) return null;"
            "e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path) -> None:
        """Write a screenshot of the page as PNG."""
        data = self.ask("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    async def _value(self, script: str) -> Any:
        response = await self._ask("Runtime.evaluate", {
            "expression": script, "awaitPromise": True, "returnByValue": True,
        })
        if "exceptionDetails" in response:
            details = response["exceptionDetails"]
            what = details.get("exception", {}).get("description") or details["text"]
            raise HiwmError(f"the page threw {what}", where=script)
        return response["result"].get("value")

    async def _ask(self, method: str, parameters: dict[str, Any]) -> Any:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        response = await answer
        if "error" in response:
            raise HiwmError(f"{method}: {response['error']['message']}", where="Chromium")
        return response["result"]

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            data = message.json()
            if data.get("id") in self._waiting:
                answer = self._waiting.pop(data["id"])
                if not answer.done():
                    answer.set_result(data)
            elif data.get("method") == "Runtime.exceptionThrown":
                details = data["params"]["exceptionDetails"]
                self.errors.append(
                    details.get("exception", {}).get("description") or details["text"]
                )
            elif data.get("method") == "Runtime.consoleAPICalled" and (
                data["params"]["type"] in ("error", "assert")
            ):
                self.errors.append(str(data["params"]["args"])[:300])
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(HiwmError("the page has closed"))
