"""A page on this machine that shows the newest picture."""

import http.server
import threading
from http import HTTPStatus

from hiwm_core.errors import HiwmError

# Local alone: the page has no login, and pictures of a lab are nobody else's.
_HOST = "127.0.0.1"
_PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>hiwm live view</title>
<style>body{margin:0;background:#222;display:grid;place-items:center;height:100vh}
img{max-width:96vw;max-height:96vh;image-rendering:pixelated}</style></head>
<body><img id="view" alt="waiting for the first frame">
<script>
const view = document.getElementById("view");
function next(delay) { setTimeout(() => { view.src = "live.png?" + Date.now(); }, delay); }
view.onload = () => next(100);
view.onerror = () => next(1000);
next(0);
</script></body></html>
"""


class LivePage:
    """Serves / and /live.png.

    Args:
        port: TCP port; 0 takes a free one.

    Raises:
        HiwmError: the port is taken.
    """

    def __init__(self, port: int) -> None:
        self._png = b""
        page = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802 - the base class's name
                path = self.path.split("?")[0]
                if path == "/":
                    self._send(_PAGE, "text/html; charset=utf-8")
                elif path == "/live.png" and page._png:
                    self._send(page._png, "image/png")
                else:
                    self.send_error(HTTPStatus.NOT_FOUND)

            def _send(self, body: bytes, kind: str) -> None:
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing: ten lines a second help nobody."""

        try:
            self._server = http.server.ThreadingHTTPServer((_HOST, port), Handler)
        except OSError as error:
            raise HiwmError(
                f"cannot serve the live view: {error.strerror}", where=f"port {port}",
                remedy="name another port, or 0 for any free one",
            ) from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Address of the page."""
        return f"http://{_HOST}:{self._server.server_address[1]}/"

    def show(self, png: bytes) -> None:
        """Take the newest picture."""
        self._png = png

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
