"""Shared by the server tests: a console server over a fake graph, and its viewers."""

import asyncio
import contextlib
import json
import time

import aiohttp
import numpy as np
import pytest
from aiohttp.client import URL

from hiwm_console.access import AccessRules
from hiwm_console.pictures import png
from hiwm_console.session_files import SessionFiles
from hiwm_console.web_server import WebServer

GUARD_S = 30.0


class PlayedGraph:
    """A graph with four action entries that accepts every request."""

    axes = 4
    arms = ("left", "right")

    def __init__(self):
        self.commands = []
        self.acts = []

    def publish(self, command):
        self.commands.append(command)

    async def act(self, act, who):
        self.who = who
        self.acts.append(act)
        return {"ok": True, "message": act.action}

    def show_again(self):
        pass

    def world_simulator_axes(self, keys):
        return [0.0, float("w" in keys), 0.0, 0.0]


class ConsoleRig:
    """A server and its log."""

    def __init__(self, folder, *, stored=False, rules=None, demonstrations=False):
        self.log = []
        self.graph = None if stored else PlayedGraph()
        self.server = WebServer(
            host="127.0.0.1", port=0, rules=rules or AccessRules(), session=SessionFiles(folder),
            graph=self.graph, log=self.log.append, demonstrations=demonstrations,
        )
        self.base = self.server.address

    def on_loop(self, function, *arguments, **named):
        """Run something on the server's thread and wait for it."""
        done = asyncio.run_coroutine_threadsafe(self._call(function, arguments, named),
                                                self.server.loop)
        return done.result(GUARD_S)

    @staticmethod
    async def _call(function, arguments, named):
        return function(*arguments, **named)

    def tick(self, step, epoch=1):
        self.on_loop(self.server.hub.on_tick, epoch, step, period_s=0.0, lockstep=True)

    def control(self, mode, device=""):
        self.on_loop(self.server.hub.on_control, mode, device, "because")

    def frame(self, step, size=8):
        self.on_loop(
            self.server.hub.on_frame, 0, 1, step, png(np.full((size, size, 3), step, np.uint8))
        )


class Viewer:
    """The websocket of a page."""

    def __init__(self, socket):
        self.socket = socket
        self.heard = []
        self.frames = []

    async def send(self, **message):
        await self.socket.send_str(json.dumps(message))

    async def drive(self, deadman, axes=(0, 0, 0, 0)):
        await self.send(
            type="drive", axes=list(axes), deadman=deadman, t=1e3 * time.monotonic()
        )

    async def until(self, wanted):
        """Return the first matching message or frame, received already or later."""
        place = 0
        async with asyncio.timeout(GUARD_S):
            while True:
                for message in self.heard[place:]:
                    if wanted(message):
                        return message
                place = len(self.heard)
                message = await self.socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.heard.append(json.loads(message.data))
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self.heard.append(message.data)
                    self.frames.append(message.data)
                else:
                    self.heard.append({"type": "closed", "code": self.socket.close_code})

    async def of(self, kind, **fields):
        return await self.until(
            lambda message: isinstance(message, dict) and message.get("type") == kind
            and all(message.get(key) == value for key, value in fields.items())
        )


def visit(rig, body, *, path="console", count=1, **options):
    """Run `body` with a number of viewers of a rig."""

    async def main():
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            viewers = []
            for _ in range(count):
                socket = await session.ws_connect(rig.base + path, **options)
                stack.push_async_callback(socket.close)
                viewers.append(Viewer(socket))
            return await body(*viewers)

    return asyncio.run(main())


def fetch(rig, path, **headers):
    """Return status, headers and body of a page."""

    async def main():
        async with (
            aiohttp.ClientSession() as session,
            session.get(URL(rig.base + path, encoded=True), headers=headers) as answer,
        ):
            return answer.status, answer.headers, await answer.read()

    return asyncio.run(main())


async def eventually(predicate):
    async with asyncio.timeout(GUARD_S):
        while not predicate():
            await asyncio.sleep(0.01)


@pytest.fixture(name="rig")
def rig_fixture(tmp_path):
    rig = ConsoleRig(tmp_path / "session")
    yield rig
    rig.server.close()
