"""A launcher whose nodes are small scripts."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

HANG_GUARD_S = 30.0

# Prints its output and the signals it receives, so that a test can count them.
NODE = """
import os, signal, sys, time
def note(number, frame):
    print("received", signal.Signals(number).name, flush=True)
    if {ends_on}: sys.exit({code})
signal.signal(signal.SIGINT, note)
signal.signal(signal.SIGTERM, note)
print("ready", flush=True)
{body}
"""


class Graph:
    """A launcher running a generated file over a fake ament prefix."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._elements: list[str] = []
        self.library = folder / "prefix" / "lib" / "pkg"
        self.library.mkdir(parents=True)
        index = folder / "prefix" / "share" / "ament_index" / "resource_index" / "packages"
        index.mkdir(parents=True)
        (index / "pkg").touch()
        self.process: subprocess.Popen[bytes] | None = None
        self.text = ""

    def node(
        self, name: str, body: str = "while True: time.sleep(0.1)", attributes: str = "",
        ends_on: str = "True", code: int = 0, inner: str = "",
    ) -> None:
        script = self.library / name
        source = NODE.format(body=body, ends_on=ends_on, code=code)
        script.write_text(f"#!{sys.executable}\n{source}")
        script.chmod(0o755)
        self._elements.append(
            f'<node pkg="pkg" exec="{name}" name="{name}" {attributes}>{inner}</node>'
        )

    def file(self) -> Path:
        path = self._folder / "graph.launch.xml"
        path.write_text("<launch>\n" + "\n".join(self._elements) + "\n</launch>\n")
        return path

    def environment(self) -> Mapping[str, str]:
        return {
            **os.environ, "AMENT_PREFIX_PATH": str(self._folder / "prefix"),
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        }

    def command(self, graces: tuple[float, float] | None) -> list[str]:
        if graces is None:
            return [sys.executable, "-m", "hiwm_bringup.launcher", str(self.file())]
        start = (
            "import sys\n"
            "from hiwm_bringup.launcher.resolving import resolve\n"
            "from hiwm_bringup.launcher.supervisor import Output, Supervisor\n"
            f"sys.exit(Supervisor(resolve(sys.argv[1]), Output(), *{graces}).run())"
        )
        return [sys.executable, "-c", start, str(self.file())]

    def start(self, graces: tuple[float, float] | None = None) -> None:
        self.process = subprocess.Popen(
            self.command(graces), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self.environment(), start_new_session=True,
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    def read_until(self, predicate: Callable[[str], bool]) -> None:
        assert self.process is not None and self.process.stdout is not None
        deadline = time.monotonic() + HANG_GUARD_S
        while not predicate(self.text):
            assert time.monotonic() < deadline, self.text
            select.select([self.process.stdout], [], [], 0.1)
            self.text += (self.process.stdout.read() or b"").decode()

    def ready(self, count: int) -> None:
        self.read_until(lambda text: text.count("] ready") >= count)

    def end(self) -> int:
        assert self.process is not None and self.process.stdout is not None
        code = self.process.wait(HANG_GUARD_S)
        self.text += (self.process.stdout.read() or b"").decode()
        return code

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def pid_of(self, name: str) -> int:
        assert self.process is not None
        script = str(self.library / name)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in children.read_text().split():
            if script in Path(f"/proc/{pid}/cmdline").read_text():
                return int(pid)
        raise AssertionError(f"{name} does not run:\n{self.text}")

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(name="graph")
def graph_fixture(tmp_path: Path) -> Iterator[Graph]:
    """Give a graph without nodes, and end its launcher after the test."""
    graph = Graph(tmp_path)
    yield graph
    graph.close()
