"""A world behind a server: lost servers, wrong servers, states that a server has lost."""

import dataclasses
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.sync.server import ServerConnection, serve

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError, HiwmError, ServerError, WireError
from hiwm_core.tasks import load_task
from hiwm_core.wire_codec import pack, unpack
from hiwm_learning import websocket_client
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.world_models import train
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.remote import server as server_module
from hiwm_learning.world_models.remote.connection import API_KEY, WorldConnection
from hiwm_learning.world_models.remote.family import SERVER
from hiwm_learning.world_models.remote.protocol import (
    CameraView,
    WorldMetadata,
    WorldObservation,
    read_metadata,
    read_states,
)
from hiwm_learning.world_models.remote.server import WorldServer
from hiwm_learning.world_models.remote.simulator import RemoteSimulator, RemoteState
from hiwm_test_support.remote_worlds import connected_checkpoint, drawn_server
from hiwm_test_support.stalled_servers import TOO_LARGE, never_reading

TASK = load_task(default_task())
EMBODIMENT = load_embodiment(TASK.embodiment)
HOME = np.array(EMBODIMENT.home)
CAMERA = EMBODIMENT.cameras[0]
FRAME = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
METADATA = WorldMetadata(
    name="counter", model="counter 1",
    cameras=(CameraView(name=CAMERA.name, height=CAMERA.height, width=CAMERA.width),),
    actions=EMBODIMENT.action_dim, proprioception=0, period_s=1.0 / EMBODIMENT.rate_hz,
)


class Counter:
    """A served world that counts steps in its picture, and predicts no joints."""

    def __init__(self, **changes: Any) -> None:
        self.metadata = dataclasses.replace(METADATA, **changes)
        self.fails = ""

    def begin(self, images: Any, proprioception: Any, seed: int) -> int:
        return 0

    def step_many(self, states: Any, actions: Any) -> list[int]:
        if self.fails:
            raise RuntimeError(self.fails)
        return [state + 1 for state in states]

    def observations(self, states: Any) -> list[WorldObservation]:
        return [WorldObservation(images=(np.full_like(FRAME, state),)) for state in states]

    def packed(self, state: int) -> dict[str, bytes]:
        return {"count": bytes([state])}

    def unpacked(self, parts: Any) -> int:
        return int(parts["count"][0])


def served(world: Counter, **options: Any) -> WorldServer[int]:
    server = WorldServer(world, log=lambda line: None, **options)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def remote(server: WorldServer[Any], world: Counter) -> RemoteSimulator:
    return RemoteSimulator(
        WorldConnection(server.url, 5.0, world.metadata.model), world.metadata, EMBODIMENT, ()
    )


def test_steps_and_frames_come_from_the_server_and_joints_from_the_targets() -> None:
    world = Counter()
    simulator = remote(served(world), world)
    state = simulator.begin(FRAME, HOME, seed=0)
    for _ in range(3):
        state, limited = simulator.step(state, HOME + 0.001)
    seen = simulator.observe(state)
    assert (seen.image == 3).all() and state.step == 3
    np.testing.assert_allclose(seen.proprioception, limited.action)
    assert math.isnan(seen.trust)


def test_a_restarted_server_continues_from_the_bytes_that_the_client_kept() -> None:
    world = Counter()
    server = served(world)
    simulator = remote(server, world)
    state = simulator.begin(FRAME, HOME, seed=0)
    state, _ = simulator.step(state, HOME)
    server.close()
    with pytest.raises(ServerError, match="lost|cannot be reached"):
        simulator.step(state, HOME)
    served(world, port=server.port)
    again = simulator.restored(*state.to_parts())
    assert simulator._server.metadata(wait_s=10.0) == world.metadata
    after, _ = simulator.step(again, HOME)
    assert (simulator.observe(after).image == 2).all()


def test_a_state_that_the_server_dropped_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "STATES_KEPT", 2)
    world = Counter()
    simulator = remote(served(world), world)
    first = simulator.begin(FRAME, HOME, seed=0)
    state = first
    for _ in range(6):
        state, _ = simulator.step(state, HOME)
    (again, other), _ = simulator.step_many([first, state], [HOME, HOME])
    assert (simulator.observe(again).image == 1).all()
    assert (simulator.observe(other).image == 7).all()


def counts(simulator: RemoteSimulator, states: list[RemoteState]) -> list[int]:
    return [int(one.image[0, 0, 0]) for one in simulator.observe_many(states)]


def test_batches_larger_than_what_the_server_keeps_continue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "STATES_KEPT", 2)
    world = Counter()
    server = served(world)
    one, two = remote(server, world), remote(server, world)
    states = [one.begin(FRAME, HOME, seed=0)]
    for _ in range(8):
        states.append(one.step(states[-1], HOME)[0])
    others = states
    for done in range(1, 4):
        states, _ = one.step_many(states, [HOME] * 9)
        others, _ = two.step_many(others, [HOME] * 9)
        assert counts(one, states) == counts(two, others) == list(range(done, done + 9))
    assert len(server._states) <= 4 * 9


