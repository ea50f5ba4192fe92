"""The launcher's processes, with small scripts as nodes."""

import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from stub_graph import HANG_GUARD_S, Graph, graph_fixture  # noqa: E402, F401


def test_an_interrupt_reaches_every_node_once_and_the_exit_code_is_0(graph: Graph) -> None:
    graph.node("one")
    graph.node("two")
    graph.start()
    graph.ready(2)
    graph.send(signal.SIGINT)
    assert graph.end() == 0
    assert graph.text.count("[one] received SIGINT") == 1
    assert graph.text.count("[two] received SIGINT") == 1
    assert "received SIGTERM" not in graph.text.replace("[launch]", "")


def test_a_sigterm_interrupts_the_nodes(graph: Graph) -> None:
    graph.node("one")
    graph.start()
    graph.ready(1)
    graph.send(signal.SIGTERM)
    assert graph.end() == 0
    assert "[one] received SIGINT" in graph.text


def test_a_node_that_ignores_the_interrupt_is_terminated_then_killed(graph: Graph) -> None:
    graph.node("polite")
    graph.node("deaf", ends_on="number == signal.SIGTERM")
    graph.node("deafer", ends_on="False")
    graph.start(graces=(0.3, 0.3))
    graph.ready(3)
    graph.send(signal.SIGINT)
    assert graph.end() == 1
    assert "[launch] sent SIGTERM to nodes that still ran: deaf, deafer" in graph.text
    assert "[launch] sent SIGKILL to nodes that still ran: deafer" in graph.text
    assert "[launch] deafer (pkg/deafer) was killed by SIGKILL during shutdown" in graph.text
    assert "[polite] received SIGTERM" not in graph.text


def test_a_second_interrupt_sends_the_next_signal_at_once(graph: Graph) -> None:
    graph.node("deaf", ends_on="number == signal.SIGTERM")
    graph.start(graces=(1000.0, 1000.0))
    graph.ready(1)
    graph.send(signal.SIGINT)
    graph.read_until(lambda text: "[deaf] received SIGINT" in text)
    time.sleep(0.7)  # closer together the two would count as one
    graph.send(signal.SIGINT)
    assert graph.end() == 0
    assert "[deaf] received SIGTERM" in graph.text


def test_a_signal_to_the_launcher_and_then_to_its_group_counts_once(graph: Graph) -> None:
    graph.node("slow", body="while True: time.sleep(0.05)", ends_on="False")
    graph.start()
    graph.ready(1)
    assert graph.process is not None
    graph.send(signal.SIGINT)
    os.killpg(graph.process.pid, signal.SIGINT)
    graph.read_until(lambda text: text.count("received SIGINT") >= 2)
    time.sleep(0.3)
    os.kill(graph.pid_of("slow"), signal.SIGKILL)
    assert graph.end() == 1
    assert "SIGTERM" not in graph.text


@pytest.mark.parametrize("code", [0, 7])
def test_a_required_node_that_exits_stops_the_graph_with_its_code(graph: Graph, code: int) -> None:
    graph.node("other")
    graph.node("required", body=f"time.sleep(0.5); sys.exit({code})",
               attributes='on_exit="shutdown"')
    graph.start()
    assert graph.end() == code
    assert "required (pkg/required) exited" in graph.text
    assert "[other] received SIGINT" in graph.text


def test_the_cause_is_the_last_line(graph: Graph) -> None:
    # Both would hide it: SIGINT makes an interpreter that is starting print a traceback.
    graph.node("starting")
    (graph.library / "starting").write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    graph.node("talker", ends_on="print('many words\\n' * 9) or True")
    graph.node(
        "wrong", attributes='on_exit="shutdown"',
        body="time.sleep(1); print('error: 100000 is out of range', file=sys.stderr); sys.exit(1)",
    )
    graph.start()
    assert graph.end() == 1
    assert "Traceback" not in graph.text
    assert graph.text.rstrip().splitlines()[-1] == (
        "[launch] cause: wrong (pkg/wrong) exited with code 1: error: 100000 is out of range"
    )


def test_without_a_failure_there_is_no_cause(graph: Graph) -> None:
    graph.node("one")
    graph.start()
    graph.ready(1)
    graph.send(signal.SIGINT)
    assert graph.end() == 0 and "cause" not in graph.text


def test_a_required_node_killed_gives_128_plus_the_signal(graph: Graph) -> None:
    graph.node("required", attributes='on_exit="shutdown"')
    graph.node("other")
    graph.start()
    graph.ready(2)
    os.kill(graph.pid_of("required"), signal.SIGKILL)
    assert graph.end() == 128 + signal.SIGKILL
    assert "required (pkg/required) was killed by SIGKILL, and the graph needs it" in graph.text


def test_another_node_killed_gives_one_line_and_the_graph_goes_on(graph: Graph) -> None:
    graph.node("one")
    graph.node("two")
    graph.start()
    graph.ready(2)
    os.kill(graph.pid_of("one"), signal.SIGKILL)
    graph.read_until(lambda text: "SIGKILL" in text)
    graph.send(signal.SIGINT)
    assert graph.end() == 1  # a node failed before
    lines = [line for line in graph.text.splitlines() if "one (pkg/one)" in line]
    assert lines == [
        "[launch] one (pkg/one) was killed by SIGKILL; it is not restarted",
        "[launch] cause: one (pkg/one) was killed by SIGKILL: ready",
    ]
    assert "[two] received SIGINT" in graph.text


def test_a_failure_during_shutdown_counts_after_a_required_node_exited_with_0(
    graph: Graph,
) -> None:
    graph.node("recorder", code=3)
    graph.node("required", body="time.sleep(0.5); sys.exit(0)", attributes='on_exit="shutdown"')
    graph.start()
    assert graph.end() == 1
    assert "[launch] recorder (pkg/recorder) exited with code 3 during shutdown" in graph.text


