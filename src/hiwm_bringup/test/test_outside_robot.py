"""The page "Your robot, step by step", followed with a robot that this project does not know.

Its drivers are in outside_robot. The files are drafted by the page's commands, changed as the page
says, and every later command is the page's too. Only numbers of steps and trials are smaller.
"""

import json
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hiwm_interfaces.msg import Command, EvaluationStatus
from sensor_msgs.msg import JointState

from hiwm_core.ros_domains import domain_id
from hiwm_learning.datasets import load_episodes
from hiwm_nodes import qos
from hiwm_test_support.nodes import wait_until

sys.path.insert(0, str(Path(__file__).parent))
from launched_session import LaunchedSession  # noqa: E402
from your_robot_page import COMMANDS, ROOT, change_files  # noqa: E402

pytestmark = [pytest.mark.nodes, pytest.mark.slow, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
# Smaller than on the page.
FEWER = {
    "scripts/inspect": "--seconds 5",
    "scripts/train_policy": "--steps 3",
    "scripts/train_world_model": "--network tiny --pool 2 --robot-batch 4 --hand-steps 2 "
                                 "--grip-steps 2 --robot-steps 3 --filling-steps 3 --steps 3 "
                                 "--head-steps 3",
}
DEMONSTRATED, EPISODES = 16, 3  # ticks of each, and their number
_LOST_S = 5.0  # without a demonstrated tick


class Reader:
    """A new user at the page: a home folder, an environment, and the robot's domain."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.domain = domain_id()
        (export,) = (line for line in COMMANDS if line.startswith("export"))
        name, _, value = export.removeprefix("export ").partition("=")
        self.environment = {
            "HOME": str(home), "ROS_DOMAIN_ID": str(self.domain), name: self.path(value),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        }
        (home / "desk_arm_data").mkdir()

    def path(self, text: str) -> str:
        return text.replace("~", str(self.home))

    def command(self, words: str) -> str:
        (found,) = (line for line in COMMANDS if words in line)
        return found

    def run(self, words: str) -> str:
        """Run the page's command that contains some words; return what it printed."""
        line = self.command(words)
        more = next((options for name, options in FEWER.items() if line.startswith(name)), "")
        ended = subprocess.run(
            f"{line} {more}", shell=True, cwd=ROOT, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={**os.environ, **self.environment},
        )
        assert ended.returncode == 0, f"{line}\n{ended.stdout}"
        return ended.stdout

    def launch(self, words: str, terminal: int | None = None, **changed: str) -> LaunchedSession:
        """Start the page's launch command that contains some words."""
        _, _, _, file, *given = self.command(words).split()
        arguments: dict[str, Any] = dict(word.split(":=", 1) for word in given)
        folder = Path(self.path(arguments.pop("session_dir")))
        return LaunchedSession(
            folder, {**arguments, **changed}, self.environment, launch_file=Path(file).name,
            domain=self.domain, terminal=terminal,
        )


class Keys:
    """A terminal in which a person types."""

    def __init__(self) -> None:
        self._ours, self.terminal = pty.openpty()
        self._shown = b""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def shown(self) -> str:
        return self._shown.decode(errors="replace")

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def held(self, keys: str, count: Callable[[], int], wanted: int) -> Callable[[], bool]:
        """Return a predicate that types keys whenever it is asked, as held keys repeat.

        It holds at the wanted count. On a busy machine control may be lost: it is taken again.
        """
        last, since = count(), time.monotonic()

        def over() -> bool:
            nonlocal last, since
            now = time.monotonic()
            if count() > last or now - since > _LOST_S:
                self.type("t" if count() == last else "")
                last, since = count(), now
            self.type(keys)
            time.sleep(0.02)
            return count() >= wanted

        return over

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 4096):
                self._shown += data
        except OSError:
            return


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    log = tmp_path / "drivers.log"
    with log.open("wb") as output:
        drivers = subprocess.Popen(
            [sys.executable, str(HERE / "outside_robot" / "driver.py")], stdout=output,
            stderr=subprocess.STDOUT, env={**os.environ, **reader.environment},
        )
    try:
        wait_until(lambda: b"ready" in log.read_bytes() or drivers.poll() is not None)
        assert drivers.poll() is None, log.read_text()
        yield reader
        assert drivers.poll() is None, log.read_text()
    finally:
        drivers.terminate()
        drivers.wait(30)


