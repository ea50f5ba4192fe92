"""The web server: pages, pictures and two kinds of websocket, in its own thread.

Everything served is in memory before the first request, or comes from the session's tree by the
name of a node: no request ever names a file.
"""

import asyncio
import contextlib
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.resources import files
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from hiwm_console import page_palette
from hiwm_console.access import Access, AccessRules
from hiwm_console.clients import Client
from hiwm_console.hub import Graph, Hub
from hiwm_console.label_pages import LabelPages
from hiwm_console.label_store import LabelStore
from hiwm_console.pictures import media_type
from hiwm_console.protocol import MOST_BYTES
from hiwm_console.session_files import TREE_FILE, SessionFiles
from hiwm_console.twin_pages import TwinPages
from hiwm_core.errors import HiwmError
from hiwm_core.twin_folder import is_twin

_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Limit on simultaneous connections: a lab, not the internet.
_MAX_CLIENTS = 32
# Frames for a slow viewer must not queue in this process either.
_BUFFER_BYTES = 32_768
# Interval of the pings by which pages of the world simulator's protocol prove that they are alive.
_PING_S = 0.1
# The tree is looked at this often even if nobody said that it has changed.
_TREE_RETRY_S = 1.0
# Shortest interval between sending trees; a session changes its tree with every tick.
_TREE_S = 0.2


