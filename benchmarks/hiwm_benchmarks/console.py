"""Benchmarks of the console: latencies in a real browser, and the cost of viewers to the graph."""

import asyncio
import contextlib
import math
import random
import re
import statistics
import struct
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import aiohttp
from hiwm_interfaces.msg import Command
from hiwm_interfaces.srv import SetRate

from hiwm_core.errors import HiwmError
from hiwm_test_support.headless_browser import Browser, Page
from hiwm_test_support.nodes import NodeProcess

from .graph import Graph
from .rows import Measured, quantile
from .watcher import Watcher

if TYPE_CHECKING:
    from .measuring import Options

TREE_NODES = 2000
PAGE_RATE = 10.0
_BRANCHES = 20  # branches of the tree
# Measurements of the tick rate, alternating with and without viewers, since machine speed drifts.
TURNS = 3
_MOVES = "wdsaikjl"
PAGE = re.compile(r"console: (http://\S+)")


def page(graph: Graph, watcher: Watcher, session: Path, options: "Options") -> dict[str, Measured]:
    """Measure opening the page, rollbacks and key presses, with a tree of 2,000 states."""
    watcher.until_running(Command.SOURCE_POLICY)
    length = TREE_NODES // _BRANCHES
    for _ in range(_BRANCHES - 1):
        count = len(watcher.ticks) + length
        watcher.until(lambda count=count: len(watcher.ticks) >= count, "ticks")  # type: ignore[misc]
        watcher.roll_back(length // 2)
    count = len(watcher.ticks) + 2 * length
    watcher.until(lambda: len(watcher.ticks) >= count, "ticks")
    _set_rate(watcher, PAGE_RATE)
    address = _address(graph)
    opened, rollbacks = [], []
    with Browser() as browser:
        for _ in range(5):
            shown = browser.open("about:blank")
            shown.go(address)
            shown.until(
                f"hiwm.tree.count >= {TREE_NODES} && hiwm.view.painted && "
                "Number(document.querySelector('#cameras canvas')?.dataset.frames) > 0"
            )
            # On the page's clock, from the navigation to the tree and a live frame.
            opened.append(float(shown.run("Math.max(hiwm.view.painted, hiwm.mark.first)")))
            shown.ask("Page.close")
        shown = browser.open(address)
        shown.until(
            "hiwm.state.control && hiwm.tree.count > 0 && hiwm.state.tick && "
            "document.querySelector('#cameras canvas')?.dataset.place"
        )
        for _ in range(max(1, options.repeats // 3)):
            rollbacks.append(_roll_back(shown))
        latencies = _press_keys(watcher, shown, options.repeats)
        nodes = int(shown.run("hiwm.tree.count"))
        takeovers = list(shown.run("hiwm.mark.takeovers"))
        if shown.errors:
            raise HiwmError("the page failed: " + shown.errors[0], where=address)
    return {
        "console_key": Measured(
            value=quantile(latencies, 0.95),
            details={"p50": quantile(latencies, 0.5), "worst": max(latencies, default=math.nan),
                     "presses": len(latencies), "takeover to frame": quantile(takeovers, 0.5)},
        ),
        "console_opening": Measured(
            value=statistics.median(opened) if opened else math.nan,
            details={"worst": max(opened), "nodes": nodes},
        ),
        "console_rollback": Measured(
            value=quantile(rollbacks, 0.95),
            details={"p50": quantile(rollbacks, 0.5), "worst": max(rollbacks),
                     "n": len(rollbacks), "nodes": nodes},
        ),
    }


def _set_rate(watcher: Watcher, rate: float) -> None:
    watcher.call(SetRate, "world/set_rate", SetRate.Request(rate=rate))


def _address(graph: Graph) -> str:
    found = PAGE.search(graph.log.read_text())
    if found is None:
        raise HiwmError("the console did not print its address", where=str(graph.log))
    return found[1]


def _roll_back(shown: Page) -> float:
    """Click "Go here" on an earlier state; return the ms to the first frame after it."""
    return float(shown.run("""(async () => {
        const line = hiwm.tree.line(hiwm.view.present());
        hiwm.view.on.choose(line[Math.max(0, line.length - 30)]);
        const canvas = document.querySelector("#cameras canvas");
        const epoch = Number(canvas.dataset.place.split(":")[0]);
        await new Promise((done) => setTimeout(done, 200 + 100 * Math.random()));
        const start = performance.now();
        document.querySelector("#chosen-buttons button[data-key=Enter]").click();
        while (Number(canvas.dataset.place.split(":")[0]) === epoch) {
          await new Promise((done) => setTimeout(done, 1));
          if (performance.now() - start > 10000) throw new Error("no frame after a rollback");
        }
        const taken = performance.now() - start;
        await new Promise((done) => setTimeout(done, 300));
        return taken;
    })()"""))


def _press_keys(watcher: Watcher, shown: Page, presses: int) -> list[float]:
    """Take over and press keys at random times; return the ms to the first frame that shows each.

    The page measures them.
    """
    shown.key("t")
    shown.until("hiwm.state.control.mode == 'HUMAN'")
    rng = random.Random(0)
    for number in range(presses):
        key = _MOVES[number % len(_MOVES)]
        shown.key(key, "down")
        watcher.watch(rng.uniform(0.25, 0.4))
        shown.key(key, "up")
        watcher.watch(rng.uniform(0.05, 0.15))
        if shown.run("hiwm.hands.engaged") is False:
            raise HiwmError(
                "the page lost control: " + str(shown.run("hiwm.state.control.reason")),
                where="console", remedy="measure on a quieter machine",
            )
    shown.key("h")
    return [float(value) for value in shown.run("hiwm.mark.latencies")]


def cost(graph: Graph, watcher: Watcher, session: Path, options: "Options") -> dict[str, Measured]:
    """Measure the tick rate with a console and two viewers, and without, in turn."""
    watcher.until_running(Command.SOURCE_POLICY)
    seconds = options.seconds / 3
    with_it, without = [], []
    for _ in range(TURNS):
        without.append(_rate(watcher, seconds))
        with NodeProcess(
            "hiwm_console", "web_console", domain=watcher.domain, namespace=watcher.namespace,
            parameters={"session_dir": str(session), "port": 0},
        ) as console:
            watcher.until(lambda: PAGE.search(console.output) is not None, "console")  # noqa: B023
            address = PAGE.search(console.output)
            assert address
            with Viewers(address[1], 2) as viewers:
                watcher.until(partial(viewers.shown, 20), "frames")
                frames, start = viewers.frames, time.monotonic()
                with_it.append(_rate(watcher, seconds))
                shown = (viewers.frames - frames) / (time.monotonic() - start) / 2
    lost = 100.0 * (1.0 - statistics.median(with_it) / statistics.median(without))
    return {
        "console_cost": Measured(
            value=lost,
            details={"ticks/s with": statistics.median(with_it),
                     "without": statistics.median(without), "frames/s to each": shown},
        ),
    }


def _rate(watcher: Watcher, seconds: float) -> float:
    times = [at for at, _ in watcher.watch(seconds)]
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else math.nan


class Viewers:
    """Viewers as the console sees them: sockets that receive and acknowledge every frame."""

    def __init__(self, address: str, count: int) -> None:
        self.frames = 0
        self._address = address.replace("http", "ws", 1) + "console"
        self._count = count
        self._sockets: list[aiohttp.ClientWebSocketResponse] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def shown(self, frames: int) -> bool:
        """Return whether at least `frames` frames have arrived."""
        return self.frames >= frames

    async def _look(self) -> None:
        async with (
            aiohttp.ClientSession() as session, session.ws_connect(self._address) as socket
        ):
            self._sockets.append(socket)
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self.frames += 1
                    number = int(struct.unpack_from("<d", message.data, 12)[0])
                    await socket.send_json({"type": "seen", "n": number})

    async def _leave(self) -> None:
        for socket in self._sockets:
            await socket.close()

    def __enter__(self) -> Self:
        """Connect."""
        self._thread.start()
        self._tasks = [
            asyncio.run_coroutine_threadsafe(self._look(), self._loop) for _ in range(self._count)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(10)
        for task in self._tasks:
            with contextlib.suppress(Exception):
                task.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
