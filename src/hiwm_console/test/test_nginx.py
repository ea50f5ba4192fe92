"""The console behind a real nginx, set up as docs/console.md describes it."""

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import aiohttp
import pytest

from hiwm_console.access import AccessRules
from hiwm_console.certificate import server_context

sys.path.insert(0, str(Path(__file__).parent))
from console_rig import GUARD_S, ConsoleRig, Viewer, eventually  # noqa: E402

PAGE = Path(__file__).parents[3] / "docs" / "console.md"
NAME = "console.lab.example"
# Debian keeps it in a folder that only root's PATH has.
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
# Around the server block of the page. As on any machine, but with no file outside one folder.
AROUND = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def documented_block():
    """Return the server block of the page."""
    return textwrap.dedent(
        re.search(r"^    server \{\n.*?^    \}\n", PAGE.read_text(), re.DOTALL | re.MULTILINE)[0]
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxied:
    """A console behind nginx, and a client that trusts the proxy's certificate."""

    def __init__(self, folder, **rules):
        self.rig = ConsoleRig(folder / "session", rules=AccessRules(**rules))
        self.port = free_port()
        server_context(folder, [NAME])
        self._trusted = ssl.create_default_context(cafile=folder / "certificate.pem")
        block = documented_block()
        for documented, here in (
            ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
            ("/etc/ssl/console.crt", f"{folder}/certificate.pem"),
            ("/etc/ssl/console.key", f"{folder}/key.pem"),
            ("http://127.0.0.1:8642", self.rig.base.rstrip("/")),
        ):
            assert documented in block
            block = block.replace(documented, here)
        config = folder / "nginx.conf"
        config.write_text(AROUND.format(folder=folder, server=block))
        self._nginx = subprocess.Popen(
            [NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config),
             "-g", "daemon off;"],
        )
        deadline = time.monotonic() + GUARD_S
        while self._nginx.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.close()
        raise AssertionError((folder / "error.log").read_text())

    def visit(self, body, path="console", host=NAME):
        """Run `body` with a viewer whose browser opened the proxy's page."""
        address = f"{host}:{self.port}"

        async def main():
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(
                    f"https://127.0.0.1:{self.port}/{path}", ssl=self._trusted,
                    server_hostname=NAME,
                    headers={"Host": address, "Origin": f"https://{address}"},
                ) as opened,
            ):
                return await body(Viewer(opened))

        return asyncio.run(main())

    def page(self):
        async def main():
            async with (
                aiohttp.ClientSession() as session,
                session.get(
                    f"https://127.0.0.1:{self.port}/", ssl=self._trusted, server_hostname=NAME,
                    headers={"Host": f"{NAME}:{self.port}"},
                ) as answer,
            ):
                return answer.status, await answer.text()

        return asyncio.run(main())

    def close(self):
        self._nginx.terminate()
        self._nginx.wait(GUARD_S)
        self.rig.server.close()


@pytest.fixture
def proxied(tmp_path):
    opened = []

    def make(**rules):
        opened.append(Proxied(tmp_path, **rules))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


async def access(viewer):
    return (await viewer.of("hello"))["access"]


def test_the_documented_proxy_serves_the_page_and_whoever_has_the_token_drives(proxied):
    proxy = proxied(hosts=(NAME,), token="word")
    status, text = proxy.page()
    assert status == 200 and "hiwm console" in text
    assert not proxy.visit(access)["drive"]

    async def drive(viewer):
        assert (await access(viewer))["drive"]
        proxy.rig.tick(0)
        await viewer.drive(False)
        await viewer.drive(True)
        await eventually(lambda: proxy.rig.graph.commands)
        proxy.rig.frame(7)
        await viewer.until(lambda message: isinstance(message, bytes))

    proxy.visit(drive, path="console?token=word")


def test_without_a_token_the_documented_proxy_lets_nobody_drive(proxied):
    proxy = proxied()
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        proxy.visit(access)  # its name was not allowed
    found = proxy.visit(access, host="127.0.0.1")
    assert not found["drive"] and "another machine" in found["reason"]