def test_the_page_leads_from_drivers_to_an_evaluation(reader: Reader) -> None:
    drafted = reader.run("scripts/inspect")
    for words in (
        "(in several messages)", "160x120 jpeg", "desk_base, desk_shoulder, desk_elbow, desk_wrist",
        "(gripper_command): desk_finger; controller active",
    ):
        assert words in drafted, drafted
    reader.run("check_robot")  # the drafts load as they are
    assert "robots/desk_arm.yaml" in reader.run("grep")
    change_files(reader.home / "desk_arm")
    checked = reader.run("check_robot")
    assert "5 action entries, 7 of proprioception, 5 Hz" in checked
    assert "interlocks: emergency_stop\nworkspace: checked" in checked
    assert "judge: person" in reader.run("check_task")

    record(reader)
    audited = reader.run("audit")
    assert ", 0 bad" in audited, audited
    reader.run("build_dataset")
    episodes = load_episodes(reader.home / "desk_arm_data" / "first.zarr")
    assert episodes.actions.shape[1] == 5
    assert episodes.proprio.shape[1] == 7
    assert episodes.infos[0].label == "success"
    reader.run("train_policy")
    reader.run("train_world_model")
    imagine(reader)
    evaluate(reader)


def record(reader: Reader) -> None:
    keys = Keys()
    seen: list[JointState] = []
    with reader.launch("record.launch", keys.terminal, view="false") as graph:
        graph.node.create_subscription(JointState, "joint_states", seen.append, qos.TICK)
        graph.until(lambda: bool(graph.ticks) and "a/d desk_base" in keys.shown)
        assert "u/o desk_finger" in keys.shown

        def demonstrated() -> int:
            return sum(t.applied_source == Command.SOURCE_DEMONSTRATION for t in graph.ticks)

        def begun(epoch: int) -> bool:
            return graph.ticks[-1].epoch > epoch

        for i in range(EPISODES):
            keys.type("t")
            held = "asu" if i % 2 else "dsu"
            graph.until(keys.held(held, demonstrated, demonstrated() + DEMONSTRATED))
            keys.type("hy")
            graph.until(lambda: "label: " in keys.shown.rpartition("labelling")[2])
            if i < EPISODES - 1:
                keys.type("r")
                graph.until(partial(begun, graph.ticks[-1].epoch))
        keys.type("q")
        assert graph.wait() == 0, graph.output
    moved = np.array([message.position for message in seen])
    names = list(seen[0].name)
    # The bridge has joined the driver's messages under the embodiment's names.
    parts = ("base", "shoulder", "elbow", "wrist", "finger")
    assert set(names) == {f"desk_{part}" for part in parts}
    assert np.ptp(moved[:, names.index("desk_base")]) > 0.1
    assert np.ptp(moved[:, names.index("desk_elbow")]) < 0.1
    # The gripper has shut: a ratio here, metres at the driver.
    finger = moved[:, names.index("desk_finger")]
    assert finger[0] > 0.5
    assert finger[-1] < 0.2


def imagine(reader: Reader) -> None:
    with reader.launch("world:=imagination", view="false", device="none", rate="0.0") as graph:
        graph.until(lambda: sum(
            tick.applied_source == Command.SOURCE_POLICY for tick in graph.ticks
        ) >= 3)
        assert len(graph.ticks[-1].applied_action) == 5


def evaluate(reader: Reader) -> None:
    said: list[EvaluationStatus] = []
    with reader.launch("evaluate.launch", trials="1") as graph:
        graph.node.create_subscription(
            EvaluationStatus, "evaluation/status", said.append, qos.LATCHED
        )
        graph.until(lambda: bool(said) and "cube_y_m" in said[-1].prompt)
        reader.run("evaluation/continue")
        graph.until(lambda: any(
            tick.applied_source == Command.SOURCE_POLICY for tick in graph.ticks
        ))
        reader.run("evaluation/label")
        assert graph.wait() == 0, graph.output
    folder = reader.home / "desk_arm_data" / "evaluation" / "evaluation"
    (trial,) = map(json.loads, (folder / "trials.jsonl").read_text().splitlines())
    assert trial["outcome"] == "success"
    assert trial["judged_by"] == "person me"
