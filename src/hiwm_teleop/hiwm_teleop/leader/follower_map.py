"""The mapping from a leader's joints, or its tip, to action entries.

What is followed are channels [K]: the led entries, and those of each led tip (`LedTip`). Pure.
Tested by ``test_leader_mapping.py``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_core.config_files import nearest
from hiwm_core.embodiment import ActionEntry, Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.tips import TIP_AXES
from hiwm_teleop.leader.following import FollowedEntry
from hiwm_teleop.leader.joint_angles import JointAngle
from hiwm_teleop.leader.leader_file import GRIPPER, ArmFile, LeaderFile, PlanarFile
from hiwm_teleop.leader.led_tip import LedTip

Array = NDArray[np.float64]

# A leader at rest moves less than this: three servo counts as an angle, their effect at the end of
# a 30 cm arm, and their effect on a gripper's opening.
_NOISE = {"rad": 0.005, "m": 0.0015, "1": 0.01}


@dataclass(frozen=True, kw_only=True)
class Led:
    """One channel: an action entry, or a number of a rotation, and the joint that leads it."""

    index: int  # in the action array; of a rotation, its first entry
    arm: str  # of the leader
    name: str  # of the leader's joint, for messages
    unit: str


class FollowerMap:
    """Converts a leader's joints to channels, and channels to action entries.

    Args:
        leader: the device file.
        embodiment: of the world.
        where: name of the device file, for messages.

    Raises:
        ConfigError: a joint is missing in the embodiment, has another unit, or is led twice.
    """

    def __init__(self, leader: LeaderFile, embodiment: Embodiment, where: str) -> None:
        self._arms = leader.arms
        self._embodiment = embodiment
        self._where = where
        self.led: list[Led] = []
        self._tips: dict[str, tuple[LedTip, int]] = {}  # by arm, with the tip's first channel
        for arm_name, arm in leader.arms.items():
            for name, driven, units in _driven(arm):
                self._lead(arm_name, name, driven, units)
        for arm_name, arm in leader.arms.items():
            if arm.tip is not None:
                tip = LedTip(arm, arm.tip, embodiment, f"{where}: arms.{arm_name}.tip")
                self._lead_tip(arm_name, tip)
        if not self.led:
            raise ConfigError(
                "no joint drives anything", where=where, remedy="add drives: to the joints"
            )
        self._range = [
            (embodiment.actions[led.index].lower, embodiment.actions[led.index].upper)
            for led in self.led
        ]
        tips = sum(tip.channels for tip, _ in self._tips.values())
        self._entries = np.array([led.index for led in self.led[:len(self.led) - tips]], dtype=int)

    def begin(self, action: Array) -> None:
        """Begin to follow with the follower at [A]."""
        for tip, _ in self._tips.values():
            tip.begin(action)

    def following(self, action: Array) -> Array:
        """Return the channels [K] of the follower at [A]."""
        return np.concatenate([
            action[self._entries], *(tip.following(action) for tip, _ in self._tips.values())
        ])

    def put(self, channels: Array, action: Array) -> None:
        """Set the led entries of an action [A] to channels [K]."""
        action[self._entries] = channels[:len(self._entries)]
        for tip, first in self._tips.values():
            tip.put(channels[first:first + tip.channels], action)

    def entries(self, leader: LeaderFile) -> list[FollowedEntry]:
        """Return the channels for `Following`, [K]."""
        found = []
        for led in self.led:
            entry = self._embodiment.actions[led.index]
            guard = {"rad": leader.guard.rad, "m": leader.guard.m}.get(led.unit, math.inf)
            turns = led.unit != entry.unit  # the rotation vector of a 6D rotation
            found.append(FollowedEntry(
                arm=led.arm, lower=-math.inf if turns else entry.lower,
                upper=math.inf if turns else entry.upper,
                max_velocity=entry.max_velocity, noise=_NOISE[led.unit],
                guard=math.inf if led.name == GRIPPER else guard,
                # As in hiwm_core.limits: an arm's entries in m are one vector, a rotation another.
                vector=entry.arm if led.unit == "m" else f"{entry.arm} turn" if turns else "",
            ))
        return found

    def values(self, angles: Mapping[str, Mapping[str, JointAngle]]) -> Array:
        """Return the leader's channels, [K], in the follower's units.

        Args:
            angles: by arm and joint.
        """
        found: list[float] = []
        for arm_name, arm in self._arms.items():
            here = angles[arm_name]
            for name, joint in arm.joints.items():
                if joint.drives:
                    found.append(joint.scale * here[name].rad + joint.offset_rad)
            if arm.gripper and arm.gripper.drives:
                lower, upper = self._range[len(found)]
                opening = here[GRIPPER].share
                share = opening if arm.gripper.closed == "lower" else 1.0 - opening
                found.append(lower + share * (upper - lower))
            if arm.planar:
                found += planar_end(arm.planar, here)
        return np.concatenate([
            found, *(tip.leading(angles[arm]) for arm, (tip, _) in self._tips.items())
        ])

    def _lead(self, arm: str, name: str, driven: str, units: tuple[str, ...]) -> None:
        embodiment, where = self._embodiment, f"{self._where}: arms.{arm}.{name}"
        joints = embodiment.action_joints
        known = [joint for joint in joints if joint]
        if driven not in known:
            raise ConfigError(
                f"embodiment {embodiment.name} has no joint {driven!r}", where=where,
                remedy=f"it has {', '.join(known) or 'none'}{nearest(driven, known)}: correct "
                "drives, or use a device made for this embodiment",
            )
        index = joints.index(driven)
        entry: ActionEntry = embodiment.actions[index]
        if entry.unit not in units:
            raise ConfigError(
                f"joint {driven!r} of embodiment {embodiment.name} is in {entry.unit}, but "
                f"{name} gives {units[0]}", where=where,
                remedy="drive a joint with that unit, or an x and y in m through planar:",
            )
        if any(led.index == index for led in self.led):
            raise ConfigError(
                f"joint {driven!r} is driven twice", where=where, remedy="drive it once"
            )
        self.led.append(Led(index=index, arm=arm, name=name, unit=entry.unit))


    def _lead_tip(self, arm: str, tip: LedTip) -> None:
        where = f"{self._where}: arms.{arm}.tip.drives"
        if any(other.group.name == tip.group.name for other, _ in self._tips.values()):
            raise ConfigError(
                f"end effector {tip.group.name!r} is driven twice", where=where,
                remedy="drive it once",
            )
        self._tips[arm] = (tip, len(self.led))
        for number, name in enumerate(TIP_AXES[:3]):
            self.led.append(Led(index=tip.group.start + number, arm=arm, name=name, unit="m"))
        turning = {"none": (), "yaw": ("yaw",), "6d": TIP_AXES[3:]}[tip.group.rotation]
        for name in turning:
            self.led.append(Led(
                index=tip.group.rotation_slice.start, arm=arm, name=name, unit="rad"
            ))


def planar_end(planar: PlanarFile, angles: Mapping[str, JointAngle]) -> list[float]:
    """Return x and y of the end of a planar chain of joints, m."""
    x, y = planar.base_m
    heading = 0.0
    for joint, link in zip(planar.joints, planar.links_m, strict=True):
        heading += angles[joint].rad
        x += link * math.cos(heading)
        y += link * math.sin(heading)
    return [x, y]


def _driven(arm: ArmFile) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return leader joint, follower joint and accepted units, in the order of `values`."""
    found = [(name, joint.drives, ("rad",)) for name, joint in arm.joints.items()]
    driven: list[tuple[str, str, tuple[str, ...]]] = [
        (name, drives, units) for name, drives, units in found if drives
    ]
    if arm.gripper and arm.gripper.drives:
        driven.append((GRIPPER, arm.gripper.drives, ("1", "m", "rad")))
    if arm.planar:
        driven += [("planar", drives, ("m",)) for drives in arm.planar.drives]
    return driven
