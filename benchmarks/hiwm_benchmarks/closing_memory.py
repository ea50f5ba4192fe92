"""Measure the memory that the recorder needs to close a large bag.

    scripts/bench closing_memory [--minutes 10] [--folder DIR]

Records a bag of three 640x480 cameras at 15 Hz, as fast as the disk allows, with the classes of the
recorder node (`RecordingSession` and `BagFinisher`). Prints the peak resident memory of the process
while it records, and while it closes and audits the bag. Ten minutes are 25 GB of raw images, which
compress to little. The bag is deleted.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from hiwm_interfaces.msg import Tick, WorldInfo
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header

from hiwm_core.bags import Lineage, RecordedTopic, RecordingSession, Role, Topic
from hiwm_core.bags.finisher import BagFinisher
from hiwm_core.user_paths import path_argument

CAMERAS = ("left", "front", "right")
WIDTH, HEIGHT, RATE_HZ = 640, 480, 15
_MIB = 1 << 20
_PAGE_KIB = 4


class ResidentMemory:
    """Peak resident memory of this process since `reset`, sampled every 5 ms."""

    def __init__(self) -> None:
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Reset the peak."""
        self._peak = 0

    def peak_mib(self) -> int:
        """Return the peak since `reset`, MiB."""
        return self._peak // _MIB

    def close(self) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self._peak = max(self._peak, pages * _PAGE_KIB << 10)


class ThreeCameras:
    """Serialized messages of a world with three cameras."""

    def __init__(self) -> None:
        self._noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

    def world_info(self) -> tuple[RecordedTopic, bytes]:
        """Return the message for the head of a bag; the recorder waits until it has one."""
        info = WorldInfo(kind="hardware", rate=float(RATE_HZ), cameras=list(CAMERAS))
        return _serialized("world_info", Role.WORLD_INFO, info)

    def tick(self, step: int) -> list[tuple[RecordedTopic, bytes]]:
        """Return all messages of a step, the tick last."""
        header = Header(stamp=Time(
            sec=1_700_000_000 + step // RATE_HZ, nanosec=step % RATE_HZ * 10**9 // RATE_HZ
        ))
        image = Image(
            header=header, height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH,
            data=array("B", self._pixels(step).tobytes()),
        )
        tick = Tick(
            header=header, epoch=1, step=step, episode_id="ep_0001", branch_id="ep_0001-b000",
            trust=1.0, applied_action=[0.0], applied_source=1,
        )
        return [
            *(_serialized(f"cameras/{name}/image_raw", Role.STAMPED, image) for name in CAMERAS),
            _serialized("joint_states", Role.STAMPED, JointState(
                header=header, name=["joint"], position=[step * 0.001]
            )),
            _serialized("tick", Role.TICK, tick),
        ]

    def _pixels(self, step: int) -> NDArray[np.uint8]:
        """Return a plain image with a moving patch of noise, so that every frame differs."""
        image = np.full((HEIGHT, WIDTH, 3), step % 256, np.uint8)
        row = step % (HEIGHT - 32)
        image[row : row + 32, :100] = self._noise[row : row + 32, :100]
        return image


def _serialized(name: str, role: Role, message: Any) -> tuple[RecordedTopic, bytes]:
    kind = type(message)
    topic = Topic(
        name=f"/hiwm/{name}", message_type=f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
    )
    return RecordedTopic(topic=topic, role=role), bytes(serialize_message(message))


def measure(folder: Path, ticks: int) -> dict[str, object]:
    """Record a bag into a folder, close it, and return the measurements."""
    source, memory = ThreeCameras(), ResidentMemory()
    session = RecordingSession(folder, Lineage(), leaves_closing=True)
    finisher = BagFinisher()
    started = time.monotonic()
    raw_bytes = 0
    now = 0.0
    memory.reset()
    session.receive(*source.world_info(), 1_700_000_000 * 10**9, now)
    for step in range(ticks):
        for topic, raw in source.tick(step):
            raw_bytes += len(raw)
            session.receive(topic, raw, 1_700_000_000 * 10**9 + int(now * 1e9), now)
        now += 1 / RATE_HZ
        if step % RATE_HZ == 0:
            session.poll(now)
    recording_mib, recording_s = memory.peak_mib(), time.monotonic() - started
    memory.reset()
    started = time.monotonic()
    session.close_all()
    for bag in session.take_closed():
        finisher.finish(bag.path, whole=bag.whole, close=bag.close)
    finisher.drain(3600.0)
    finisher.close()
    closing_mib, closing_s = memory.peak_mib(), time.monotonic() - started
    memory.close()
    (finished,) = finisher.take_finished()
    audit = finished.audit
    return {
        "ticks": ticks,
        "raw_gb": round(raw_bytes / 1e9, 2),
        "bag_gb": round(sum(file.stat().st_size for file in finished.path.iterdir()) / 1e9, 3),
        "recording_mib": recording_mib,
        "closing_mib": closing_mib,
        "recording_s": round(recording_s, 1),
        "closing_s": round(closing_s, 1),
        "audited_ticks": audit.ticks if audit else 0,
        "problems": audit.problems if audit else [finished.error],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print JSON, and return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/bench closing_memory", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--folder", type=path_argument, help="folder for the temporary bag")
    options = parser.parse_args(arguments)
    try:
        folder = Path(tempfile.mkdtemp(dir=options.folder))
    except OSError as error:
        print(f"error: {error.strerror} ({options.folder}): name a folder", file=sys.stderr)
        return 1
    try:
        measured = measure(folder, int(options.minutes * 60 * RATE_HZ))
    finally:
        shutil.rmtree(folder)
    print(json.dumps(measured, indent=1))
    return 0 if measured["audited_ticks"] == measured["ticks"] else 1


if __name__ == "__main__":
    sys.exit(main())
