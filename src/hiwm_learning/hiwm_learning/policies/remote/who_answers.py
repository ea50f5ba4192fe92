"""Names the protocol of a server that does not speak openpi's.

LeRobot's asynchronous inference speaks gRPC, and GR00T's server ZeroMQ. Both are easily taken for a
policy server of this protocol. Tested by ``test_remote_connection.py``.
"""

import socket

_WAIT_S = 0.5
_HTTP_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4  # type of the first frame of an HTTP/2 server
_GRPC = (
    "this is gRPC, as LeRobot's asynchronous inference uses it; its messages are pickles and are "
    "never read. Run serve_lerobot in the LeRobot environment instead"
)
_ZEROMQ = "this is ZeroMQ, as GR00T's server uses it"


def who_answers(host: str, port: int) -> str:
    """Return the name of another protocol at a port; empty if it is unknown or nothing answers."""
    if "://" in host or not port:
        return ""
    try:
        with socket.create_connection((host, port), _WAIT_S) as link:
            link.settimeout(_WAIT_S)
            first = _read(link)
            if not first:
                link.sendall(_HTTP_2)
                first = _read(link)
    except OSError:
        return ""
    if first.startswith(b"\xff") and b"\x7f" in first[:10]:
        return _ZEROMQ
    # A frame header has three bytes of length and one of type.
    return _GRPC if len(first) >= 9 and first[0] == 0 and first[3] == _SETTINGS else ""


def _read(link: socket.socket) -> bytes:
    try:
        return link.recv(64)
    except TimeoutError:
        return b""
