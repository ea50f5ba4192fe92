"""What a person wants to know of one bag, read in one pass: its ticks, takeovers and a few frames.

Reads less than `bags.reader` does, and forgives more: a bag cut short still has a story to tell.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags.audit import bag_lineage, mcap_path
from hiwm_core.bags.cdr import stamp_ns
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.mcap_file import Message, decoded, read_mcap
from hiwm_core.frames import image_array


@dataclass(frozen=True, kw_only=True)
class TickDigest:
    """One tick."""

    received_ns: int  # system time
    stamp_ns: int
    step: int
    source: int  # Command.SOURCE_* of the action that led here
    trust: float  # 0..1
    success: float  # 0..1, NaN unknown


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """One takeover as the arbiter measured it."""

    number: int  # counted since the arbiter started
    latency_s: float  # operator command received to first human command sent; NaN unmeasured
    latency_ticks: int


@dataclass(kw_only=True)
class BagDigest:
    """One bag."""

    path: Path
    lineage: Lineage
    ticks: list[TickDigest] = field(default_factory=list)
    takeovers: list[Takeover] = field(default_factory=list)
    _images: dict[int, Message] = field(default_factory=dict)  # of the first camera, by stamp

    def frame(self, tick: TickDigest) -> NDArray[np.uint8] | None:
        """Return the first camera's frame [H, W, 3] rgb of a tick; None where it is missing."""
        message = self._images.get(tick.stamp_ns)
        return None if message is None else np.array(image_array(decoded(message)))


def read_digest(bag: Path) -> BagDigest:
    """Return the digest of a bag folder, closed or not.

    Raises:
        BagError: there is no readable file.
    """
    contents = read_mcap(mcap_path(bag))
    digest = BagDigest(path=bag, lineage=bag_lineage(bag, contents))
    camera = ""
    steps: set[tuple[int, int]] = set()
    heard: dict[int, Takeover] = {}
    for message in sorted(contents.messages, key=lambda message: message.time_ns):
        topic = message.channel.topic
        if topic.endswith("/tick"):
            tick = decoded(message)
            if (tick.epoch, tick.step) in steps:
                continue  # published again
            steps.add((tick.epoch, tick.step))
            digest.ticks.append(TickDigest(
                received_ns=message.time_ns, stamp_ns=stamp_ns(message.data), step=int(tick.step),
                source=int(tick.applied_source), trust=float(tick.trust),
                success=float(tick.success),
            ))
        elif topic.endswith("/image_raw") and "/driver/" not in topic:
            camera = camera or topic
            if topic == camera:
                digest._images[stamp_ns(message.data)] = message
        elif topic.endswith("/control_state"):
            state = decoded(message)
            if state.takeovers:
                heard[int(state.takeovers)] = Takeover(
                    number=int(state.takeovers), latency_s=float(state.takeover_latency_s),
                    latency_ticks=int(state.takeover_latency_ticks),
                )
    digest.takeovers = list(heard.values())
    return digest
