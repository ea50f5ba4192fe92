"""The console behind a reverse proxy without forwarding headers: driving needs a token."""

import asyncio
import contextlib
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hiwm_console.access import AccessRules

sys.path.insert(0, str(Path(__file__).parent))
from console_rig import ConsoleRig, Viewer  # noqa: E402

NAME = "console.lab.example"


def proxy(base, *, keeps_host):
    """Return an application that passes websockets on, with `Host` kept or replaced by its own."""
    async def forward(request):
        headers = {key: request.headers[key] for key in ("Origin",) if key in request.headers}
        if keeps_host:
            headers["Host"] = request.headers["Host"]
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            try:
                inner = await stack.enter_async_context(
                    session.ws_connect(f"{base}{request.path_qs[1:]}", headers=headers)
                )
            except aiohttp.WSServerHandshakeError as error:
                return web.Response(status=error.status)
            outer = web.WebSocketResponse()
            await outer.prepare(request)

            async def pump(source, sink):
                async for message in source:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        await sink.send_str(message.data)
                    else:
                        await sink.send_bytes(message.data)

            back = asyncio.ensure_future(pump(inner, outer))
            await pump(outer, inner)
            back.cancel()
            return outer

    app = web.Application()
    app.router.add_get("/{path:.*}", forward)
    return app


def access_through(rig, *, keeps_host, path="console", headers=()):
    """Return the access in the hello message of a viewer behind a proxy."""
    async def main():
        runner = web.AppRunner(proxy(rig.base, keeps_host=keeps_host))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}/{path}"
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(address, headers={"Host": NAME, **dict(headers)}) as socket,
            ):
                hello = await Viewer(socket).of("hello")
                return hello["access"]
        finally:
            await runner.cleanup()

    return asyncio.run(main())


@pytest.fixture
def rig_with(tmp_path):
    rigs = []

    def make(**rules):
        rigs.append(ConsoleRig(tmp_path, rules=AccessRules(**rules)))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.server.close()


def test_a_proxy_that_keeps_the_name_needs_it_allowed_and_then_a_token(rig_with):
    origin = {"Origin": f"http://{NAME}"}
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        access_through(rig_with(), keeps_host=True, headers=origin)
    access = access_through(rig_with(hosts=(NAME,)), keeps_host=True, headers=origin)
    assert not access["drive"] and "token" in access["reason"]
    rig = rig_with(hosts=(NAME,), token="word")
    assert not access_through(rig, keeps_host=True, headers=origin)["drive"]
    path = "console?token=word"
    assert access_through(rig, keeps_host=True, headers=origin, path=path)["drive"]


def test_a_proxy_that_names_itself_needs_its_pages_allowed_and_then_a_token(rig_with):
    origin = {"Origin": f"http://{NAME}"}
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        access_through(rig_with(), keeps_host=False, headers=origin)
    rig = rig_with(origins=(origin["Origin"],))
    for headers in (origin, {}):
        access = access_through(rig, keeps_host=False, headers=headers)
        assert not access["drive"] and "token" in access["reason"]
