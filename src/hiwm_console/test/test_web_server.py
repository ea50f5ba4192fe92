"""The server over real sockets: what it shows and refuses, and that clients are isolated."""

import asyncio
import contextlib
import io
import json
import struct
import sys
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from PIL import Image

from hiwm_console import protocol, session_files
from hiwm_console.access import AccessRules
from hiwm_console.session_files import SessionFiles
from hiwm_console.web_server import WebServer
from hiwm_core.control import Mode, Source
from hiwm_core.errors import HiwmError
from hiwm_core.palette import MODE_COLOURS

sys.path.insert(0, str(Path(__file__).parent))
from console_rig import ConsoleRig, eventually, fetch, rig_fixture, visit  # noqa: E402, F401
from stored_tree import frame_of, write_session  # noqa: E402

# ---- pages ----

def test_the_page_and_its_parts_are_served_with_strict_headers(rig):
    status, headers, body = fetch(rig, "")
    assert status == 200 and b"hiwm console" in body
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    for name in ("main.js", "label.js", "base.css", "icon.svg"):
        assert fetch(rig, f"assets/{name}")[0] == 200


def test_the_pages_colours_are_those_of_the_palette(rig):
    red, green, blue = MODE_COLOURS[Mode.HUMAN]
    colour = f"#{red:02x}{green:02x}{blue:02x}"
    assert f"--human: {colour};" in fetch(rig, "assets/palette.css")[2].decode()
    script = fetch(rig, "assets/palette.js")[2].decode()
    sources = json.loads(script.removeprefix("export const SOURCES = ").rstrip(";\n"))
    assert sources[Source.HUMAN] == {"name": "operator", "colour": colour}
    assert len(sources) == len(Source)


@pytest.mark.parametrize("path", [
    "assets/../hub.py", "assets/..%2fhub.py", "assets/%2e%2e/hub.py", "assets/%00", "../setup.py",
    "frames/KEY/../../session.json", "frames/KEY/..%2f..%2fsession.json", "frames/KEY/x:1",
    "frames/KEY/%2e%2e%2ftree.sqlite:1", "frames/0000/ep_0001-b000:1", "frames/KEY/" + "a" * 300,
    "nothing",
])
def test_no_path_leads_out_of_what_is_served(tmp_path, path):
    rig = ConsoleRig(write_session(tmp_path / "session"), stored=True)
    try:
        key = rig.server.hub._base["frames"].split("/")[2]
        status, _, body = fetch(rig, path.replace("KEY", key))
        assert status == 404
        assert b"sqlite" not in body.lower() and b"import" not in body
    finally:
        rig.server.close()


def test_other_hosts_and_origins_are_refused_everywhere(rig):
    for path in ("", "assets/main.js", "frames/k/ep_0001-b000:1"):
        assert fetch(rig, path, Host="evil.example")[0] == 403
    for path in ("console", "ws"):
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                visit(rig, None, path=path, headers=headers)
    assert len(rig.log) == 2, rig.log  # one line per reason


def test_a_taken_port_is_one_clear_error(rig, tmp_path):
    with pytest.raises(HiwmError, match=f"port {rig.server.port}"):
        WebServer(
            host="127.0.0.1", port=rig.server.port, rules=AccessRules(),
            session=SessionFiles(tmp_path), graph=None, log=print,
        )


# ---- bad input ----

def test_huge_hostile_and_binary_messages_disturb_nobody(rig):
    async def body(good, bad):
        await good.of("hello")
        for text in ("{", "[" * 4000, '{"type": "act"}', '{"type": "drive", "axes": "x"}', "\0"):
            await bad.socket.send_str(text)
            await bad.of("refused")
            bad.heard.clear()
        await bad.socket.send_bytes(b"\0" * 100)
        await bad.of("refused")
        await bad.socket.send_str("x" * protocol.MOST_BYTES)
        await bad.of("refused")
        # Short enough for the socket's buffer: the server closes before it has read a longer one.
        await bad.socket.send_str("x" * (2 * protocol.MOST_BYTES))
        assert (await bad.of("closed"))["code"] == 1009
        await good.send(type="ping", t=5)
        await good.of("pong", t=5.0)

    visit(rig, body, count=2)
    assert any("bytes" in line for line in rig.log), rig.log


def test_ten_thousand_messages_at_once_are_refused_once_and_others_continue(rig):
    async def body(good, bad):
        rig.tick(0)
        await good.of("hello")
        text = json.dumps({"type": "seen", "n": 1})

        async def flood():
            with contextlib.suppress(ConnectionError):
                for _ in range(10_000):
                    await bad.socket.send_str(text)

        flooding = asyncio.ensure_future(flood())
        for number in range(20):
            await good.send(type="ping", t=number)
            await good.of("pong", t=float(number))
        await flooding
        assert (await bad.of("closed"))["code"] == 1008
        await good.drive(True)
        await eventually(lambda: rig.graph.commands)

    visit(rig, body, count=2)
    assert len([line for line in rig.log if "messages a second" in line]) == 1


