"""The processes of a graph: starting, output, respawn, and an orderly end.

Nodes stay in the launcher's own process group, so that one of them may read the terminal. A Ctrl-C
there reaches all of them from the kernel; the launcher tells it from a `kill` by the signal's
sender and passes on only what the nodes have not had yet.
"""

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from hiwm_core.launch_identity import LAUNCH_VARIABLE, process_id

from .node_specs import NodeSpec, locate
from .tied_process import CANNOT_RUN

INTERRUPT_GRACE_S = 10.0  # a recorder closes and audits its bag in this time
TERMINATE_GRACE_S = 5.0
# Signals closer together are one wish: `timeout` and others signal a process and then its group.
_ONE_WISH_S = 0.5
# A process this young that has said nothing may still be an interpreter that starts: it answers
# SIGINT with a traceback, and SIGTERM by ending.
_STARTING_S = 10.0
_SENT_BY_KERNEL = 0x80  # SI_KERNEL: the terminal's Ctrl-C
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HANDLED = (*_STOPPING, signal.SIGCHLD)
_STAGES = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# What a process that was asked to end may end with.
_ORDERLY_ENDS = (0, -signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM)
_TIED_PROCESS = Path(__file__).with_name("tied_process.py")
_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)


class Output:
    """Whole lines from many nodes on one stream, each behind its node's name.

    Args:
        stream: where to write.
        colours: colour the names; by default where the stream is a terminal.
    """

    def __init__(self, stream: TextIO | None = None, colours: bool | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colours = self._stream.isatty() if colours is None else colours
        self._colour_of: dict[str, int] = {}
        self._lock = threading.Lock()

    def line(self, label: str, text: str) -> None:
        """Write one line; a stream that is gone is no reason to lose the graph."""
        with self._lock:
            prefix = f"[{label}]"
            if self._colours:
                number = self._colour_of.setdefault(label, len(self._colour_of))
                prefix = f"\x1b[{_COLOURS[number % len(_COLOURS)]}m{prefix}\x1b[0m"
            try:
                self._stream.write(f"{prefix} {text}\n")
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                return

    def forward(self, label: str, descriptor: int, said: "Said") -> None:
        """Write what a pipe gives, line by line, until its last writer closes it."""
        with open(descriptor, encoding="utf-8", errors="replace", newline=None) as lines:
            for line in lines:
                said.take(line)
                self.line(label, line.rstrip("\n"))


@dataclass
class Said:
    """What of a process's output may tell why it failed."""

    last: str = ""  # line that is not empty
    error: str = ""  # the last one that begins with "error:"

    def take(self, line: str) -> None:
        """Take one more line."""
        line = line.strip()
        self.last = line or self.last
        if line.startswith("error:"):
            self.error = line

    @property
    def reason(self) -> str:
        """The error it named, else its last words: the end of a traceback."""
        return self.error or self.last


@dataclass
class _Child:
    """A node and the process it runs in now."""

    spec: NodeSpec
    path: Path
    parameter_files: list[Path]
    pid: int | None = None
    restart_at: float | None = None
    started_at: float = 0.0  # steady clock, seconds
    said: Said = field(default_factory=Said)
    reader: threading.Thread | None = field(default=None, repr=False)


class Supervisor:
    """Runs nodes until they, a required one of them, or a person ends the graph.

    Args:
        specs: what to run; started in this order.
        output: where the nodes' lines go.
        interrupt_grace_s: from SIGINT to SIGTERM.
        terminate_grace_s: from SIGTERM to SIGKILL.

    Raises:
        ConfigError: a package or an executable is not there; nothing was started.
    """

    def __init__(
        self, specs: Sequence[NodeSpec], output: Output,
        interrupt_grace_s: float = INTERRUPT_GRACE_S, terminate_grace_s: float = TERMINATE_GRACE_S,
    ) -> None:
        self._output = output
        self._graces = (interrupt_grace_s, terminate_grace_s)
        self._folder = tempfile.TemporaryDirectory(prefix="hiwm_launch_")
        paths = [locate(spec) for spec in specs]
        self._children = [
            _Child(spec, path, spec.write_parameters(Path(self._folder.name), f"node_{number}"))
            for number, (spec, path) in enumerate(zip(specs, paths, strict=True))
        ]
        self._stage = -1  # index into _STAGES once the graph is ending
        self._escalate_at: float | None = None
        self._stopped_at = -_ONE_WISH_S  # when a signal to stop came last
        self._required_code = 0
        self._failed = False
        self._cause: tuple[_Child, str] | None = None  # the first failure, and how it ended

    def run(self) -> int:
        """Run the graph to its end and return the launcher's exit code.

        The code of the node with on_exit="shutdown" that ended it; where that is 0, or a person
        ended the graph, or every node ended by itself: 0, or 1 if a node without respawn failed
        on the way or while ending. A signal N counts as 128 + N.
        """
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            self._start_all()
            while self._alive() or self._restarts_pending():
                self._wait()
                self._reap()
                self._restart_due()
                self._escalate_due()
            for child in self._children:
                if child.reader is not None:
                    child.reader.join(1.0)
            if self._cause is not None:
                child, how = self._cause
                reason = f": {child.said.reason}" if child.said.reason else ""
                self._say(f"cause: {_described(child.spec)} {how}{reason}")
        finally:
            for child in self._alive():
                os.kill(child.pid or 0, signal.SIGKILL)
            self._folder.cleanup()
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        return self._required_code or int(self._failed)

    def _alive(self) -> list[_Child]:
        return [child for child in self._children if child.pid is not None]

    def _restarts_pending(self) -> bool:
        return any(child.restart_at is not None for child in self._children)

    def _say(self, text: str) -> None:
        self._output.line("launch", text)

    def _start_all(self) -> None:
        for child in self._children:
            if self._stage < 0:
                self._start(child)

    def _start(self, child: _Child) -> None:
        spec = child.spec
        reading, writing = os.pipe()
        environment = {
            "PYTHONUNBUFFERED": "1", LAUNCH_VARIABLE: process_id(os.getpid()), **os.environ,
            **spec.environment,
        }
        command = [*_tied(), *spec.command(child.path, child.parameter_files)]
        try:
            child.pid = os.posix_spawn(
                command[0], command, environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                    (os.POSIX_SPAWN_DUP2, writing, 2),
                ],
                setsigmask=(), setsigdef=(*_HANDLED, signal.SIGPIPE),
            )
        except OSError as error:
            os.close(reading)
            self._cause = self._cause or (child, f"could not be started: {error.strerror}")
            self._not_started(spec, f": {error.strerror}")
            return
        finally:
            os.close(writing)
        child.started_at = time.monotonic()
        child.said = Said()
        child.reader = threading.Thread(
            target=self._output.forward, args=(spec.label, reading, child.said), daemon=True
        )
        child.reader.start()

    def _not_started(self, spec: NodeSpec, reason: str = "") -> None:
        self._say(f"{_described(spec)} could not be started{reason}")
        self._failed = True
        self._end("nothing runs without it", send=True)

    def _wait(self) -> None:
        deadlines = [child.restart_at for child in self._children if child.restart_at is not None]
        if self._escalate_at is not None:
            deadlines.append(self._escalate_at)
        # A child's end before its SIGCHLD was blocked cannot be missed: the mask is set first.
        pause = max(0.0, min(deadlines, default=time.monotonic() + 3600.0) - time.monotonic())
        received = signal.sigtimedwait(_HANDLED, pause)
        if received is None or received.si_signo == signal.SIGCHLD:
            return
        name = signal.Signals(received.si_signo).name
        before, self._stopped_at = self._stopped_at, time.monotonic()
        if self._stage >= 0:
            if self._stopped_at - before < _ONE_WISH_S:
                return
            self._say(f"{name} again")
            self._escalate()
            return
        from_terminal = received.si_code == _SENT_BY_KERNEL and received.si_signo == signal.SIGINT
        self._end(f"received {name}", send=not from_terminal)

    def _reap(self) -> None:
        if signal.sigpending() & set(_STOPPING):
            return  # what ended just now was asked to: a Ctrl-C reaches everybody at once
        for child in self._alive():
            pid, status = os.waitpid(child.pid or 0, os.WNOHANG)
            if pid:
                child.pid = None
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: _Child, code: int) -> None:
        spec = child.spec
        how = _how(code)
        if self._stage >= 0:
            if code not in _ORDERLY_ENDS:
                self._failed = True
                self._say(f"{_described(spec)} {how} while ending")
            return
        if code and not spec.respawn:
            self._cause = self._cause or (child, how)
        if code == CANNOT_RUN:
            self._not_started(spec)
        elif spec.ends_graph:
            self._required_code = code if code >= 0 else 128 - code
            self._end(f"{_described(spec)} {how}, and the graph ends with it", send=True)
        elif spec.respawn:
            self._say(f"{_described(spec)} {how}; it is started again")
            child.restart_at = time.monotonic() + spec.respawn_delay_s
        elif code:
            self._failed = True
            self._say(f"{_described(spec)} {how}; nothing restarts it")

    def _restart_due(self) -> None:
        for child in self._children:
            if child.restart_at is not None and child.restart_at <= time.monotonic():
                child.restart_at = None
                self._start(child)

    def _end(self, reason: str, send: bool) -> None:
        """Begin the end of the graph once; `send` where the nodes have had no signal yet."""
        if self._stage >= 0:
            return
        for child in self._children:
            child.restart_at = None
        self._say(f"{reason}: ending {len(self._alive())} nodes")
        self._stage = 0
        self._escalate_at = time.monotonic() + self._graces[0]
        if send:
            for child in self._alive():
                age_s = time.monotonic() - child.started_at
                starting = not child.said.last and age_s < _STARTING_S
                os.kill(child.pid or 0, signal.SIGTERM if starting else signal.SIGINT)

    def _escalate_due(self) -> None:
        if self._escalate_at is not None and self._escalate_at <= time.monotonic():
            self._escalate()

    def _escalate(self) -> None:
        self._stage = min(self._stage + 1, len(_STAGES) - 1)
        number = _STAGES[self._stage]
        last = self._stage == len(_STAGES) - 1
        self._escalate_at = None if last else time.monotonic() + self._graces[self._stage]
        slow = ", ".join(child.spec.label for child in self._alive())
        if slow:
            self._say(f"{number.name} to what still runs: {slow}")
        self._signal_all(number)

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._alive():
            os.kill(child.pid or 0, number)


def _tied() -> list[str]:
    """Return the head of a command whose process ends when this one does."""
    # Isolated and without site: it starts in hundredths of a second, whatever the environment.
    return [sys.executable, "-I", "-S", str(_TIED_PROCESS), str(os.getpid())]


def _described(spec: NodeSpec) -> str:
    return f"{spec.label} ({spec.package}/{spec.executable})"


def _how(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}" if code else "ended"

