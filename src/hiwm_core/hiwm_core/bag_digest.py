"""A digest of one bag for people: its ticks, takeovers and a few frames.

Reads less than `bags.reader` and tolerates more: a truncated bag has a digest too. Frames are read
on request, so a digest is small whatever the bag's size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags.cdr import stamp_ns
from hiwm_core.bags.contents import BagContents, errors_of
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.mcap_file import McapFile, Message, decoded
from hiwm_core.bags.topics import Stream, observation_stream, stream
from hiwm_core.embodiment import parse_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.frames import camera_stream, image_array, stream_stamps


@dataclass(frozen=True, kw_only=True)
class TickDigest:
    """One tick."""

    received_ns: int  # system time
    stamp_ns: int
    step: int
    source: int  # Command.SOURCE_* of the action that led to it
    trust: float  # 0..1
    success: float  # 0..1, NaN unknown
    stream_stamps_ns: Mapping[str, int]  # of its streams, ns


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """One takeover as the arbiter measured it."""

    number: int  # count since the start of the arbiter
    latency_s: float  # from operator command received to first human command sent; NaN unknown
    latency_ticks: int


@dataclass(kw_only=True)
class BagDigest:
    """One bag."""

    path: Path
    lineage: Lineage
    ticks: list[TickDigest] = field(default_factory=list)  # in order of their steps
    takeovers: list[Takeover] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # damage, or not closed; see BagContents
    _file: McapFile
    _topics: Mapping[str, str] = field(default_factory=dict)  # of images, by camera
    _chunks: Mapping[str, Mapping[int, int]] = field(default_factory=dict)  # by topic and stamp
    _last: tuple[int, list[Message]] = (0, [])  # the chunk read last

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras with images, in the embodiment's order; of an unknown one, by name."""
        return tuple(self._topics)

    def frame(self, tick: TickDigest, camera: str = "") -> NDArray[np.uint8] | None:
        """Return a camera's frame [H, W, 3] rgb of a tick; None if it is missing.

        Reads the chunk that contains it. The frames of a tick's cameras often share one.

        Args:
            tick: one of `ticks`.
            camera: one of `cameras`; empty: the first.

        Raises:
            BagError: the file has changed since the digest was read.
        """
        topic = self._topics.get(camera or next(iter(self._topics), ""), "")
        stamp = tick.stream_stamps_ns.get(observation_stream(topic), -1)
        chunk_at = self._chunks.get(topic, {}).get(stamp)
        if not chunk_at:
            return None
        if self._last[0] != chunk_at:
            self._last = chunk_at, self._file.chunk_messages(chunk_at)
        for message in self._last[1]:
            if message.channel.topic == topic and stamp_ns(message.data) == stamp:
                return np.array(image_array(decoded(message)))
        return None


def read_digest(bag: Path) -> BagDigest:
    """Return the digest of a bag folder, closed or not.

    Raises:
        BagError: no readable file.
    """
    with errors_of(bag):
        return _digest(BagContents(bag))


def _digest(contents: BagContents) -> BagDigest:
    chunks: dict[str, dict[int, int]] = {}  # of images, by topic and stamp
    ticks: dict[tuple[int, int], TickDigest] = {}
    takeovers: dict[int, Takeover] = {}
    for message in contents.messages():
        kind = stream(message.channel)
        if kind is Stream.TICK:
            tick = decoded(message)
            ticks.setdefault((int(tick.epoch), int(tick.step)), TickDigest(
                received_ns=message.time_ns, stamp_ns=stamp_ns(message.data), step=int(tick.step),
                source=int(tick.applied_source), trust=float(tick.trust),
                success=float(tick.success), stream_stamps_ns=stream_stamps(tick),
            ))
        elif kind is Stream.IMAGE:
            found = chunks.setdefault(message.channel.topic, {})
            found[stamp_ns(message.data)] = message.chunk_at
        elif kind is Stream.CONTROL_STATE:
            state = decoded(message)
            if state.takeovers:
                takeovers[int(state.takeovers)] = Takeover(
                    number=int(state.takeovers), latency_s=float(state.takeover_latency_s),
                    latency_ticks=int(state.takeover_latency_ticks),
                )
    lineage = contents.lineage()
    return BagDigest(
        path=contents.path, lineage=lineage,
        ticks=[ticks[place] for place in sorted(ticks)], takeovers=list(takeovers.values()),
        problems=contents.problems(), _file=contents.file,
        _topics=_camera_topics(lineage, list(chunks)), _chunks=chunks,
    )


def _camera_topics(lineage: Lineage, topics: Sequence[str]) -> dict[str, str]:
    """Return the image topics by camera, in the embodiment's order: images arrive in any.

    A bag whose embodiment is unknown has its topics by name.
    """
    streams = {observation_stream(topic): topic for topic in sorted(topics)}
    try:
        cameras = parse_embodiment(lineage.embodiment_yaml, "bag").cameras
    except ConfigError:
        return {stream_name.split("/")[1]: topic for stream_name, topic in streams.items()}
    return {
        camera.name: streams[camera_stream(camera.name)] for camera in cameras
        if camera_stream(camera.name) in streams
    }
