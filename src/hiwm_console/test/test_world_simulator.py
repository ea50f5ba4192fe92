"""Pages of the world simulator's protocol: what they send, who drives, and what closes them."""

import asyncio
import io
import struct
import sys
from pathlib import Path

import pytest
from PIL import Image

from hiwm_console.access import AccessRules
from hiwm_core.control import Mode

sys.path.insert(0, str(Path(__file__).parent))
from console_rig import GUARD_S, ConsoleRig, eventually, rig_fixture, visit  # noqa: E402, F401


def test_a_page_of_the_world_simulator_drives(rig):
    async def body(viewer):
        rig.tick(0)
        await viewer.send(type="init", task="toy_task")
        await viewer.send(type="action", action={"w": 1, "a": 0}, t_client=123.5)
        await eventually(lambda: rig.graph.commands)
        rig.control(Mode.HUMAN, "console")
        # It sends nothing more while the key is down: its pongs keep it in control.
        reader = asyncio.ensure_future(viewer.until(lambda said: isinstance(said, bytes)))
        await asyncio.sleep(0.6)
        assert rig.server.hub.page_commands.holding
        rig.tick(1)
        await eventually(lambda: rig.graph.commands[-1].step == 1)
        rig.frame(2)
        frame = await reader
        assert struct.unpack_from(">d", frame)[0] == 123.5
        assert Image.open(io.BytesIO(frame[8:])).format == "PNG"

    visit(rig, body, path="ws")
    assert rig.graph.commands[-1].axes[1] == 1.0


def test_a_page_of_another_origin_may_be_allowed(tmp_path):
    rig = ConsoleRig(tmp_path, rules=AccessRules(origins=("http://demo.example",)))
    try:
        async def body(viewer):
            rig.frame(1)
            assert await viewer.until(lambda said: isinstance(said, bytes))

        visit(rig, body, path="ws", headers={"Origin": "http://demo.example"})
    finally:
        rig.server.close()


NO_KEYS = dict.fromkeys("wsadqeikjluo", 0)


async def hold(viewer, *keys, until):
    """Send what the standard page sends: its keys every few ms, until a condition is true."""
    async def send():
        now = asyncio.get_running_loop().time
        while not until():
            action = {**NO_KEYS, **dict.fromkeys(keys, 1)}
            await viewer.send(type="action", action=action, t_client=1e3 * now())
            await asyncio.sleep(0.004)

    await asyncio.wait_for(send(), GUARD_S)


def last_deadman(rig):
    return rig.graph.commands[-1].deadman if rig.graph.commands else None


def test_two_pages_take_turns_and_neither_connection_dies(rig):
    async def body(one, two):
        rig.tick(0)
        readers = [asyncio.ensure_future(page.until(lambda _: False)) for page in (one, two)]
        await one.send(type="init", task="toy_task")
        await hold(one, "w", until=lambda: last_deadman(rig))
        rig.control(Mode.HUMAN, "console")
        assert rig.server.hub.seats.driver == 1
        await two.send(type="init", task="toy_task")
        # The other page's keys are refused while the first holds a key.
        for _ in range(20):
            await hold(two, "i", until=lambda refused=rig.server.hub.refusals.total:
                       rig.server.hub.refusals.total > refused)
            sent = len(rig.graph.commands)
            await hold(one, "w", until=lambda sent=sent: len(rig.graph.commands) > sent)
        assert rig.server.hub.seats.driver == 1
        await hold(one, until=lambda: last_deadman(rig) is False)
        await hold(two, until=lambda: not rig.server.hub._pages[2].holding)
        rig.control(Mode.PAUSED)
        await hold(two, "i", until=lambda: last_deadman(rig))
        assert rig.server.hub.seats.driver == 2
        assert not one.socket.closed and not two.socket.closed
        for reader in readers:
            assert not reader.done()
            reader.cancel()

    visit(rig, body, path="ws", count=2)


