"""The processes of a graph: start, output, respawn and orderly shutdown.

Nodes stay in the launcher's process group, so that one of them can read the terminal. On Ctrl-C
there, the kernel signals all of them. The launcher tells Ctrl-C from `kill` by the signal's sender
and forwards only signals that the nodes have not received.
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
# Signals closer together count as one: `timeout` and others signal a process and then its group.
_ONE_REQUEST_S = 0.5
# A younger process without output may be an interpreter that is still starting: SIGINT makes it
# print a traceback, SIGTERM does not.
_STARTING_S = 10.0
_SENT_BY_KERNEL = 0x80  # SI_KERNEL: the terminal's Ctrl-C
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HANDLED = (*_STOPPING, signal.SIGCHLD)
_STAGES = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# Exit codes of a process that stopped on request.
_ORDERLY_CODES = (0, -signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM)
_TIED_PROCESS = Path(__file__).with_name("tied_process.py")
_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)


class Output:
    """Writes whole lines from many nodes to one stream, each prefixed with its node's name.

    Args:
        stream: where to write.
        colours: colour the names; by default only on a terminal.
    """

    def __init__(self, stream: TextIO | None = None, colours: bool | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colours = self._stream.isatty() if colours is None else colours
        self._colour_of: dict[str, int] = {}
        self._lock = threading.Lock()

    def line(self, label: str, text: str) -> None:
        """Write one line; a stream that takes none is ignored, so that the graph goes on.

        Such is a closed pipe, a terminal that hung up, or a file on a full disk.
        """
        with self._lock:
            prefix = f"[{label}]"
            if self._colours:
                number = self._colour_of.setdefault(label, len(self._colour_of))
                prefix = f"\x1b[{_COLOURS[number % len(_COLOURS)]}m{prefix}\x1b[0m"
            try:
                self._stream.write(f"{prefix} {text}\n")
                self._stream.flush()
            except (OSError, ValueError):
                return

    def forward(self, label: str, descriptor: int, printed: "Printed") -> None:
        """Write the lines of a pipe until its last writer closes it."""
        with open(descriptor, encoding="utf-8", errors="replace", newline=None) as lines:
            for line in lines:
                printed.add(line)
                self.line(label, line.rstrip("\n"))


@dataclass
class Printed:
    """The lines of a process's output that may explain why it failed."""

    last: str = ""  # the last line that is not empty
    error: str = ""  # the last line that starts with "error:"

    def add(self, line: str) -> None:
        """Add a line."""
        line = line.strip()
        self.last = line or self.last
        if line.startswith("error:"):
            self.error = line

    @property
    def reason(self) -> str:
        """The error it reported, else its last line, such as the end of a traceback."""
        return self.error or self.last


@dataclass
class _Child:
    """A node and its present process."""

    spec: NodeSpec
    path: Path
    parameter_files: list[Path]
    pid: int | None = None
    restart_at: float | None = None
    started_at: float = 0.0  # steady clock, seconds
    printed: Printed = field(default_factory=Printed)
    reader: threading.Thread | None = field(default=None, repr=False)