def test_a_node_with_respawn_comes_back_with_its_parameters(graph: Graph) -> None:
    graph.node(
        "phoenix", body="print(open(sys.argv[-1]).read()); print('pid', os.getpid())\n"
        "while True: time.sleep(0.1)",
        attributes='respawn="true" respawn_delay="0.1"', inner='<param name="p" value="77"/>',
    )
    graph.start()
    graph.ready(1)
    graph.read_until(lambda text: "pid" in text)
    os.kill(graph.pid_of("phoenix"), signal.SIGKILL)
    graph.ready(2)
    graph.read_until(lambda text: len(re.findall(r"pid \d+", text)) == 2)
    graph.send(signal.SIGINT)
    assert graph.end() == 0
    assert graph.text.count('"p": 77') == 2
    assert len(set(re.findall(r"pid (\d+)", graph.text))) == 2
    assert "restarting it" in graph.text


def test_the_graph_ends_when_every_node_has(graph: Graph) -> None:
    graph.node("one", body="pass")
    graph.node("two", body="time.sleep(0.3); print('last words', end='')")
    graph.start()
    assert graph.end() == 0
    assert "[two] last words\n" in graph.text


def test_standard_error_and_bytes_outside_utf8_are_prefixed_too(graph: Graph) -> None:
    graph.node("one", body="sys.stderr.write('to err\\n'); os.write(1, b'\\xff\\xfe here\\n')")
    graph.start()
    assert graph.end() == 0
    assert "[one] to err" in graph.text
    assert re.search(r"\[one\] .* here", graph.text)
    assert "\x1b" not in graph.text  # no colours in a pipe


def test_nodes_read_no_standard_input_and_keep_the_launchers_group(graph: Graph) -> None:
    graph.node("one", body="print('input', repr(sys.stdin.read()), 'group', os.getpgid(0))")
    graph.start()
    assert graph.end() == 0
    assert graph.process is not None
    assert f"[one] input '' group {graph.process.pid}" in graph.text


def test_no_node_outlives_a_killed_launcher(graph: Graph) -> None:
    graph.node("one")
    graph.node("two", attributes='on_exit="shutdown"')
    graph.start()
    graph.ready(2)
    pids = [graph.pid_of(name) for name in ("one", "two")]
    assert graph.process is not None
    graph.process.kill()
    graph.process.wait()
    deadline = time.monotonic() + HANG_GUARD_S
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a node still runs"
        time.sleep(0.05)


def test_every_node_has_the_launchers_id(graph: Graph) -> None:
    show = "print('launch', os.environ['HIWM_LAUNCH_ID'])"
    graph.node("one", body=show)
    graph.node("two", body=show)
    graph.start()
    assert graph.end() == 0
    assert graph.process is not None
    ids = re.findall(r"launch (\S+)", graph.text)
    assert len(ids) == 2 and ids[0] == ids[1] and f"_{graph.process.pid}_" in ids[0]


def test_an_exported_id_is_not_that_of_the_launcher_but_a_node_may_ask_for_it(
    graph: Graph, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HIWM_LAUNCH_ID", "exported")
    show = "print('launch', os.environ['HIWM_LAUNCH_ID'])"
    graph.node("own", body=show)
    joining = '<env name="HIWM_LAUNCH_ID" value="$(env HIWM_LAUNCH_ID)"/>'
    graph.node("joined", body=show, inner=joining)
    graph.start()
    assert graph.end() == 0
    assert graph.process is not None
    assert re.search(rf"\[own\] launch \S+_{graph.process.pid}_", graph.text)
    assert "[joined] launch exported\n" in graph.text


def test_nothing_starts_if_an_executable_is_missing(graph: Graph) -> None:
    graph.node("one")
    graph.node("two")
    graph._elements.append('<node pkg="pkg" exec="twoo" name="three"/>')
    graph.start()
    assert graph.end() == 2
    assert "ready" not in graph.text
    assert "graph.launch.xml:4" in graph.text
    assert "did you mean 'two'?" in graph.text


def test_a_file_that_cannot_be_executed_stops_the_graph(graph: Graph) -> None:
    graph.node("one")
    graph.node("two")
    graph.library.joinpath("two").write_text("#!/nonexistent/interpreter\n")
    graph.start()
    assert graph.end() == 1
    assert "two (pkg/two) failed to start" in graph.text


def test_a_node_may_read_the_terminal_and_ctrl_c_reaches_each_process_once(graph: Graph) -> None:
    graph.node(
        "keys", body="tty = os.open('/dev/tty', os.O_RDWR)\n"
        "print('key', os.read(tty, 10), flush=True)\nwhile True: time.sleep(0.1)",
    )
    graph.node("other")
    command, environment = graph.command(None), graph.environment()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, environment)
    text = ""

    def read_until(part: str, count: int = 1) -> None:
        nonlocal text
        deadline = time.monotonic() + HANG_GUARD_S
        while text.count(part) < count:
            assert time.monotonic() < deadline, text
            if select.select([terminal], [], [], 0.1)[0]:
                text += os.read(terminal, 65536).decode()

    try:
        read_until("ready", 2)
        os.write(terminal, b"w\n")
        read_until(r"key b'w\n'")
        os.write(terminal, b"\x03")
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # the other end of the terminal is closed
                break
            if not part:
                break
            text += part.decode()
    finally:
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert text.count("received SIGINT: stopping") == 1
    assert len(re.findall(r"\[keys\]\S* received SIGINT", text)) == 1
    assert len(re.findall(r"\[other\]\S* received SIGINT", text)) == 1
    assert "\x1b[" in text  # names are coloured on a terminal
