"""How much memory does the recorder take at closing, whatever the bag's size?

    python -m hiwm_recording.closing_memory [--minutes 10] [--folder DIR]

Records a bag of three 640x480 cameras at 15 Hz, as fast as the disk takes it, with what the
recorder node records with (`RecordingSession` and `BagFinisher`), and prints the most resident
memory of the process while it recorded, and while it closed and audited the bag. Ten minutes are
25 GB of raw images, of which little is left when they are compressed. The bag is deleted.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags import Lineage, RecordedTopic, RecordingSession, Role, Topic
from hiwm_core.bags.finisher import BagFinisher
from hiwm_core.bags.schema import recording_types

CAMERAS = ("left", "front", "right")
WIDTH, HEIGHT, RATE_HZ = 640, 480, 15
_MIB = 1 << 20
_PAGE_KIB = 4


class ResidentMemory:
    """The most resident memory of this process since `begin`, sampled every 5 ms."""

    def __init__(self) -> None:
        self._most = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Forget the peak."""
        self._most = 0

    def most_mib(self) -> int:
        """Return the peak since `begin`, MiB."""
        return self._most // _MIB

    def close(self) -> None:
        """Stop watching."""
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.005):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self._most = max(self._most, pages * _PAGE_KIB << 10)


class ThreeCameras:
    """Serialized messages of a world with three cameras."""

    def __init__(self) -> None:
        self._types = recording_types()
        self._noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

    def world_info(self) -> tuple[RecordedTopic, bytes]:
        """Return the message that belongs at a bag's head: without it the recorder waits for it."""
        return self._serialized(
            "world_info", Role.WORLD_INFO, "hiwm_interfaces/msg/WorldInfo", header=self._header(0),
            kind="hardware", robot="", stand_in=False, rate=float(RATE_HZ), lockstep=False,
            cameras=list(CAMERAS), camera_widths=np.full(3, WIDTH, np.uint32),
            camera_heights=np.full(3, HEIGHT, np.uint32), embodiment="", embodiment_hash="",
            embodiment_yaml="", task="", task_hash="", task_yaml="", can_restore=False,
            can_fork=False, auto_reset=False, heads=[], checkpoint_hash="", session_id="",
            software_version="",
        )

    def tick(self, step: int) -> list[tuple[RecordedTopic, bytes]]:
        """Return all messages of a step, the tick last."""
        header = self._header(step)
        image = self._image(step)
        messages = [
            self._serialized(f"cameras/{name}/image_raw", Role.STAMPED, "sensor_msgs/msg/Image",
                             header=header, height=HEIGHT, width=WIDTH, encoding="rgb8",
                             is_bigendian=0, step=3 * WIDTH, data=image)
            for name in CAMERAS
        ]
        messages.append(self._serialized(
            "joint_states", Role.STAMPED, "sensor_msgs/msg/JointState", header=header,
            name=["joint"], position=np.array([step * 0.001]), velocity=np.array([]),
            effort=np.array([]),
        ))
        messages.append(self._serialized(
            "tick", Role.TICK, "hiwm_interfaces/msg/Tick", header=header, epoch=1, step=step,
            episode_id="ep_0001", branch_id="ep_0001-b000", state_id="", trust=1.0,
            progress=float("nan"), success=float("nan"), applied_action=np.array([0.0]),
            applied_source=1, applied_device="",
        ))
        return messages

    def _header(self, step: int) -> object:
        stamp_ns = 1_700_000_000 * 10**9 + step * 10**9 // RATE_HZ
        return self._message(
            "std_msgs/msg/Header", stamp=self._message(
                "builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
            ), frame_id="",
        )

    def _image(self, step: int) -> NDArray[np.uint8]:
        """Return a plain image with a patch of noise that moves: every frame differs."""
        image = np.full((HEIGHT, WIDTH, 3), step % 256, np.uint8)
        row = step % (HEIGHT - 32)
        image[row : row + 32, :100] = self._noise[row : row + 32, :100]
        return image.reshape(-1)

    def _message(self, kind: str, /, **fields: Any) -> Any:
        return self._types.types[kind](**fields)

    def _serialized(
        self, topic: str, role: Role, kind: str, /, **fields: Any
    ) -> tuple[RecordedTopic, bytes]:
        recorded = RecordedTopic(topic=Topic(name=f"/hiwm/{topic}", message_type=kind), role=role)
        return recorded, bytes(self._types.serialize_cdr(self._message(kind, **fields), kind))


def measure(folder: Path, ticks: int) -> dict[str, object]:
    """Record a bag of some ticks into a folder, close it, and return what was measured."""
    source, memory = ThreeCameras(), ResidentMemory()
    session, finisher = RecordingSession(folder, Lineage()), BagFinisher()
    begun = time.monotonic()
    raw_bytes = 0
    now = 0.0
    memory.begin()
    session.receive(*source.world_info(), 1_700_000_000 * 10**9, now)
    for step in range(ticks):
        for topic, raw in source.tick(step):
            raw_bytes += len(raw)
            session.receive(topic, raw, 1_700_000_000 * 10**9 + int(now * 1e9), now)
        now += 1 / RATE_HZ
        if step % RATE_HZ == 0:
            session.poll(now)
    recording_mib, recording_s = memory.most_mib(), time.monotonic() - begun
    memory.begin()
    begun = time.monotonic()
    session.close_all()
    for bag in session.take_closed():
        finisher.finish(bag.path, whole=bag.whole)
    finisher.drain(3600.0)
    finisher.close()
    closing_mib, closing_s = memory.most_mib(), time.monotonic() - begun
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
    parser = argparse.ArgumentParser(prog="closing_memory", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, help="where the bag is written meanwhile")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        measured = measure(folder, int(options.minutes * 60 * RATE_HZ))
    finally:
        shutil.rmtree(folder)
    print(json.dumps(measured, indent=1))
    return 0 if measured["audited_ticks"] == measured["ticks"] else 1


if __name__ == "__main__":
    sys.exit(main())
