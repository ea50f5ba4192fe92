"""The launcher loses its terminal, the disk under its output, or its own way: nodes still close."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from stub_graph import HANG_GUARD_S, Graph, graph_fixture  # noqa: E402, F401

# Says that it runs, and on a signal takes a moment to close its file.
_CLOSES = (
    "try:\n while True: time.sleep(0.02); print('words of', {marker!r})\n"
    "except SystemExit:\n time.sleep(0.3); open({marker!r}, 'w').write('closed')"
)


@pytest.mark.parametrize("to_group", [False, True])
def test_nodes_close_their_files_when_the_terminal_closes(
    graph: Graph, tmp_path: Path, to_group: bool,
) -> None:
    markers = [tmp_path / name for name in ("one", "two")]
    for marker in markers:
        graph.node(marker.name, body=_CLOSES.format(marker=str(marker)))
    command, environment = graph.command(None), graph.environment()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, environment)
    text = ""
    deadline = time.monotonic() + HANG_GUARD_S
    while not all(f"words of {marker}" in text for marker in markers):
        assert time.monotonic() < deadline, text
        if select.select([terminal], [], [], 0.1)[0]:
            text += os.read(terminal, 65536).decode()
    os.close(terminal)
    if to_group:  # as a shell does to its jobs
        os.killpg(pid, signal.SIGHUP)
    os.waitpid(pid, 0)
    assert [marker.exists() and marker.read_text() for marker in markers] == ["closed"] * 2


def test_a_full_disk_under_the_output_stops_no_node(graph: Graph, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    # More than a pipe holds: without a reader the node would block or receive SIGPIPE.
    graph.node("one", body="for _ in range(300): print('x' * 1000)\n"
               f"open({str(marker)!r}, 'w').write('printed')\nwhile True: time.sleep(0.1)")
    with open("/dev/full", "w") as full:
        graph.process = subprocess.Popen(
            graph.command(None), stdout=full, stderr=subprocess.DEVNULL,
            env=graph.environment(), start_new_session=True,
        )
    deadline = time.monotonic() + HANG_GUARD_S
    while not (marker.exists() and marker.read_text() == "printed"):
        assert time.monotonic() < deadline and graph.process.poll() is None
        time.sleep(0.05)
    assert graph.pid_of("one")
    graph.send(signal.SIGINT)
    assert graph.process.wait(HANG_GUARD_S) == 0


def test_after_an_error_in_the_launcher_nodes_close_their_files(
    graph: Graph, tmp_path: Path,
) -> None:
    marker = tmp_path / "marker"
    graph.node("one", body=_CLOSES.format(marker=str(marker)))
    graph.node("deaf", ends_on="False")
    start = (
        "import sys\n"
        "from hiwm_bringup.launcher.resolving import resolve\n"
        "from hiwm_bringup.launcher.supervisor import Output, Supervisor\n"
        "class Broken(Supervisor):\n"
        "    def _stop(self, reason, send): raise RuntimeError('a mistake')\n"
        "Broken(resolve(sys.argv[1]), Output(), 3.0, 3.0).run()"
    )
    graph.process = subprocess.Popen(
        [sys.executable, "-c", start, str(graph.file())], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=graph.environment(), start_new_session=True,
    )
    assert graph.process.stdout is not None
    os.set_blocking(graph.process.stdout.fileno(), False)
    graph.ready(2)
    graph.read_until(lambda text: "words of" in text)
    deaf = graph.pid_of("deaf")
    graph.send(signal.SIGINT)
    assert graph.end() == 1
    assert "a mistake" in graph.text
    assert marker.read_text() == "closed"
    deadline = time.monotonic() + HANG_GUARD_S
    while Path(f"/proc/{deaf}").exists():
        assert time.monotonic() < deadline, "a node still runs"
        time.sleep(0.05)
