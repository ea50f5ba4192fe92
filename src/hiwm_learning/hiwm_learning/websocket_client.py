"""What the clients of policy servers and world servers share: opening, and one bounded exchange.

The library's `send` has no timeout: if the peer stops reading, a message larger than the buffers of
both machines blocks it for as long as the peer's machine answers.
"""

import contextlib
import socket
import threading
import time

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import ClientConnection, connect

from hiwm_core.server_access import key_header

# Frames of 64 worlds with three cameras of 480 x 640 fit; a wrong peer cannot fill the memory.
MOST_BYTES = 256 * 2**20
CLOSE_S = 1.0  # longest closing handshake


# A peer of another protocol that talks first or hangs up: which one depends on the moment.
NO_HANDSHAKE = (InvalidHandshake, ConnectionClosed, EOFError, AssertionError)


def opening(url: str, api_key: str, timeout_s: float) -> ClientConnection:
    """Return an open connection, without compression and pings: servers compute for long.

    Raises:
        InvalidURI: not an address.
        OSError: nobody answers; TimeoutError is one.
        One of NO_HANDSHAKE: whoever answers speaks another protocol.
    """
    try:
        return connect(
            url, compression=None, max_size=MOST_BYTES, open_timeout=timeout_s,
            close_timeout=CLOSE_S, ping_interval=None, proxy=None,
            additional_headers=key_header(api_key),
        )
    except ValueError as error:  # a port out of range, a host name that is too long
        raise InvalidURI(url, str(error)) from None


def exchange(connection: ClientConnection, data: bytes, timeout_s: float) -> bytes | str:
    """Return the reply to a message; the timeout bounds sending and waiting together.

    Raises:
        TimeoutError: the peer did not take the message, or did not answer, in time.
        ConnectionClosed: the connection is lost.
    """
    deadline = time.monotonic() + timeout_s
    _send_within(connection, data, timeout_s)
    return connection.recv(max(0.0, deadline - time.monotonic()))


def last_line(traceback: str) -> str:
    """Return the error that a server's traceback ends with."""
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _send_within(connection: ClientConnection, data: bytes, timeout_s: float) -> None:
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