@pytest.mark.parametrize("times", [2, 99])
def test_restored_states_that_are_lost_at_once_are_sent_again_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    world = Counter()
    server = served(world)
    simulator = remote(server, world)
    state = simulator.begin(FRAME, HOME, seed=0)
    server._states.clear()
    keep, left = server._keep, [times]

    def forget(name: str, one: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            keep(name, one)

    monkeypatch.setattr(server, "_keep", forget)
    if times == 2:
        assert counts(simulator, [simulator.step(state, HOME)[0]]) == [1]
        return
    with pytest.raises(ServerError, match="loses restored states at once, in a batch of 1"):
        simulator.step(state, HOME)


def test_a_server_without_states_refuses_restoring_and_lost_episodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "STATES_KEPT", 1)
    world = Counter(can_restore=False)
    simulator = remote(served(world), world)
    first = after = simulator.begin(FRAME, HOME, seed=0)
    for _ in range(5):
        after, _ = simulator.step(after, HOME)
    assert not simulator.can_restore and not after.parts
    with pytest.raises(CheckpointError, match="cannot restore"):
        simulator.restored(*after.to_parts())
    with pytest.raises(ServerError, match="lost this episode"):
        simulator.step(first, HOME)


def test_a_failing_model_is_named_by_the_last_line_of_its_traceback() -> None:
    world = Counter()
    simulator = remote(served(world), world)
    state = simulator.begin(FRAME, HOME, seed=0)
    world.fails = "out of memory"
    with pytest.raises(ServerError, match="RuntimeError: out of memory"):
        simulator.step(state, HOME)
    world.fails = ""
    assert simulator.step(state, HOME)[0].step == 1


def test_a_chunk_of_actions_gives_one_state_each() -> None:
    world = Counter()
    connection = WorldConnection(served(world).url, 5.0)
    reply = connection.ask({
        "request": "begin", "images": [FRAME], "proprioception": HOME, "seed": 0,
    })
    ((first,),) = read_states(reply, METADATA, 1, 1)
    actions = np.tile(HOME, (1, 3, 1))
    reply = connection.ask({"request": "step", "states": [first.id], "actions": actions})
    (row,) = read_states(reply, METADATA, 1, 3)
    assert [told.images[0][0, 0, 0] for told in row] == [1, 2, 3]


@contextmanager
def answering(*messages: bytes | str) -> Iterator[str]:
    """Serve these messages to each client, the first on connecting."""

    def talk(client: ServerConnection) -> None:
        client.send(messages[0])
        for _, message in zip(client, messages[1:], strict=False):
            client.send(message)
        client.recv(timeout=5.0)

    server = serve(talk, "127.0.0.1", 0, compression=None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()


@pytest.mark.parametrize(("first", "message"), [
    (pack({"action_horizon": 50}), "another protocol: its first message has .'action_horizon'."),
    ("Traceback\nValueError: no weights", "failed: ValueError: no weights"),
    (b"\x80\x04K\x01.", "a pickle"),
    (pack({**METADATA.message(), "version": 99}), "protocol version 99"),
    (pack({**METADATA.message(), "actions": "four"}), "field 'actions' is 'four'"),
    (pack({**METADATA.message(), "cameras": []}), "field 'cameras' is"),
    (pack({**METADATA.message(), "model": "counter 2"}), "runs model 'counter 2'"),
])
def test_a_server_that_is_none_of_ours_is_named(first: bytes | str, message: str) -> None:
    with answering(first) as url, pytest.raises(HiwmError, match=message):
        WorldConnection(url, 5.0, METADATA.model).metadata()


def told(**changes: Any) -> dict[str, Any]:
    (row,) = [Counter().observations([0])]
    entry = {**vars(row[0]), "id": "a", "parts": {"count": b"\0"}, **changes}
    return {"states": [[entry]]}


@pytest.mark.parametrize(("reply", "message"), [
    ({"states": []}, "returned 0 worlds instead of 1"),
    ({"states": [[]]}, "returned 0 steps instead of 1"),
    (told(images=[FRAME[:8]]), "images of shapes"),
    (told(images=[FRAME.astype(np.float32)]), "uint8"),
    (told(parts={}), "without parts from a server that can restore"),
    (told(parts={"count": "text"}), "field 'parts'"),
    (told(proprioception=np.full(4, np.nan)), "proprioception .nan"),
    (told(trust=None), "field 'trust'"),
    ("nothing", "field 'states'"),
])
def test_a_malformed_state_is_refused(reply: Any, message: str) -> None:
    with pytest.raises(WireError, match=message):
        read_states(unpack(pack(reply)), METADATA, 1, 1)


@pytest.mark.parametrize(("request_", "message"), [
    ({"request": "fly"}, "request 'fly'"),
    ({"request": "step", "states": ["a"], "actions": np.zeros((1, 4))}, "actions of shape"),
    ({"request": "step", "states": ["a"], "actions": np.full((1, 1, 4), np.nan)}, "not finite"),
    ({"request": "begin", "images": [FRAME[:3]], "proprioception": HOME}, "images of shapes"),
])
def test_the_server_names_a_malformed_request(request_: Any, message: str) -> None:
    connection = WorldConnection(served(Counter()).url, 5.0)
    with pytest.raises(ServerError, match=message):
        connection.ask(request_)


def test_a_silent_server_is_late() -> None:
    with answering(pack(METADATA.message())) as url:
        connection = WorldConnection(url, 0.2)
        with pytest.raises(ServerError, match="no answer within 0.2 s"):
            connection.ask({"request": "starts"})


@pytest.mark.parametrize("url", [
    "http://127.0.0.1:1", "127.0.0.1:1", "", "ws://", "ws://h:99999", "ws://h:x", "ws://h:-1",
    "ws://[::1",
])
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="ws://HOST:PORT"):
        WorldConnection(url, 1.0)