class WebServer:
    """Serves the console of a session.

    Args:
        host: address to listen on.
        port: TCP port; 0 = any free one.
        rules: who may look and who may drive.
        session: the session's files.
        graph: the running session; None for a stored one.
        log: called with log lines, from the server's thread.
        demonstrations: driving is a demonstration unless the page specifies otherwise.
        tls: serve https with it; None: http.

    Raises:
        HiwmError: the port is in use, or the address is not this machine's.
    """

    def __init__(
        self, *, host: str, port: int, rules: AccessRules, session: SessionFiles,
        graph: Graph | None, log: Callable[[str], None], demonstrations: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self._host, self._rules, self._session, self._tls = host, rules, session, tls
        # New at every start: a browser must not show another session's pictures from its cache.
        self._key = secrets.token_hex(4)
        self.hub = Hub(graph, log, {
            "stored": graph is None, "frames": f"/frames/{self._key}/",
            "session": session.folder.name, "description": session.description(),
        }, demonstrations=demonstrations)
        self.hub.want_tree = self._send_tree
        self._labels = LabelPages(
            LabelStore(session.folder), self.hub, self._judge, self._key, _HEADERS
        )
        self._twins = TwinPages(
            session.folder, self._judge, self.hub.refusals.note, self._key, _HEADERS
        )
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="session")
        self._assets = {
            path.name: (path.read_bytes(), _TYPES[path.name.rsplit(".", 1)[-1]])
            for path in files("hiwm_console").joinpath("page").iterdir()
            if path.name.rsplit(".", 1)[-1] in _TYPES
        }
        self._assets["palette.css"] = page_palette.style_sheet(), _TYPES["css"]
        self._assets["palette.js"] = page_palette.script(), _TYPES["js"]
        self._revision = 0
        self._tree_changed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        started: Future[int] = Future()
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(port, started), self.loop)
        self.port = started.result()

    @property
    def address(self) -> str:
        """Address of the page, for a browser on this machine."""
        name = "127.0.0.1" if self._host in ("0.0.0.0", "::") else self._host
        name = f"[{name}]" if ":" in name else name
        return f"http{'s' if self._tls else ''}://{name}:{self.port}/"

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run a function on the server's thread; call it from any other thread."""
        with contextlib.suppress(RuntimeError):  # the server has closed
            self.loop.call_soon_threadsafe(function, *arguments)

    def tree_changed(self) -> None:
        """Read the tree soon; call it on the server's thread."""
        self._tree_changed.set()

    def close(self) -> None:
        """Close all connections and stop serving."""
        asyncio.run_coroutine_threadsafe(self._stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self._reading.submit(self._session.close).result(10)
        self._reading.shutdown()
        self._labels.close()
        self.loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _start(self, port: int, started: "Future[int]") -> None:
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_get("/", self._page)
        app.router.add_get("/label", self._label_page)
        app.router.add_get("/twin", self._twin_page)
        self._twins.add_to(app.router)
        app.router.add_get("/xr", self._headset_page)
        self._labels.add_to(app.router)
        app.router.add_get("/assets/{name}", self._asset)
        app.router.add_get("/frames/{key}/{node}", self._frame)
        app.router.add_get("/console", self._console)
        app.router.add_get("/ws", self._world_simulator)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._host, port, ssl_context=self._tls)
            await site.start()
        except OSError as error:
            started.set_exception(HiwmError(
                f"cannot serve the console: {error.strerror}", where=f"{self._host} port {port}",
                remedy="choose another port with console_port:=, or 0 for any free one",
            ))
            return
        for task in (self.hub.look_after_control(), self._follow_tree()):
            self._tasks.add(asyncio.ensure_future(task))
        started.set_result(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        for client in self.hub.clients.values():
            client.gone = "the console has ended"
            client.wake.set()
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await self._twins.close()
        await self._runner.cleanup()
        await asyncio.sleep(0)  # the pause request for the page in control has been sent by then
        self.hub.close()

    # Requests.

    def _judge(self, request: web.Request, token: str = "") -> Access:
        headers = {
            # Of several, each would have to be allowed; browsers send one.
            key.lower(): ", ".join(request.headers.getall(key)) for key in request.headers
        }
        return self._rules.judge(request.remote or "", headers, token)

    def _looking(self, request: web.Request) -> None:
        access = self._judge(request)
        if not access.look:
            self.hub.refusals.note(access.reason)
            raise web.HTTPForbidden(text=access.reason + "\n", headers=_HEADERS)

    async def _page(self, request: web.Request) -> web.Response:
        self._looking(request)
        if self.hub.graph is None and is_twin(self._session.folder):
            raise web.HTTPFound("/twin", headers=_HEADERS)
        if self.hub.graph is None and not (self._session.folder / TREE_FILE).is_file():
            raise web.HTTPFound("/label", headers=_HEADERS)  # bags without a session's tree
        return self._named("index.html")

    async def _label_page(self, request: web.Request) -> web.Response:
        self._looking(request)
        return self._named("label.html")

    async def _twin_page(self, request: web.Request) -> web.Response:
        self._looking(request)
        return self._named("twin.html")

    async def _headset_page(self, request: web.Request) -> web.Response:
        self._looking(request)
        if self.hub.graph is None:
            raise web.HTTPNotFound(text="a stored session cannot be driven\n", headers=_HEADERS)
        return self._named("xr.html")

    async def _asset(self, request: web.Request) -> web.Response:
        self._looking(request)
        return self._named(request.match_info["name"])

    def _named(self, name: str) -> web.Response:
        if name not in self._assets:
            raise web.HTTPNotFound(text="no such page\n", headers=_HEADERS)
        body, kind = self._assets[name]
        return web.Response(
            body=body, content_type=kind, charset="utf-8",
            headers={**_HEADERS, "Cache-Control": "no-cache"},
        )

    async def _frame(self, request: web.Request) -> web.Response:
        self._looking(request)
        if request.match_info["key"] != self._key:
            raise web.HTTPNotFound(text="the frame is of another session\n", headers=_HEADERS)
        try:
            data = await self._read(self._session.frame, request.match_info["node"])
        except HiwmError as error:
            raise web.HTTPNotFound(text=f"{error.what}\n", headers=_HEADERS) from None
        return web.Response(
            body=data, content_type=media_type(data),
            headers={**_HEADERS, "Cache-Control": "private, max-age=86400, immutable"},
        )

    async def _read(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self.loop.run_in_executor(self._reading, function, *arguments)

    # Websockets.

    async def _console(self, request: web.Request) -> web.StreamResponse:
        return await self._connect(request, plain=False)

    async def _world_simulator(self, request: web.Request) -> web.StreamResponse:
        if self.hub.graph is None:
            raise web.HTTPNotFound(text="a stored session cannot be driven\n", headers=_HEADERS)
        return await self._connect(request, plain=True)

    async def _connect(self, request: web.Request, *, plain: bool) -> web.StreamResponse:
        access = self._judge(request, request.query.get("token", ""))
        if not access.look:
            self.hub.refusals.note(access.reason)
            raise web.HTTPForbidden(text=access.reason + "\n", headers=_HEADERS)
        if len(self.hub.clients) >= _MAX_CLIENTS:
            self.hub.refusals.note(f"more than {_MAX_CLIENTS} connections")
            raise web.HTTPServiceUnavailable(text="too many viewers\n", headers=_HEADERS)
        socket = web.WebSocketResponse(
            max_msg_size=MOST_BYTES + 1, compress=False, autoping=not plain, timeout=2.0,
            heartbeat=None if plain else 5.0,
        )
        await socket.prepare(request)
        if request.transport is not None:
            request.transport.set_write_buffer_limits(high=_BUFFER_BYTES)  # type: ignore[attr-defined]
        client = self.hub.join(lambda number: Client(
            id=number, access=access, now=time.monotonic(), plain=plain,
            name="a world simulator page" if plain else "",
        ))
        tasks = [asyncio.ensure_future(self._write(socket, client))]
        if plain:
            tasks.append(asyncio.ensure_future(self._ping(socket)))
        try:
            await self._listen(socket, client)
        finally:
            self.hub.leave(client)
            for task in tasks:
                task.cancel()
        return socket

    async def _listen(self, socket: web.WebSocketResponse, client: Client) -> None:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                self.hub.receive(client, message.data)
            elif message.type is WSMsgType.PONG:
                self.hub.answered_ping(client)
            elif message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is WSMsgType.BINARY:
                self.hub.receive(client, "")  # refused, and counted against its rate
            elif message.type is WSMsgType.ERROR:
                large = getattr(message.data, "code", 0) == WSCloseCode.MESSAGE_TOO_BIG
                self.hub.refusals.note(
                    f"a message of more than {MOST_BYTES} bytes" if large else "a broken message"
                )
            if client.gone:
                await socket.close(code=1008, message=client.gone.encode())
                return

    async def _write(self, socket: web.WebSocketResponse, client: Client) -> None:
        with contextlib.suppress(ConnectionError):
            while not client.gone:
                await client.wake.wait()
                texts, frames = client.take()
                # Frames first: a key press must show before anything else is sent.
                for frame in frames:
                    await socket.send_bytes(frame)
                if not client.plain:
                    for text in texts:
                        await socket.send_str(text)
            await socket.close(code=1008, message=client.gone.encode())

    async def _ping(self, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            while not socket.closed:
                await asyncio.sleep(_PING_S)
                await socket.ping()

    # The tree.

    def _send_tree(self, client: Client, since: int) -> None:
        async def send() -> None:
            with contextlib.suppress(HiwmError):
                # A large tree needs many pages: what the world is in comes first.
                if not since and (present := await self._read(self._session.present)):
                    client.send_text(present)
                text, _ = await self._read(self._session.tree, since)
                client.send_text(text)

        task = asyncio.ensure_future(send())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow_tree(self) -> None:
        while True:
            # A tree that could not be read at its last change, because its file was still being
            # created, may not change again while the session is paused.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._tree_changed.wait(), _TREE_RETRY_S)
            self._tree_changed.clear()
            viewers = [client for client in self.hub.clients.values() if not client.plain]
            if viewers:
                with contextlib.suppress(HiwmError):
                    revision = await self._read(self._session.revision)
                    if revision > self._revision:
                        text, reached = await self._read(self._session.tree, self._revision)
                        if reached < revision:  # more than a page: the pages ask for it
                            text, _ = await self._read(self._session.tree, revision)
                        self._revision = revision
                        for client in viewers:
                            client.send_text(text)
            await asyncio.sleep(_TREE_S)
