"""A small recorded session with a fork, and a reader of LeRobot sets from the specification."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hiwm_core.bags import Lineage, Segment
from hiwm_core.control import Source
from hiwm_core.embodiment import load_embodiment
from hiwm_core.session_lineage import software_version
from hiwm_exchange.bag_writer import write_bag
from hiwm_test_support.shipped import TASK

EMBODIMENT = load_embodiment("planar_bimanual")
PERIOD_S = 0.1


def picture(step: int) -> NDArray[np.uint8]:
    """Return a smooth image with a square that moves, [96, 96, 3]."""
    across = np.linspace(40, 200, 96)
    image = np.stack([np.tile(across, (96, 1)), np.tile(across[:, None], (1, 96)),
                      np.full((96, 96), 128.0)], axis=2).astype(np.uint8)
    left = 4 + 2 * (step % 40)
    image[30:46, left : left + 16] = (220, 30, 60)
    return image


def segment(
    branch: str, sources: Sequence[int], *, first_step: int = 0, epoch: int = 1, parent: str = "",
    fork_step: int = -1, session: str = "session", episode: str = "ep_0001",
    period_s: float = PERIOD_S,
) -> Segment:
    """Return a segment whose action t has sources[t]; one tick more than actions."""
    length = len(sources) + 1
    steps = first_step + np.arange(length)
    lineage = Lineage(
        session_id=session, episode_id=episode, branch_id=branch, epoch=epoch, world="imagination",
        parent_branch_id=parent, fork_step=fork_step, embodiment=EMBODIMENT.name,
        embodiment_hash=EMBODIMENT.hash, embodiment_yaml=EMBODIMENT.text, task=TASK.name,
        task_hash=TASK.hash, task_yaml=TASK.text, software_version=software_version(),
        period_s=period_s,
    )
    proprio = (np.arange(4) * 0.01 + steps[:, None] * 0.001).astype(np.float32)
    actions = (proprio + 0.002).astype(np.float32)
    actions[-1] = np.nan
    source = np.array([*sources, 0], np.uint8)
    return Segment(
        path=Path(branch), lineage=lineage, embodiment=EMBODIMENT, epoch=epoch,
        stamps_ns=np.round((epoch * 1000 + steps * period_s) * 1e9).astype(np.int64), steps=steps,
        state_ids=[""] * length,
        observations={"top": np.stack([picture(int(step)) for step in steps])},
        proprio=proprio, measured=proprio.copy(), actions=actions, source=source,
        device=["dev" if one else "" for one in source],
        applied_source=np.concatenate(([0], source[:-1])).astype(np.uint8),
        trust=np.linspace(0.5, 1.0, length).astype(np.float32),
        progress=np.full(length, np.nan, np.float32), success=np.full(length, np.nan, np.float32),
        labels=None,
    )


def forked(session: str = "session") -> list[Segment]:
    """Return a policy's branch of 20 steps, and two corrections from its step 12."""
    corrected = [Source.HUMAN] * 6 + [Source.POLICY] * 2
    return [
        segment("ep_0001-b000", [Source.POLICY] * 20, session=session),
        *(segment(f"ep_0001-b00{i}", corrected, first_step=12, epoch=1 + i, parent="ep_0001-b000",
                  fork_step=12, session=session) for i in (1, 2)),
    ]


def record(folder: Path, segments: list[Segment]) -> Path:
    """Write segments as the bags of a session; return its folder."""
    for one in segments:
        audit = write_bag(folder / "bags", one)
        assert audit.ok, audit.problems
    return folder


def demonstrations(folder: Path, count: int, length: int = 16) -> Path:
    """Write a session of demonstrations; return its folder."""
    return record(folder, [
        segment(f"ep_{i:04d}-b000", [Source.DEMONSTRATION] * length, epoch=i + 1,
                session=folder.name, episode=f"ep_{i:04d}")
        for i in range(count)
    ])


def at_period(one: Segment, period_s: float) -> Segment:
    """Return a segment at another period."""
    return replace(one, lineage=replace(one.lineage, period_s=period_s))


class SpecificationReader:
    """Reads a set by the published layout only: no code of ours, no lerobot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = json.loads((folder / "meta/info.json").read_text())
        self.stats = json.loads((folder / "meta/stats.json").read_text())
        self.v3 = self.info["codebase_version"] == "v3.0"
        if self.v3:
            files = sorted((folder / "meta/episodes").glob("*/*.parquet"))
            self.episodes = [line for file in files for line in pq.read_table(file).to_pylist()]
            tasks = pq.read_table(folder / "meta/tasks.parquet")
            pandas = json.loads(tasks.schema.metadata[b"pandas"])
            self.tasks = tasks[pandas["index_columns"][0]].to_pylist()
        else:
            self.episodes = self.lines("meta/episodes.jsonl")
            self.tasks = [line["task"] for line in self.lines("meta/tasks.jsonl")]
        self._tables: dict[str, list[dict[str, Any]]] = {}

    def lines(self, place: str) -> list[dict[str, Any]]:
        """Return the objects of a file of lines."""
        return [json.loads(line) for line in (self.folder / place).read_text().splitlines()]

    def rows(self, number: int) -> dict[str, list[Any]]:
        """Return the table of an episode."""
        episode = self.episodes[number]
        place = self.info["data_path"].format(
            chunk_index=episode.get("data/chunk_index"), file_index=episode.get("data/file_index"),
            episode_chunk=number // 1000, episode_index=number,
        )
        if place not in self._tables:
            self._tables[place] = pq.read_table(self.folder / place).to_pylist()
        lines = [line for line in self._tables[place] if line["episode_index"] == number]
        return {name: [line[name] for line in lines] for name in lines[0]}

    def images(self, number: int, key: str) -> NDArray[np.uint8]:
        """Return the frames at the times of an episode's rows; each within 1e-4 s."""
        episode = self.episodes[number]
        place = self.info["video_path"].format(
            video_key=key, chunk_index=episode.get(f"videos/{key}/chunk_index"),
            file_index=episode.get(f"videos/{key}/file_index"), episode_chunk=number // 1000,
            episode_index=number,
        )
        start = episode.get(f"videos/{key}/from_timestamp", 0.0)
        with av.open(str(self.folder / place)) as container:
            frames = {
                float(frame.time or 0.0): frame.to_ndarray(format="rgb24")
                for frame in container.decode(video=0)
            }
        found = []
        for time in self.rows(number)["timestamp"]:
            nearest = min(frames, key=lambda at: abs(at - start - time))
            assert abs(nearest - start - time) < 1e-4
            found.append(frames[nearest])
        return np.stack(found)
