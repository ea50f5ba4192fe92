"""The origin of a bag: everything that identifies its segment, stored with the bag.

The lineage is written to the head of the MCAP file, which survives a crash, and to `custom_data` of
metadata.yaml, which `ros2 bag info` reads. On close, the latter is completed with the parent of the
branch and the policies.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from hiwm_core.control_period import UNKNOWN, ControlPeriod
from hiwm_core.errors import BagError
from hiwm_core.formats import MIGRATE

# Name of the MCAP Metadata record, and prefix of the keys in custom_data.
RECORD_NAME = "hiwm"
_PREFIX = "hiwm."
# Version of messages and metadata in a bag. Bags of version 1 have no such key.
FORMAT = 2
_FORMAT_KEY = _PREFIX + "format"


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Origin of one bag. Texts are empty and numbers -1 where unknown."""

    session_id: str = ""
    episode_id: str = ""
    branch_id: str = ""
    epoch: int = -1
    part: int = 1  # 2 and up: recording stopped within the segment and resumed
    parent_branch_id: str = ""  # empty at the root of an episode
    fork_step: int = -1  # step of the parent branch at which this one starts
    started_from: str = ""  # Tick.started_from: where its episode began, if not at a world's start
    seed: int = -1
    world: str = ""  # imagination or hardware
    robot: str = ""
    stand_in: bool = False
    embodiment: str = ""
    embodiment_hash: str = ""
    embodiment_yaml: str = ""
    task: str = ""
    task_hash: str = ""
    task_yaml: str = ""
    world_checkpoint_hash: str = ""
    policies: str = ""  # comma-separated: name and first 8 digits of the checkpoint's hash
    software_version: str = ""
    # Control period, s: as commanded, and on hardware as measured from the ticks' stamps (5 %,
    # median, 95 %), known when the bag is closed.
    period_s: float = UNKNOWN
    measured_period_p5_s: float = UNKNOWN
    measured_period_s: float = UNKNOWN
    measured_period_p95_s: float = UNKNOWN
    joined_late: bool = False  # the recorder started while this segment ran
    recovered: bool = False  # rebuilt from a file that was never closed, or was damaged
    lost: str = ""  # of a recovered bag: what could not be recovered, as text

    def with_measured(self, period: ControlPeriod) -> Self:
        """Return the lineage with a measured control period."""
        return dataclasses.replace(
            self, measured_period_p5_s=period.p5_s, measured_period_s=period.median_s,
            measured_period_p95_s=period.p95_s,
        )

    @property
    def recorded_on(self) -> str:
        """What the bag was recorded on, as text: imagination, or the robot's name."""
        return recorded_on(self.world, self.robot, self.stand_in)

    def custom_data(self) -> dict[str, str]:
        """Return the fields as the text map that rosbag2 and MCAP store."""
        fields = {
            _PREFIX + item.name: _text(getattr(self, item.name))
            for item in dataclasses.fields(self)
        }
        return {_FORMAT_KEY: str(FORMAT), **fields}

    @classmethod
    def from_custom_data(cls, data: Mapping[str, str]) -> Self:
        """Return the lineage of a text map; unknown keys are ignored."""
        values: dict[str, Any] = {}
        for item in dataclasses.fields(cls):
            text = data.get(_PREFIX + item.name)
            if text is None:
                continue
            if isinstance(item.default, bool):
                values[item.name] = text == "true"
            elif isinstance(item.default, float):
                values[item.name] = float(text)
            elif isinstance(item.default, int):
                values[item.name] = int(text)
            else:
                values[item.name] = text
        return cls(**values)


def is_ours(data: Mapping[str, str]) -> bool:
    """Return whether a bag's text map has a lineage, of this version or an earlier one."""
    return any(_PREFIX + item.name in data for item in dataclasses.fields(Lineage))


def is_earlier(data: Mapping[str, str]) -> bool:
    """Return whether a bag's text map is that of an earlier version. False if it is not ours."""
    ours = any(key.startswith(_PREFIX) for key in data)
    return ours and data.get(_FORMAT_KEY, "1") == "1"


def require_present(data: Mapping[str, str], where: str) -> None:
    """Raise BagError if a bag's text map is that of an earlier or a later version."""
    if is_earlier(data):
        raise BagError("recorded by an earlier version of hiwm", where=where, remedy=MIGRATE)
    version = data.get(_FORMAT_KEY, str(FORMAT))
    if version != str(FORMAT):
        raise BagError(
            f"bag format {version}, this version reads {FORMAT}", where=where,
            remedy="read it with the hiwm version that recorded it, or a later one",
        )


def recorded_on(world: str, robot: str, stand_in: bool) -> str:
    """Return what something was recorded on, as text: imagination, or the robot's name."""
    if world != "hardware":
        return world or "unknown"
    return (robot or "hardware") + (" (stand-in)" if stand_in else "")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
