"""One connection to a server of the openpi protocol, made again when it is lost.

The server sends metadata first, and then one binary reply to each binary message. A text frame is
its traceback. Replies carry no number, so a connection is closed after a late one: the next reply
would answer an earlier question. Tested by ``test_remote_connection.py``.
"""

import time
from contextlib import ExitStack
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection

from hiwm_core.errors import ServerError, WireError
from hiwm_core.wire_codec import pack, unpack
from hiwm_learning.policies.planning import API_KEY_VARIABLE
from hiwm_learning.policies.remote.who_answers import who_answers
from hiwm_learning.websocket_client import NO_HANDSHAKE, exchange, last_line, opening

# Between attempts to reach a server that is starting, s.
_AGAIN_S = 0.5
_OPEN_S = 5.0


class ServerTracebackError(ServerError):
    """The server failed, and sent its traceback.

    Args:
        text: the traceback.
        where: the server's address.
    """

    def __init__(self, text: str, where: str) -> None:
        super().__init__(
            f"the server failed: {last_line(text)}", where=where,
            remedy="read its traceback in this log, or the server's log",
        )
        self.text = text


class ServerConnection:
    """A connection that is opened when it is needed.

    Args:
        host: name or address, or a URL that starts with ws:// or wss://.
        port: TCP port; 0 = as the URL says.
        api_key: sent in the header Authorization; empty = none.
    """

    def __init__(self, host: str, port: int, api_key: str = "") -> None:
        self._host, self._port = host, port
        self.url = host if "://" in host else f"ws://{host}"
        self.url += f":{port}" if port else ""
        self._api_key = api_key
        self._socket: ClientConnection | None = None
        self._closing = ExitStack()
        self.metadata: dict[Any, Any] = {}
        self.trouble = ""  # why the last of the attempts that still go on failed

    @property
    def connected(self) -> bool:
        """Whether the connection is open, as far as known."""
        return self._socket is not None and self._socket.close_code is None

    def open(self, timeout_s: float) -> None:
        """Connect and read the metadata, unless connected; repeated until the timeout.

        Raises:
            ServerError: no server, another protocol (named), or no access.
            WireError: another encoding.
        """
        deadline = time.monotonic() + timeout_s
        try:
            while not self.connected:
                self.close()
                try:
                    self._open(min(_OPEN_S, max(0.1, deadline - time.monotonic())))
                except OSError as error:  # TimeoutError is one
                    left = deadline - time.monotonic()
                    found = self._no_server(error)
                    if left <= 0:
                        raise found from None
                    self.trouble = str(found)
                    time.sleep(min(_AGAIN_S, left))
        finally:
            self.trouble = ""

    def ask(self, value: Any, timeout_s: float) -> Any:
        """Return the server's reply to a message.

        Raises:
            ServerTracebackError: the server failed.
            ServerError: not connected, lost, or no reply in time.
            WireError: a reply in another encoding.
        """
        return self._unpacked(self.exchange(pack(value), timeout_s))

    def tell(self, value: Any, timeout_s: float) -> None:
        """Send a message whose reply says nothing, and may be text; raises ServerError."""
        self.exchange(pack(value), timeout_s)

    def exchange(self, data: bytes, timeout_s: float) -> bytes | str:
        """Return the server's raw reply to raw bytes; raises ServerError.

        The timeout bounds sending and waiting together.
        """
        if self._socket is None:
            raise ServerError("not connected", where=self.url, remedy="connect first")
        try:
            return exchange(self._socket, data, timeout_s)
        except TimeoutError:
            self.close()
            raise ServerError(
                f"no reply within {timeout_s:g} s", where=self.url,
                remedy="check the server's log, or raise timeout_s in its layout",
            ) from None
        except (ConnectionClosed, OSError) as error:
            self.close()
            raise ServerError(
                f"the server is lost: {error}", where=self.url,
                remedy="restart it; the connection is made again by itself",
            ) from None

    def close(self) -> None:
        """Close the connection."""
        self._socket = None
        self._closing.close()

    def _open(self, timeout_s: float) -> None:
        try:
            self._socket = self._closing.enter_context(
                opening(self.url, self._api_key, timeout_s)
            )
        except InvalidStatus as error:
            raise self._refused(error.response.status_code) from None
        except InvalidURI as error:
            raise ServerError(
                f"{self.url!r} is not an address: {error}", where="host",
                remedy="give a name, an address, or ws://NAME",
            ) from None
        except NO_HANDSHAKE as error:
            raise self._other_protocol(str(error) or "it closes the connection") from None
        except TimeoutError:
            if found := who_answers(self._host, self._port):
                raise self._other_protocol(found) from None
            raise
        try:
            self.metadata = self._metadata(self._socket.recv(timeout_s))
        except TimeoutError:
            self.close()
            raise self._other_protocol("it sends no metadata after connecting") from None
        except ConnectionClosed as error:
            self.close()
            raise OSError(f"the server closed the connection: {error}") from None
        except (ServerError, WireError):
            self.close()
            raise

    def _metadata(self, first: bytes | str) -> dict[Any, Any]:
        if isinstance(first, str):
            raise self._other_protocol(f"its first message is text: {first[:60]!r}")
        metadata = self._unpacked(first)
        if not isinstance(metadata, dict):
            raise self._other_protocol(f"its metadata is {type(metadata).__name__}, not a map")
        return metadata

    def _unpacked(self, data: bytes | str) -> Any:
        if isinstance(data, str):
            self.close()  # as the server does
            raise ServerTracebackError(data, self.url)
        try:
            return unpack(data)
        except WireError as error:
            raise WireError(error.what, where=self.url, remedy=error.remedy) from None

    def _refused(self, status: int) -> ServerError:
        if status in (401, 403):
            return ServerError(
                f"the server wants an API key (HTTP {status})", where=self.url,
                remedy=f"put it into the environment variable {API_KEY_VARIABLE}",
            )
        return self._other_protocol(f"a web server that answers HTTP {status}")

    def _other_protocol(self, text: str) -> ServerError:
        found = who_answers(self._host, self._port) or text
        return ServerError(
            f"no server of the openpi protocol answers: {found}", where=self.url,
            remedy="correct host and port, or serve the policy by that protocol "
            "(docs/policies.md)",
        )

    def _no_server(self, error: OSError) -> ServerError:
        return ServerError(
            f"no server answers: {error.strerror or error or 'timeout'}", where=self.url,
            remedy="start the policy server, or correct host and port",
        )
