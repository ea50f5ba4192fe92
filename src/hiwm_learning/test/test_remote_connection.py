"""The connection to a policy server: what it reports, and that it comes back."""

import logging
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from websockets.sync.server import ServerConnection as Peer
from websockets.sync.server import serve

from hiwm_core.errors import HiwmError, ServerError
from hiwm_core.wire_codec import pack
from hiwm_learning.policies.remote.connection import ServerConnection, ServerTracebackError
from hiwm_learning.policies.remote.serve import make_server
from hiwm_test_support.policy_servers import PolicyServer
from hiwm_test_support.stalled_servers import TOO_LARGE, never_reading


@contextmanager
def talking(talk: Callable[[Peer], None]) -> Iterator[int]:
    """Serve a websocket that does something else; yield its port."""
    server = serve(talk, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.socket.getsockname()[1]
    server.shutdown()


@contextmanager
def raw(first: bytes, then: bytes = b"") -> Iterator[int]:
    """Serve TCP: send `first` on connecting and `then` after whatever comes; yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.sendall(first)
                if peer.recv(4096):
                    peer.sendall(then)
                    peer.recv(4096)

    threading.Thread(target=work, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def refusal(port: int, value: Any = None, key: str = "") -> str:
    """Return why a server is refused, on connecting or on asking."""
    link = ServerConnection("127.0.0.1", port, key)
    with pytest.raises(HiwmError) as caught:
        link.open(0.8)
        link.ask(value, 5.0)
    assert f"ws://127.0.0.1:{port}" in str(caught.value)
    assert not link.connected
    return str(caught.value)


def test_metadata_come_first_and_each_message_gets_its_reply() -> None:
    with PolicyServer({"policy": "pi0"}) as server:
        link = ServerConnection("127.0.0.1", server.port)
        link.open(5.0)
        assert link.metadata == {"policy": "pi0"}
        reply = link.ask({"state": np.arange(3.0)}, 5.0)
        np.testing.assert_array_equal(reply["actions"], np.full((8, 4), 0.01))
        np.testing.assert_array_equal(server.asked[0]["state"], np.arange(3.0))
        link.close()


def test_an_api_key_is_sent_and_a_missing_one_is_explained() -> None:
    with PolicyServer(api_key="geheim-ü") as server:
        link = ServerConnection("127.0.0.1", server.port, "geheim-ü")
        link.open(5.0)
        link.close()
        assert "HIWM_POLICY_API_KEY" in refusal(server.port)
        assert "HIWM_POLICY_API_KEY" in refusal(server.port, key="ключ")


def test_the_servers_traceback_is_shown_and_the_connection_is_made_again() -> None:
    with PolicyServer() as server:
        link = ServerConnection("127.0.0.1", server.port)
        link.open(5.0)

        def fail(_: Any) -> Any:
            raise RuntimeError("CUDA out of memory")

        good, server.answer = server.answer, fail  # type: ignore[method-assign]
        with pytest.raises(ServerTracebackError) as caught:
            link.ask({}, 5.0)
        assert "the server failed: RuntimeError: CUDA out of memory" in str(caught.value)
        assert "Traceback (most recent call last)" in caught.value.text
        assert not link.connected
        server.answer = good  # type: ignore[method-assign]
        link.open(5.0)
        assert "actions" in link.ask({}, 5.0)
        link.close()


def test_a_late_reply_is_never_taken_for_the_next_one() -> None:
    with PolicyServer(latency_s=0.5) as server:
        link = ServerConnection("127.0.0.1", server.port)
        link.open(5.0)
        with pytest.raises(ServerError, match="no reply within 0.05 s"):
            link.ask({}, 0.05)
        assert not link.connected


def test_a_server_that_stops_reading_is_late() -> None:
    with never_reading(pack({})) as port:
        link = ServerConnection("127.0.0.1", port)
        link.open(5.0)
        with pytest.raises(ServerError, match="no reply within 0.5 s"):
            link.tell(TOO_LARGE, 0.5)
        assert not link.connected


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 99999), ("127.0.0.1", -1), ("a" * 300, 0)]
)
def test_an_address_that_cannot_be_bound_is_named(host: str, port: int) -> None:
    with pytest.raises(HiwmError, match="cannot listen"):
        make_server({}, dict, host=host, port=port)


@pytest.mark.parametrize("host", ["ws://h:99999", "ws://[::1", f"ws://{'a' * 300}", "b:99999"])
def test_an_address_that_cannot_be_is_named(host: str) -> None:
    with pytest.raises(ServerError, match="is not an address"):
        ServerConnection(host, 0).open(0.5)


def test_a_server_for_other_machines_wants_a_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for host, key in (("127.0.0.1", ""), ("0.0.0.0", "secret"), ("0.0.0.0", "")):
        assert "HIWM_POLICY_API_KEY" not in caplog.text
        make_server({}, dict, host=host, port=0, api_key=key).socket.close()
    assert "HIWM_POLICY_API_KEY" in caplog.text


def test_a_server_that_goes_is_lost_and_one_that_comes_is_found() -> None:
    with PolicyServer() as server:
        link = ServerConnection("127.0.0.1", server.port)
        link.open(5.0)
    with pytest.raises(ServerError, match="lost"):
        link.ask({}, 5.0)
    with pytest.raises(ServerError, match=r"no server answers: Connection refused"):
        link.open(0.1)
    starting = threading.Timer(0.3, lambda: servers.append(PolicyServer(port=server.port)))
    servers: list[PolicyServer] = []
    starting.start()
    link.open(10.0)
    assert "actions" in link.ask({}, 5.0)
    link.close()
    servers[0].stop()


GRPC = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0]) + bytes(6)
ZMQ = b"\xff" + bytes(8) + b"\x7f\x03"


@pytest.mark.parametrize(("first", "then", "words"), [
    (b"", GRPC, "gRPC, as LeRobot's asynchronous inference"), (GRPC, b"", "never read"),
    (ZMQ, b"", "ZeroMQ, as GR00T's"),
    (b"", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", b"", "no server of the openpi protocol"),
])
def test_a_server_of_another_protocol_is_named(first: bytes, then: bytes, words: str) -> None:
    with raw(first, then) as port:
        assert words in refusal(port)


@pytest.mark.parametrize(("talk", "words"), [
    (lambda peer: peer.send('{"type": "hello"}'), "its first message is text"),
    (lambda peer: peer.send(pack([1, 2])), "its metadata is list"),
    (lambda peer: peer.send(pickle.dumps({"a": 1})), "a pickle"),
    (lambda peer: peer.recv(), "it sends no metadata"),
])
def test_a_websocket_of_another_kind_is_refused(
    talk: Callable[[Peer], None], words: str
) -> None:
    with talking(talk) as port:
        assert words in refusal(port)


def test_a_pickle_as_a_reply_is_refused() -> None:
    def talk(peer: Peer) -> None:
        peer.send(pack({}))
        peer.recv()
        peer.send(pickle.dumps({"actions": 1}))

    with talking(talk) as port:
        link = ServerConnection("127.0.0.1", port)
        link.open(5.0)
        with pytest.raises(HiwmError, match="a pickle"):
            link.ask({}, 5.0)
        link.close()