def test_keys_that_were_refused_take_no_control_when_the_other_page_leaves(rig):
    async def body(one, two):
        rig.tick(0)
        await hold(one, "w", until=lambda: last_deadman(rig))
        rig.control(Mode.HUMAN, "console")
        await hold(two, "i", until=lambda: rig.server.hub.refusals.total > 0)
        answering = asyncio.ensure_future(two.until(lambda _: False))  # of pings
        await one.socket.close()
        for _ in range(200):
            if rig.server.hub.seats.driver == 2:
                break
            await asyncio.sleep(0.02)
        rig.control(Mode.PAUSED)
        await asyncio.sleep(0.3)  # several pings
        assert last_deadman(rig) is False and not rig.server.hub.page_commands.holding
        await hold(two, until=lambda: not rig.server.hub._pages[2].holding)
        await hold(two, "i", until=lambda: last_deadman(rig))
        answering.cancel()

    visit(rig, body, path="ws", count=2)


def test_a_page_that_lost_control_lets_go_and_takes_it_again(rig):
    async def body(viewer):
        rig.tick(0)
        await hold(viewer, "w", until=lambda: last_deadman(rig))
        rig.control(Mode.HUMAN, "console")
        rig.control(Mode.PAUSED)  # somebody else paused
        await hold(viewer, "w", until=lambda: last_deadman(rig) is False)
        sent = len(rig.graph.commands)
        await hold(viewer, "w", until=lambda: viewer.socket.closed or next(ticks, None) is None)
        assert len(rig.graph.commands) == sent, "taken again without letting go"
        await hold(viewer, until=lambda: not rig.server.hub._pages[1].holding)
        await hold(viewer, "w", until=lambda: last_deadman(rig))
        rig.control(Mode.HUMAN, "console")
        await hold(viewer, until=lambda: last_deadman(rig) is False)
        assert rig.graph.acts == [], "letting go asks for no pause"

    ticks = iter(range(50))
    visit(rig, body, path="ws")


def test_a_page_that_came_before_the_first_tick_drives_from_it_on(rig):
    async def body(viewer):
        ticks = iter(range(300))  # longer than the wait for the arbiter's answer
        await hold(viewer, "w", until=lambda: next(ticks, None) is None)
        assert not rig.graph.commands
        rig.tick(0)
        await hold(viewer, "w", until=lambda: last_deadman(rig))

    visit(rig, body, path="ws")


def test_a_page_that_sends_a_thousand_actions_a_second_is_read_and_not_closed(rig):
    async def body(viewer):
        rig.tick(0)
        for number in range(5000):
            keys = {**NO_KEYS, "w": int(number % 2)}
            await viewer.send(type="action", action=keys, t_client=number)
        await viewer.send(type="action", action={**NO_KEYS, "d": 1}, t_client=5000)
        await eventually(lambda: rig.server.hub._pages[1].keys == {"d"})
        assert not viewer.socket.closed and not rig.server.hub.clients[1].gone

    visit(rig, body, path="ws")
    assert rig.server.hub.refusals.total == 0


@pytest.mark.parametrize("text", [
    "", "{", "[]", '{"type": "action", "action": {"w": 2}}', '{"type": "reset"}',
    '{"type": "set_task", "task": null}', '{"type": "action", "action": {"w": 1}, "t_client": "x"}',
])
def test_what_it_cannot_read_is_refused_and_the_page_stays(rig, text):
    async def body(viewer):
        await viewer.socket.send_str(text)
        await viewer.socket.send_bytes(b"\0")
        await eventually(lambda: rig.server.hub.refusals.total == 2)
        rig.frame(1)
        assert await viewer.until(lambda said: isinstance(said, bytes))

    visit(rig, body, path="ws")


def test_keys_without_effect_take_no_control(rig):
    async def body(viewer):
        rig.tick(0)
        await viewer.send(type="action", action={"q": 1, "u": 1}, t_client=1)
        await eventually(lambda: rig.server.hub._pages[1].keys == {"q", "u"})
        assert rig.server.hub.seats.driver is None and not rig.graph.commands
        await viewer.send(action={"w": 1}, t_client=2)  # no type: an action
        await eventually(lambda: rig.graph.commands)

    visit(rig, body, path="ws")
    assert all(command.axes[1] == 1.0 for command in rig.graph.commands if command.deadman)
