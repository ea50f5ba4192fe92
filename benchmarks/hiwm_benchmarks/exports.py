"""The speed of an export to LeRobot: recorded bags in, video and tables out."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hiwm_core.bags import Lineage, Segment
from hiwm_core.control import Source
from hiwm_core.embodiment import load_embodiment
from hiwm_core.output_folders import claim_folder
from hiwm_exchange.bag_writer import write_bag
from hiwm_exchange.export_lerobot import WHAT, export
from hiwm_exchange.segments import made_task
from hiwm_exchange.sources import BagSource

from .rows import Measured

EMBODIMENT = "yam_pair"  # one camera of 128x128
BAGS, TICKS = 20, 300


def measure_exports(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return frames per second of an export to v3.0; arguments as in `measure`."""
    for number in range(BAGS):
        write_bag(folder / "session" / "bags", _segment(number))
    output = folder / "set"
    claim_folder(output, WHAT)
    began = time.monotonic()
    source = BagSource(
        [folder / "session"], "segment", resample_hz=None, without_tree=True,
        write=lambda line: None,
    )
    frames = export(source, output, write=lambda line: None)
    seconds = time.monotonic() - began
    return {
        "export_rate": Measured(
            value=frames / seconds, details={"frames": frames, "seconds": seconds, "bags": BAGS}
        ),
    }


def _segment(number: int) -> Segment:
    """Return a demonstration of the pair of arms before a picture that moves and has noise."""
    embodiment = load_embodiment(EMBODIMENT)
    rng = np.random.default_rng(number)
    camera = embodiment.cameras[0]
    shape = (camera.height, camera.width, 3)
    still = np.linspace(30, 220, camera.width)[None, :, None] * np.ones(shape)
    frames = np.empty((TICKS, *shape), np.uint8)
    for t in range(TICKS):
        noisy = still + rng.normal(0.0, 3.0, shape)
        left = t % (camera.width - 20)
        noisy[40:60, left : left + 20] = (200, 40, 60)
        frames[t] = noisy.clip(0, 255)
    home = np.array(embodiment.home, np.float32)
    targets = np.tile(home, (TICKS, 1)) + 0.01 * np.sin(np.arange(TICKS))[:, None]
    actions = targets.clip(embodiment.lower, embodiment.upper).astype(np.float32)
    actions[-1] = np.nan
    task = made_task("lay the rope into the clips", embodiment, TICKS)
    name = f"ep_{number:04d}"
    source = np.full(TICKS, int(Source.DEMONSTRATION), np.uint8)
    source[-1] = Source.NONE
    unknown = np.full(TICKS, np.nan, np.float32)
    return Segment(
        path=Path(name), embodiment=embodiment, epoch=number + 1, lineage=Lineage(
            session_id="bench", episode_id=name, branch_id=f"{name}-b000", epoch=number + 1,
            world="imagination", embodiment=embodiment.name, embodiment_hash=embodiment.hash,
            embodiment_yaml=embodiment.text, task=task.name, task_hash=task.hash,
            task_yaml=task.text, period_s=1.0 / embodiment.rate_hz,
        ),
        stamps_ns=10**9 * (1 + number) + np.arange(TICKS) * 100_000_000,
        steps=np.arange(TICKS), state_ids=[""] * TICKS, observations={camera.name: frames},
        proprio=np.tile(home, (TICKS, 1)), measured=np.tile(home, (TICKS, 1)), actions=actions,
        source=source, device=["bench"] * TICKS,
        applied_source=np.concatenate(([0], source[:-1])).astype(np.uint8),
        trust=np.ones(TICKS, np.float32), progress=unknown, success=unknown, labels=None,
    )
