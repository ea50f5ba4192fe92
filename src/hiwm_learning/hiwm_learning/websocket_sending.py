"""A bound on the time of sending a message.

The library's `send` has no timeout: if the peer stops reading, a message larger than the buffers of
both machines blocks it for as long as the peer's machine answers.
"""

import contextlib
import socket
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection


def send_within(connection: ClientConnection, data: bytes, timeout_s: float) -> None:
    """Send a message; after the timeout, cut the connection.

    Raises:
        TimeoutError: the peer did not take it in time.
        ConnectionClosed: the connection is lost.
    """
    late = threading.Event()

    def cut() -> None:
        late.set()
        with contextlib.suppress(OSError):
            # That of a TLS socket would also change its state, which the sending thread uses.
            socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)

    watchdog = threading.Timer(timeout_s, cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.send(data)
    except ConnectionClosed:
        if late.is_set():
            raise TimeoutError(f"not taken within {timeout_s:g} s") from None
        raise
    finally:
        watchdog.cancel()
