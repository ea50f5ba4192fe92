"""A folder of small bags, as recorded or imported, without a session's tree."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hiwm_core.bags import Lineage, Topic, open_bag
from hiwm_core.bags.schema import recording_types
from hiwm_core.embodiment import load_embodiment, parse_embodiment
from hiwm_core.frames import observation_streams

EMBODIMENT = load_embodiment("planar_bimanual")


def write_bags(
    folder: Path, count: int, steps: int, cameras: tuple[str, ...] = ("top",)
) -> list[Path]:
    """Write bags of ticks with cameras [24, 32, 3], images in the reverse of the cameras' order.

    The picture of camera n at step k is the grey k + 40 n.
    """
    description = yaml.safe_load(EMBODIMENT.text)
    [camera] = description["cameras"]
    description["cameras"] = [{**camera, "name": name} for name in cameras]
    embodiment = parse_embodiment(yaml.safe_dump(description, sort_keys=False), "test")
    kinds: dict[str, Any] = recording_types().types
    bags = []
    for number in range(1, count + 1):
        branch = f"ep_{number:04d}-b000"
        path = folder / "bags" / f"{branch}_e0001"
        path.parent.mkdir(parents=True, exist_ok=True)
        lineage = Lineage(
            session_id=folder.name, episode_id=branch[:7], branch_id=branch, epoch=1,
            world="hardware", robot="standin", stand_in=True, embodiment=embodiment.name,
            embodiment_yaml=embodiment.text, task="toy_task", task_hash="abc",
        )
        bag = open_bag(path, lineage.custom_data())
        for step in range(steps):
            stamp = kinds["builtin_interfaces/msg/Time"](
                sec=1 + step // 10, nanosec=step % 10 * 10**8
            )
            header = kinds["std_msgs/msg/Header"](stamp=stamp, frame_id="table")
            images = {
                f"cameras/{camera}/image_raw": kinds["sensor_msgs/msg/Image"](
                    header=header, height=24, width=32, encoding="rgb8", is_bigendian=0, step=96,
                    data=np.full(24 * 96, (step + 40 * place) % 256, np.uint8),
                )
                for place, camera in reversed(list(enumerate(cameras)))
            }
            for name, message in {
                **images,
                "tick": kinds["hiwm_interfaces/msg/Tick"](
                    header=header, epoch=1, step=step, episode_id=branch[:7], branch_id=branch,
                    started_from="", state_id="", trust=1.0, progress=float("nan"),
                    success=float("nan"),
                    applied_action=np.zeros(0), applied_source=0, applied_device="", sender="",
                    applied_note="", streams=observation_streams(cameras),
                    stream_stamps=[stamp] * (len(cameras) + 1), control_period_s=0.0,
                ),
            }.items():
                kind = message.__msgtype__
                bag.write(
                    Topic(name=f"/hiwm/{name}", message_type=kind),
                    int(stamp.sec) * 10**9 + int(stamp.nanosec),
                    bytes(recording_types().serialize_cdr(message, kind)),
                )
        bag.close(lineage.custom_data())
        bags.append(path)
    return bags
