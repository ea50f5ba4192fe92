"""The console over https: a certificate is made once, and page and socket work over it."""

import asyncio
import ssl
import stat

import aiohttp
import pytest

from hiwm_console.access import AccessRules
from hiwm_console.certificate import server_context
from hiwm_console.session_files import SessionFiles
from hiwm_console.web_server import WebServer
from hiwm_core.errors import HiwmError


def test_a_certificate_is_made_once_and_made_again_when_it_cannot_be_used(tmp_path):
    folder = tmp_path / "made"
    server_context(folder, ["localhost", "lab"])
    key, first = folder / "key.pem", (folder / "certificate.pem").read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    server_context(folder, ["localhost"])
    assert (folder / "certificate.pem").read_bytes() == first
    key.unlink()
    server_context(folder, ["localhost"])
    assert (folder / "certificate.pem").read_bytes() != first
    key.write_text("not a key")
    with pytest.raises(HiwmError, match="https needs a certificate"):
        server_context(folder, ["localhost"])


def test_without_openssl_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HiwmError, match="install openssl"):
        server_context(tmp_path, ["localhost"])


def test_the_headset_s_page_and_its_socket_are_served_encrypted(tmp_path):
    class Graph:
        axes, arms = 0, ()

        def show_again(self):
            pass

    server = WebServer(
        host="127.0.0.1", port=0, rules=AccessRules(token="word"), graph=Graph(),
        session=SessionFiles(tmp_path / "session"), log=lambda line: None,
        tls=server_context(tmp_path, ["localhost"]),
    )

    async def visit():
        trusted = ssl.create_default_context(cafile=tmp_path / "certificate.pem")
        async with aiohttp.ClientSession() as session:
            async with session.get(server.address + "xr", ssl=trusted) as answer:
                assert answer.status == 200 and "headset" in await answer.text()
            socket = server.address + "console?token=word"
            origin = server.address.rstrip("/")
            async with session.ws_connect(
                socket, ssl=trusted, headers={"Origin": origin}
            ) as opened:
                assert (await opened.receive_json())["access"]["drive"]
            with pytest.raises(aiohttp.ClientError):
                await session.get(server.address.replace("https", "http") + "xr")

    try:
        assert server.address.startswith("https://")
        asyncio.run(visit())
    finally:
        server.close()
