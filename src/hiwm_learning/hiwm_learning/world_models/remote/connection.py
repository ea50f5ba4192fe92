"""A client's websocket to a world server: it reconnects, and says why it could not."""

import contextlib
import os
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidURI
from websockets.sync.client import ClientConnection

from hiwm_core.errors import ConfigError, ServerError, WireError
from hiwm_core.wire_codec import pack, unpack
from hiwm_learning.websocket_client import NO_HANDSHAKE, exchange, last_line, opening
from hiwm_learning.world_models.remote.protocol import WorldMetadata, read_metadata

# Sent as `Authorization: Api-Key ...`, as openpi does. Never stored in a file.
API_KEY = "HIWM_SERVER_API_KEY"
CONNECT_S = 5.0  # longest opening handshake
_RETRY_S = 0.2
# After a failure, requests fail at once for this long: a node must not wait at each of them.
_REST_S = 1.0


class OtherModelError(ServerError):
    """The server runs another model than the one a world was made for."""


class WorldConnection:
    """Asks a world server, one request at a time, from any thread.

    Args:
        url: ws:// or wss://.
        timeout_s: longest wait for a reply.
        model: that the server must run; empty accepts any.

    Raises:
        ConfigError: not a websocket address.
    """

    def __init__(self, url: str, timeout_s: float, model: str = "") -> None:
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # half an IPv6 address, a port out of range
            valid = False
        if not valid:
            raise ConfigError(
                f"server {url!r}", where="world server", remedy="give ws://HOST:PORT"
            )
        self.url = url
        self._timeout_s, self._model = timeout_s, model
        self._lock = threading.Lock()
        self._open = contextlib.ExitStack()
        self._socket: ClientConnection | None = None
        self._metadata: WorldMetadata | None = None
        self._failure: ServerError | None = None  # of the last attempt to connect
        self._rest_until = 0.0  # steady clock

    def metadata(self, wait_s: float = 0.0) -> WorldMetadata:
        """Return what the server says of its model; wait for a server that still starts.

        Raises:
            ServerError: it cannot be reached, or runs another model.
            WireError: it speaks another protocol.
        """
        deadline = time.monotonic() + wait_s
        while True:
            with self._lock:
                try:
                    return self._connected()[1]
                except OtherModelError:
                    raise
                except ServerError:
                    if time.monotonic() > deadline:
                        raise
            time.sleep(_RETRY_S)

    def ask(self, request: dict[str, Any]) -> Any:
        """Return the reply to a request.

        Raises:
            ServerError: the server is lost or late, or answers with an error; the next request
                connects again.
            WireError: the reply is not in our encoding.
        """
        with self._lock:
            socket, _ = self._connected()
            try:
                return self._answer(socket, pack(request))
            except (ServerError, WireError):
                self._drop()
                raise
            except (ConnectionClosed, OSError) as error:
                self._drop()
                raise self._lost(f"lost: {error or type(error).__name__}") from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _connected(self) -> tuple[ClientConnection, WorldMetadata]:
        if self._socket is not None and self._metadata is not None:
            return self._socket, self._metadata
        if self._failure is not None and time.monotonic() < self._rest_until:
            raise self._failure
        try:
            socket = self._open.enter_context(
                opening(self.url, os.environ.get(API_KEY, ""), CONNECT_S)
            )
        except (*NO_HANDSHAKE, InvalidURI, OSError) as error:
            self._failure = self._lost(f"cannot be reached: {error or type(error).__name__}")
            self._rest_until = time.monotonic() + _REST_S
            raise self._failure from error
        self._socket = socket
        try:
            try:
                first = socket.recv(self._timeout_s)
            except TimeoutError:
                raise self._late() from None
            found = read_metadata(self._unpacked(first))
            if self._model and found.model != self._model:
                raise OtherModelError(
                    f"the server runs model {found.model[:24]!r}, this world is of "
                    f"{self._model[:24]!r}", where=self.url,
                    remedy="start the server with that model, or connect again: "
                    "scripts/train_world_model --family remote",
                )
        except (ConnectionClosed, OSError) as error:
            self._drop()
            raise self._lost(f"lost: {error or type(error).__name__}") from error
        except (ServerError, WireError):
            self._drop()
            raise
        self._metadata, self._failure = found, None
        return socket, found

    def _answer(self, socket: ClientConnection, request: bytes) -> Any:
        """Send a request and return its reply."""
        try:
            reply = exchange(socket, request, self._timeout_s)
        except TimeoutError:
            raise self._late() from None
        return self._unpacked(reply)

    def _unpacked(self, message: bytes | str) -> Any:
        if isinstance(message, str):
            raise ServerError(
                f"the world server failed: {last_line(message)}", where=self.url,
                remedy="see the server's log",
            )
        return unpack(message)

    def _drop(self) -> None:
        self._socket = self._metadata = None
        with contextlib.suppress(OSError, ConnectionClosed):
            self._open.close()

    def _late(self) -> ServerError:
        return self._lost(f"gave no answer within {self._timeout_s:g} s")

    def _lost(self, what: str) -> ServerError:
        return ServerError(
            f"the world server {what}", where=self.url,
            remedy="start it (scripts/serve_world), or check its log and the network",
        )