class Supervisor:
    """Runs nodes until all exit, a required one exits, or a signal stops the graph.

    Args:
        specs: what to run; started in this order.
        output: where the nodes' lines go.
        interrupt_grace_s: from SIGINT to SIGTERM.
        terminate_grace_s: from SIGTERM to SIGKILL.

    Raises:
        ConfigError: a package or an executable does not exist; nothing was started.
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
        self._stage = -1  # index into _STAGES once the graph is stopping
        self._escalate_at: float | None = None
        self._signalled_at = -_ONE_REQUEST_S  # time of the last signal to stop
        self._required_code = 0
        self._failed = False
        self._cause: tuple[_Child, str] | None = None  # the first failure, and how it exited

    def run(self) -> int:
        """Run the graph to its end and return the launcher's exit code.

        This is the code of the node with on_exit="shutdown" whose exit stopped the graph. If that
        is 0, or a signal stopped the graph, or all nodes exited: 0, or 1 if a node without respawn
        failed before or during shutdown. A signal N counts as 128 + N.
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
                reason = f": {child.printed.reason}" if child.printed.reason else ""
                self._say(f"cause: {_described(child.spec)} {how}{reason}")
        finally:
            self._leave_none_running()
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
            "PYTHONUNBUFFERED": "1", **os.environ,
            # Always its own: one exported in the shell would be shared by all graphs started there.
            LAUNCH_VARIABLE: process_id(os.getpid()),
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
            self._cause = self._cause or (child, f"failed to start: {error.strerror}")
            self._not_started(spec, f": {error.strerror}")
            return
        finally:
            os.close(writing)
        child.started_at = time.monotonic()
        child.printed = Printed()
        child.reader = threading.Thread(
            target=self._output.forward, args=(spec.label, reading, child.printed), daemon=True
        )
        child.reader.start()

    def _not_started(self, spec: NodeSpec, reason: str = "") -> None:
        self._say(f"{_described(spec)} failed to start{reason}")
        self._failed = True
        self._stop("the graph is incomplete", send=True)

    def _wait(self) -> None:
        deadlines = [child.restart_at for child in self._children if child.restart_at is not None]
        if self._escalate_at is not None:
            deadlines.append(self._escalate_at)
        # SIGCHLD is blocked before any child starts, so none is missed.
        pause = max(0.0, min(deadlines, default=time.monotonic() + 3600.0) - time.monotonic())
        received = signal.sigtimedwait(_HANDLED, pause)
        if received is None or received.si_signo == signal.SIGCHLD:
            return
        name = signal.Signals(received.si_signo).name
        before, self._signalled_at = self._signalled_at, time.monotonic()
        if self._stage >= 0:
            if self._signalled_at - before < _ONE_REQUEST_S:
                return
            self._say(f"{name} again")
            self._escalate()
            return
        from_terminal = received.si_code == _SENT_BY_KERNEL and received.si_signo == signal.SIGINT
        self._stop(f"received {name}", send=not from_terminal)

    def _reap(self) -> None:
        if signal.sigpending() & set(_STOPPING):
            return  # a Ctrl-C reaches all nodes at once: what exits now was told to
        for child in self._alive():
            pid, status = os.waitpid(child.pid or 0, os.WNOHANG)
            if pid:
                child.pid = None
                self._exited(child, os.waitstatus_to_exitcode(status))

    def _exited(self, child: _Child, code: int) -> None:
        spec = child.spec
        how = _how(code)
        if self._stage >= 0:
            if code not in _ORDERLY_CODES:
                self._failed = True
                self._say(f"{_described(spec)} {how} during shutdown")
            return
        if code and not spec.respawn:
            self._cause = self._cause or (child, how)
        if code == CANNOT_RUN:
            self._not_started(spec)
        elif spec.ends_graph:
            self._required_code = code if code >= 0 else 128 - code
            self._stop(f"{_described(spec)} {how}, and the graph needs it", send=True)
        elif spec.respawn:
            self._say(f"{_described(spec)} {how}; restarting it")
            child.restart_at = time.monotonic() + spec.respawn_delay_s
        elif code:
            self._failed = True
            self._say(f"{_described(spec)} {how}; it is not restarted")

    def _restart_due(self) -> None:
        for child in self._children:
            if child.restart_at is not None and child.restart_at <= time.monotonic():
                child.restart_at = None
                self._start(child)

    def _stop(self, reason: str, send: bool) -> None:
        """Start the shutdown, once; `send` if the nodes have not received a signal yet."""
        if self._stage >= 0:
            return
        for child in self._children:
            child.restart_at = None
        self._stage = 0
        self._escalate_at = time.monotonic() + self._graces[0]
        if send:
            for child in self._alive():
                age_s = time.monotonic() - child.started_at
                starting = not child.printed.last and age_s < _STARTING_S
                os.kill(child.pid or 0, signal.SIGTERM if starting else signal.SIGINT)
        # Said last: a terminal that has stopped would delay the signals.
        self._say(f"{reason}: stopping {len(self._alive())} nodes")

    def _escalate_due(self) -> None:
        if self._escalate_at is not None and self._escalate_at <= time.monotonic():
            self._escalate()

    def _escalate(self) -> None:
        self._stage = min(self._stage + 1, len(_STAGES) - 1)
        number = _STAGES[self._stage]
        last = self._stage == len(_STAGES) - 1
        self._escalate_at = None if last else time.monotonic() + self._graces[self._stage]
        slow = ", ".join(child.spec.label for child in self._alive())
        self._signal_all(number)
        if slow:
            self._say(f"sent {number.name} to nodes that still ran: {slow}")

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._alive():
            os.kill(child.pid or 0, number)

    def _leave_none_running(self) -> None:
        """End nodes that an error in the launcher left running; they may close their files."""
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + self._graces[0]
        while self._alive() and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait((signal.SIGCHLD,), left)
            for child in self._alive():
                if os.waitpid(child.pid or 0, os.WNOHANG)[0]:
                    child.pid = None
        self._signal_all(signal.SIGKILL)


def _tied() -> list[str]:
    """Return the start of a command whose process stops when this one exits."""
    # Isolated and without site: it starts in hundredths of a second in any environment.
    return [sys.executable, "-I", "-S", str(_TIED_PROCESS), str(os.getpid())]


def _described(spec: NodeSpec) -> str:
    return f"{spec.label} ({spec.package}/{spec.executable})"


def _how(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"exited with code {code}" if code else "exited"