def test_a_host_name_that_cannot_be_is_named() -> None:
    with pytest.raises(ServerError, match="cannot be reached"):
        WorldConnection(f"ws://{'a' * 300}:1", 1.0).metadata()


def test_a_server_that_stops_reading_is_late() -> None:
    with never_reading(pack(METADATA.message())) as port:
        connection = WorldConnection(f"ws://127.0.0.1:{port}", 0.5)
        with pytest.raises(ServerError, match="no answer within 0.5 s"):
            connection.ask({"request": "step", "actions": TOO_LARGE})


@pytest.mark.parametrize("error", [EOFError(), AssertionError("connection is closed")])
def test_a_peer_that_hangs_up_in_the_opening_is_named(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def connect(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(websocket_client, "connect", connect)
    with pytest.raises(ServerError, match="cannot be reached"):
        WorldConnection("ws://127.0.0.1:1", 1.0).metadata()


@pytest.mark.parametrize("key", ["secret", "ключ"])
def test_a_key_opens_a_server_and_a_wrong_one_does_not(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    server = served(Counter(), api_key=key)
    for wrong in ("", "geheim-ü"):
        monkeypatch.setenv(API_KEY, wrong)
        with pytest.raises(ServerError, match="401"):
            WorldConnection(server.url, 5.0).metadata()
    monkeypatch.setenv(API_KEY, key)
    assert WorldConnection(server.url, 5.0).metadata() == METADATA


def test_a_server_for_other_machines_wants_a_key() -> None:
    lines: list[str] = []
    for host, key in (("127.0.0.1", ""), ("0.0.0.0", "secret"), ("0.0.0.0", "")):
        assert not lines
        with WorldServer(Counter(), host=host, api_key=key, log=lines.append).running():
            pass
    assert API_KEY in lines[0]


def test_the_server_logs_clients_that_come_and_go() -> None:
    lines: list[str] = []
    gone = threading.Event()

    def log(line: str) -> None:
        lines.append(line)
        if line.endswith("left"):
            gone.set()

    with WorldServer(Counter(), log=log).running() as url:
        connection = WorldConnection(url, 30.0)
        connection.metadata()
        connection.close()
        assert gone.wait(60.0), lines
    assert lines == ["client 127.0.0.1 connected", "client 127.0.0.1 left"]


def test_connecting_writes_a_checkpoint_for_exactly_that_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = drawn_server(tmp_path / "model")
    path = connected_checkpoint(tmp_path, server.url)
    info = load_checkpoint(path).info
    assert read_metadata(info.config).embodiment_hash == EMBODIMENT.hash
    other = served(Counter(), port=0)
    monkeypatch.setenv(SERVER, other.url)
    with pytest.raises(ServerError, match="runs model 'counter 1'"):
        load_simulator(path, EMBODIMENT)


@pytest.mark.parametrize(("changes", "message"), [
    ({"task_hash": "0" * 64}, "the server's model is for task 000000000000"),
    ({"embodiment_hash": "0" * 64}, "the server's model is for embodiment 000000000000"),
    ({"period_s": 1.0}, "trained at"),
    ({"actions": 2}, "the server has 2 action entries"),
    ({"cameras": (CameraView(name="top", height=3, width=4),)}, "draws camera 'top', 3 x 4 px"),
    ({}, "has no start frames"),
])
def test_connecting_refuses_a_server_that_does_not_fit(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "remote.safetensors"
    url = served(Counter(**changes)).url
    assert train.main(["--family", "remote", url, "--output", str(output)]) == 1
    assert message in capsys.readouterr().err
    assert not output.exists()
