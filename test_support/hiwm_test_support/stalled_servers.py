"""A server that stops reading, as a stopped process or a full disk makes one."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.http11 import Request
from websockets.server import ServerProtocol

# More than the buffers of both ends of a loopback connection hold.
TOO_LARGE = bytes(48 * 2**20)
_LET_GO_S = 30.0  # a client that waits for ever is cut off then


@contextmanager
def never_reading(first: bytes) -> Iterator[int]:
    """Serve one client a message, and read nothing that it sends; yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def work() -> None:
        peer, _ = listener.accept()
        with peer:
            protocol = ServerProtocol()
            while not (events := protocol.events_received()):
                protocol.receive_data(peer.recv(4096))
            assert isinstance(events[0], Request)
            protocol.send_response(protocol.accept(events[0]))
            protocol.send_binary(first)
            for data in protocol.data_to_send():
                peer.sendall(data)
            over.wait(_LET_GO_S)

    threading.Thread(target=work, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        listener.close()
