"""A person demonstrates in the console: from the socket to the training set."""

import asyncio
import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from hiwm_interfaces.msg import Command, ControlState

from hiwm_core.branch_records import Label
from hiwm_core.provenance import Provenance
from hiwm_learning.datasets import load_episodes
from hiwm_learning.datasets.build import build_dataset
from hiwm_nodes import qos

sys.path.insert(0, str(Path(__file__).parent))
from launched_session import LaunchedSession  # noqa: E402

pytestmark = [pytest.mark.nodes, pytest.mark.slow, pytest.mark.timeout(400)]
AXES = (0.3, 0.0, 0.0, 0.3)
WANTED = 20  # demonstrated ticks


class Person:
    """A page's socket in a thread: says thirty times a second what is held."""

    def __init__(self, address: str) -> None:
        self.heard: dict[str, dict[str, Any]] = {}
        self.holds = False
        self._acts: list[dict[str, Any]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._visit(address),))
        self._thread.start()

    def act(self, **fields: Any) -> None:
        self._acts.append({"type": "act", **fields})

    def leave(self) -> None:
        self._over.set()
        self._thread.join(60)

    async def _visit(self, address: str) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
            speaking = asyncio.ensure_future(self._speak(socket))
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    said = json.loads(message.data)
                    self.heard[said["type"]] = said
            speaking.cancel()

    async def _speak(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while not self._over.is_set():
            # On a machine so busy that it lost control, it lets go once and takes over again.
            holds = self.holds and self.heard.pop("released", None) is None
            await socket.send_json({
                "type": "drive", "axes": AXES if holds else (0.0,) * len(AXES), "deadman": holds,
                "t": 1e3 * time.monotonic(),
            })
            while self._acts:
                await socket.send_json(self._acts.pop(0))
            await asyncio.sleep(0.03)
        await socket.close()


def test_a_demonstration_in_the_console_reaches_the_training_set(tmp_path: Path) -> None:
    folder = tmp_path / "demonstrations"
    arguments = {
        "world": "hardware", "robot": "standin", "device": "none", "console": "true",
        "console_port": "0",
    }
    with LaunchedSession(folder, arguments, launch_file="record.launch.xml") as graph:
        graph.until(lambda: bool(graph.lines("console: http")) and bool(graph.ticks))
        address = re.search(r"http://127\.0\.0\.1:\d+/", graph.output)
        assert address
        modes: list[ControlState] = []
        graph.node.create_subscription(
            ControlState, "control_state", modes.append, qos.LATCHED
        )
        person = Person(address[0] + "console")
        try:
            # Everything but a policy is there, and the page offers accordingly.
            graph.until(lambda: set(
                person.heard.get("missing", {"actions": {"none yet": ""}})["actions"]
            ) == {"start", "fork", "continue", "save"})
            assert "policy" in person.heard["missing"]["actions"]["start"]
            assert person.heard["hello"]["demonstrations"] is True

            def demonstrated() -> int:
                return sum(
                    tick.applied_source == Command.SOURCE_DEMONSTRATION for tick in graph.ticks
                )

            person.holds = True
            graph.until(lambda: demonstrated() >= WANTED)
            person.holds = False
            graph.until(lambda: modes[-1].mode == ControlState.PAUSED)
            assert "demonstration" in modes[-1].reason
            person.act(id=1, action="label", label=Label.SUCCESS)
            graph.until(lambda: person.heard.get("answer", {}).get("id") == 1)
            assert person.heard["answer"]["ok"], person.heard["answer"]
        finally:
            person.leave()
        count = demonstrated()
    build_dataset([folder], tmp_path / "set.zarr")
    episodes = load_episodes(tmp_path / "set.zarr")
    code = episodes.provenance_names.index(str(Provenance.DEMONSTRATION))
    assert np.count_nonzero(episodes.provenance == code) in range(WANTED, count + 2)
    human = episodes.provenance_names.index(str(Provenance.HUMAN))
    assert np.count_nonzero(episodes.provenance == human) == 0
    assert episodes.infos[-1].label == Label.SUCCESS