def test_a_slow_viewer_gets_the_newest_frame_and_no_queue(rig):
    async def body(viewer):
        await viewer.of("hello")
        for step in range(60):
            rig.frame(step)
        await viewer.until(lambda message: isinstance(message, bytes))
        for _ in range(3):  # it acknowledges its frames, and catches up at once
            number = struct.unpack_from("<d", viewer.frames[-1], 12)[0]
            await viewer.send(type="seen", n=int(number))
            if struct.unpack_from("<I", viewer.frames[-1], 8)[0] == 59:
                break
            seen = len(viewer.frames)
            await viewer.until(lambda _, seen=seen: len(viewer.frames) > seen)
        steps = [struct.unpack_from("<I", frame, 8)[0] for frame in viewer.frames]
        assert steps[-1] == 59 and len(steps) <= 4, steps

    visit(rig, body)


def test_viewers_beyond_all_bounds_are_turned_away(rig):
    async def main():
        async with aiohttp.ClientSession() as session:
            sockets = [await session.ws_connect(rig.base + "console") for _ in range(32)]
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await session.ws_connect(rig.base + "console")
            for socket in sockets:
                await socket.close()

    asyncio.run(main())


# ---- stored sessions ----

@pytest.fixture
def stored(tmp_path):
    rig = ConsoleRig(write_session(tmp_path / "session"), stored=True)
    yield rig
    rig.server.close()


def test_a_tree_that_could_not_be_read_at_its_last_change_is_shown_all_the_same(rig, tmp_path):
    async def body(viewer):
        await viewer.of("hello")
        rig.server.loop.call_soon_threadsafe(rig.server.tree_changed)
        await asyncio.sleep(0.3)  # read in vain
        # The file is complete now, and nothing says so: the session is paused.
        write_session(tmp_path / "session")
        return await viewer.of("tree")

    assert visit(rig, body)["branches"]


def test_a_stored_session_shows_tree_and_frames(stored):
    async def body(viewer):
        hello = await viewer.of("hello")
        return hello, await viewer.of("tree")

    hello, tree = visit(stored, body)
    assert hello["stored"] and hello["description"]["task"] == "toy_task"
    assert [branch["id"] for branch in tree["branches"]] == [
        "ep_0001-b000", "ep_0001-b001", "ep_0001-b002"]
    assert tree["branches"][1]["label"] == "success" and tree["branches"][1]["note"] == "went well"
    assert tree["branches"][2]["from"] == "ep_0001-b000:6"
    run = next(run for run in tree["runs"] if run["branch"] == "ep_0001-b001")
    assert run["step"] == 7 and run["source"] == "2" * 12 and run["trust"][0] == 83
    status, headers, body = fetch(stored, hello["frames"][1:] + "ep_0001-b001:9")
    assert status == 200 and "immutable" in headers["Cache-Control"]
    assert (np.asarray(Image.open(io.BytesIO(body))) == frame_of(1, 9)).all()


def test_a_long_tree_is_sent_page_by_page_as_the_viewer_asks(stored, monkeypatch):
    monkeypatch.setattr(session_files, "PAGE", 10)

    async def body(viewer):
        pages = [await viewer.of("tree")]
        while pages[-1]["revision"] < pages[-1]["latest"]:
            since = pages[-1]["revision"]
            await viewer.send(type="tree", since=since)
            pages.append(await viewer.of("tree", since=since))
        return pages

    pages = visit(stored, body)
    nodes = [
        f"{run['branch']}:{run['step'] + place}"
        for page in pages for run in page["runs"] for place in range(len(run["source"]))
    ]
    branches = [branch["id"] for page in pages for branch in page["branches"]]
    assert len(nodes) == len(set(nodes)) == 36 and len(branches) == len(set(branches)) == 3
    assert len(pages) >= 4 and pages[-1]["head"] == "ep_0001-b002:18"
    assert all(
        len(page["branches"]) + sum(len(run["source"]) for run in page["runs"]) <= 10
        for page in pages
    )


def test_a_stored_session_cannot_be_changed(stored):
    async def body(viewer):
        for message in (
            {"type": "drive", "axes": [0] * 4, "deadman": True, "t": 1},
            {"type": "act", "id": 1, "action": "label", "label": "failure"},
            {"type": "seat", "do": "ask"},
        ):
            await viewer.send(**message)
            assert "stored" in (await viewer.of("refused"))["reason"]
            viewer.heard.clear()

    visit(stored, body)
    with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
        visit(stored, None, path="ws")
