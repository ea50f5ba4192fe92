"""View a stored session and label its episodes: the console's pages over a folder, without a graph.

    scripts/console sessions/mine          a session, a folder of sessions, or a folder of bags
    scripts/console runs/twin              a twin (scripts/twin), or a folder of twins
"""

import argparse
import contextlib
import signal
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from hiwm_console.access import AccessRules
from hiwm_console.live_window import display_there
from hiwm_console.session_files import TREE_FILE, SessionFiles
from hiwm_console.web_server import WebServer
from hiwm_core.errors import HiwmError, StoreError
from hiwm_core.number_arguments import port_number
from hiwm_core.session_lock import owners
from hiwm_core.twin_folder import twins_in
from hiwm_core.user_paths import path_argument


def serve(folder: Path, port: int) -> WebServer:
    """Return a server of a stored session, reachable only from this machine.

    Raises:
        HiwmError: the folder has no session, no bag and no twin, or the port is in use.
    """
    stored = (folder / TREE_FILE).is_file() or twins_in(folder) or any(folder.rglob("*.mcap"))
    if not stored:
        raise StoreError(
            "no session, no bag and no twin is stored here", where=str(folder),
            remedy=f"give a session folder, which contains a {TREE_FILE}, a folder of bags, or a "
            "twin",
        )
    return WebServer(
        host="127.0.0.1", port=port, rules=AccessRules(), session=SessionFiles(folder),
        graph=None, log=lambda line: print(line, file=sys.stderr, flush=True),
    )


def main(words: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/console",
        description="View a stored session and label its episodes in a browser.",
    )
    parser.add_argument(
        "session", type=path_argument,
        help="session folder, a folder of sessions or bags, or a twin",
    )
    parser.add_argument(
        "--port", type=port_number, default=0, help="TCP port (default: any free one)"
    )
    options = parser.parse_args(words)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        server = serve(options.session.resolve(), options.port)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for owner in owners(options.session):
        print(f"console: the session is still being written by {owner}", flush=True)
    print(
        f"console: {server.address} shows {options.session}, {server.address}label labels its "
        f"episodes, {server.address}twin shows its twins; Ctrl-C stops it", flush=True,
    )
    if display_there():
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(server.address)
    ended.wait()
    server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
