"""Shared by the tests of the session recorder: a recording of a played world."""

from pathlib import Path

import pytest

from hiwm_core.bags import (
    Lineage,
    RecordedTopic,
    RecordingSession,
    session_bags,
)
from hiwm_core.bags.contents import BagContents
from hiwm_test_support.bags import (
    RecordedWorld,
)


class Recording:
    """A session with an invented world and its own clock."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.session = RecordingSession(folder, Lineage(seed=5), **options)  # type: ignore[arg-type]
        self.now = 100.0
        self.world = RecordedWorld(self.send)

    def send(self, topic: RecordedTopic, raw: bytes) -> None:
        self.now += 0.001
        self.session.receive(topic, raw, int(self.now * 1e9), self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.session.poll(self.now)

    def names(self) -> list[str]:
        return [bag.name for bag in session_bags(self.folder)]

    def topics(self, name: str) -> list[str]:
        contents = BagContents(self.folder / "bags" / name)
        return [message.channel.topic for message in contents.messages()]


@pytest.fixture(name="recording")
def recording_fixture(tmp_path: Path) -> Recording:
    return Recording(tmp_path)
