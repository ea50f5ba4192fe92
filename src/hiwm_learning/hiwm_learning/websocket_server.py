"""What policy servers and world servers share: who may connect, limits, and the exchange.

On connecting, a client gets the metadata. Then each binary message gets one reply. Any error goes
to the client as text, and ends the connection. Tested by ``test_remote_connection.py`` and
``test_remote_world.py``.
"""

import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from hiwm_core.errors import ConfigError, HiwmError, WireError, reason
from hiwm_core.server_access import exposure, has_key
from hiwm_core.wire_codec import pack, unpack
from hiwm_learning.websocket_client import CLOSE_S, MOST_BYTES


def websocket_server(
    metadata: Mapping[str, Any], answer: Callable[[Any], Any], *, host: str,
    port: int, api_key: str, key_variable: str, log: Callable[[str], None],
) -> Server:
    """Return a server that is bound, but not yet running.

    Args:
        metadata: sent to each client first.
        answer: from a message to its reply; called in a thread for each client.
        host: address to bind.
        port: TCP port; 0 = any free one.
        api_key: required in the header Authorization; empty lets everyone in.
        key_variable: environment variable of the key, for the warning.
        log: takes a line for each client and each error.

    Raises:
        ConfigError: the address cannot be bound.
    """
    def gate(connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if not has_key(request.headers.get("Authorization", ""), api_key):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong or missing API key\n")
        return None

    def talk(client: ServerConnection) -> None:
        try:
            address = client.remote_address[0]
        except OSError:
            return  # it is gone already
        log(f"client {address} connected")
        try:
            client.send(pack(dict(metadata)))
            for message in client:
                if isinstance(message, str):
                    raise WireError("a text message", where="request", remedy="send msgpack")
                client.send(pack(answer(unpack(message))))
        except ConnectionClosed:
            pass
        except Exception as error:  # a model may raise anything: the client gets to know it
            _report(client, error, log)
        finally:
            log(f"client {address} left")  # its socket is closed and has no address any more

    try:
        server = serve(
            talk, host, port, process_request=gate, compression=None, max_size=MOST_BYTES,
            ping_interval=None, close_timeout=CLOSE_S,
        )
    except (OSError, OverflowError, UnicodeError) as error:  # the last two: port, host name
        raise ConfigError(
            f"cannot listen: {reason(error)}", where=f"{host}:{port}",
            remedy="give another --host or --port",
        ) from None
    if warning := exposure(server.socket.getsockname()[0], api_key, key_variable):
        log(warning)
    return server


def _report(client: ServerConnection, error: Exception, log: Callable[[str], None]) -> None:
    """Tell the client what is wrong, and close the connection."""
    text = str(error) if isinstance(error, HiwmError) else traceback.format_exc()
    log(f"error: {text}")
    try:
        client.send(text)
        client.close(CloseCode.INTERNAL_ERROR, "the frame before says why")
    except ConnectionClosed:
        pass
