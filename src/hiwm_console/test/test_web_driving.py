"""Driving over real sockets: who is in control, who may be, and what ends it."""

import asyncio
import io
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiwm_console.access import AccessRules
from hiwm_core.control import Mode

sys.path.insert(0, str(Path(__file__).parent))
from console_rig import GUARD_S, ConsoleRig, eventually, rig_fixture, visit  # noqa: E402, F401


def test_a_viewer_drives_and_a_frame_brings_its_stamp_back(rig):
    async def body(viewer):
        await viewer.of("hello")
        rig.tick(0)
        await viewer.drive(False)
        await viewer.drive(True)
        await eventually(lambda: rig.graph.commands)
        rig.control(Mode.HUMAN, "console")
        stamp = 1e3 * time.monotonic()
        await viewer.send(type="drive", axes=[1, 0, 0, 0], deadman=True, t=stamp)
        await viewer.send(type="ping", t=1)
        await viewer.of("pong")  # by then it has been processed
        rig.tick(1)
        await eventually(lambda: len(rig.graph.commands) == 2)
        rig.frame(2)
        frame = await viewer.until(lambda message: isinstance(message, bytes))
        assert struct.unpack_from("<d", frame, 20)[0] == stamp
        assert np.asarray(Image.open(io.BytesIO(frame[28:])))[0, 0].tolist() == [2, 2, 2]

    visit(rig, body)
    assert rig.graph.commands[1].axes == (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("default", [False, True])
@pytest.mark.parametrize("said", [{}, {"demonstration": True}, {"demonstration": False}])
def test_a_page_says_whether_it_demonstrates_or_the_console_was_started_for_it(
    tmp_path, default, said
):
    rig = ConsoleRig(tmp_path, demonstrations=default)
    try:
        async def body(viewer):
            assert (await viewer.of("hello"))["demonstrations"] is default
            rig.tick(0)
            await viewer.send(
                type="drive", axes=[0] * 4, deadman=True, t=1e3 * time.monotonic(), **said
            )
            await eventually(lambda: rig.graph.commands)

        visit(rig, body)
        wanted = said.get("demonstration", default)
        assert all(command.demonstration is wanted for command in rig.graph.commands)
    finally:
        rig.server.close()


def test_a_lost_page_pauses_the_session(rig):
    async def body(viewer):
        rig.tick(0)
        await viewer.drive(True)
        await eventually(lambda: rig.graph.commands)

    visit(rig, body)
    deadline = time.monotonic() + GUARD_S
    while not rig.graph.acts and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [act.action for act in rig.graph.acts] == ["pause"]
    assert "closed" in rig.graph.acts[0].note


def test_a_silent_page_pauses_the_session_while_connected(rig):
    async def body(viewer):
        rig.tick(0)
        await viewer.drive(True)
        await viewer.of("released")
        assert "silent" in rig.graph.acts[0].note

    visit(rig, body)


@pytest.mark.parametrize(("after", "why"), [
    ([{"position": [0.0, 1.5, -0.3]}], "the left controller jumped by 0.50 m"),
    ([{"tracked": False}], "the left controller has lost its tracking"),
    ([], "the left controller has disappeared"),
])
def test_a_hand_that_cannot_be_trusted_pauses_and_must_be_gripped_again(rig, after, why):
    hand = {"arm": 0, "held": True, "tracked": True, "position": [0.0, 1.0, -0.3],
            "rotation": [0.0, 0.0, 0.0, 1.0], "trigger": 0.0}

    async def body(viewer):
        async def look(hands, deadman=True):
            await viewer.send(type="drive", axes=[0] * 4, deadman=deadman, device="headset",
                              t=1e3 * time.monotonic(), hands=hands)

        rig.tick(0)
        await look([hand])
        await eventually(lambda: rig.graph.commands)
        assert rig.graph.commands[0].settings.hands[0].position == (0.0, 1.0, -0.3)
        rig.control(Mode.HUMAN, "console")
        await look([hand | change for change in after])
        assert (await viewer.of("released"))["reason"] == why
        await eventually(lambda: rig.graph.acts)
        assert (rig.graph.acts[0].action, rig.graph.acts[0].note) == ("pause", why)
        rig.control(Mode.PAUSED)
        await look([hand])
        await viewer.send(type="ping", t=1)
        await viewer.of("pong")
        assert not rig.graph.commands[-1].deadman
        await look([hand], deadman=False)
        await look([hand])
        await eventually(lambda: rig.graph.commands[-1].deadman)

    visit(rig, body)


def test_one_drives_and_the_seat_changes_hands_visibly(rig):
    async def body(one, two):
        rig.tick(0)
        await one.drive(True)
        await two.of("seats", driver=1)
        await two.drive(True)
        assert "somebody else" in (await two.of("refused"))["reason"]
        await two.send(type="act", id=1, action="rollback", steps=5)
        await one.drive(True)
        await two.send(type="seat", do="ask")
        await one.of("seats", driver=1, asking=2)
        await one.drive(True)
        await one.send(type="seat", do="give")
        await two.of("seats", driver=2)
        await one.of("released")
        await two.of("notice", text="viewer 2 has the controls")
        await two.send(type="act", id=2, action="rollback", steps=5)
        await two.of("answer", id=2, ok=True)

    visit(rig, body, count=2)
    assert [act.action for act in rig.graph.acts] == ["pause", "rollback"]


@pytest.mark.parametrize("way", ["gives", "leaves", "closes"])
def test_a_press_that_was_refused_takes_no_control_later(rig, way):
    async def body(one, two):
        rig.tick(0)
        await one.drive(True)
        await two.of("seats", driver=1)
        if way != "closes":
            await two.send(type="seat", do="ask")
            await one.of("seats", asking=2)
        await two.drive(True)
        await two.of("refused")
        await one.drive(True)
        if way == "closes":
            await one.socket.close()
        else:
            await one.send(type="seat", do="give" if way == "gives" else "stand_up")
        while rig.server.hub.seats.driver != 2:
            await two.drive(True)
            await asyncio.sleep(0.01)
        rig.control(Mode.PAUSED)
        two.heard.clear()
        await two.drive(True)
        await two.send(type="ping", t=5)
        await two.of("pong")
        assert not rig.server.hub.page_commands.holding
        await two.drive(False)
        await two.drive(True)
        await two.send(type="ping", t=6)
        await two.of("pong", t=6.0)
        assert rig.server.hub.page_commands.holding

    visit(rig, body, count=2)


def test_everybody_who_may_drive_may_stop(rig):
    async def body(one, two):
        rig.tick(0)
        await one.drive(True)
        await two.of("seats", driver=1)
        await two.send(type="act", id=9, action="stop")
        await two.of("answer", id=9, ok=True)

    visit(rig, body, count=2)
    assert rig.graph.acts[0].action == "stop"


def test_without_the_token_one_looks_and_with_it_one_drives(tmp_path):
    rig = ConsoleRig(tmp_path, rules=AccessRules(token="open-sesame"))
    try:
        async def looks(viewer):
            hello = await viewer.of("hello")
            assert not hello["access"]["drive"] and "token" in hello["access"]["reason"]
            for message in (
                {"type": "drive", "axes": [0] * 4, "deadman": True, "t": 1},
                {"type": "seat", "do": "ask"}, {"type": "act", "id": 1, "action": "stop"},
                {"type": "act", "id": 2, "action": "reset"},
            ):
                await viewer.send(**message)
                await viewer.until(lambda said: isinstance(said, dict)
                                   and said["type"] == "refused")
                viewer.heard.clear()
            await viewer.send(type="act", id=3, action="propose")
            await viewer.of("answer", id=3)

        visit(rig, looks)
        visit(rig, looks, path="console?token=wrong")
        assert [act.action for act in rig.graph.acts] == ["propose", "propose"]

        async def drives(viewer):
            assert (await viewer.of("hello"))["access"]["drive"]
            await viewer.send(type="act", id=1, action="reset")
            await viewer.of("answer", id=1, ok=True)

        visit(rig, drives, path="console?token=open-sesame")
    finally:
        rig.server.close()
