"""What the files of a robot should say, from what was seen. Pure. Tested by ``test_inspection.py``.

Whatever cannot be known from watching gets a value with which nothing fast or far can happen, and a
check for a person.
"""

import math
import re
from dataclasses import dataclass

from hiwm_core.robots.outputs import ADAPTERS
from hiwm_robot.inspection.commands import Choice, Command, choose, is_gripper, origin
from hiwm_robot.inspection.sightings import ImageTopic, JointTopic, PoseTopic, Sighting
from hiwm_robot.inspection.urdf_joints import UrdfFacts, urdf_facts

RATE_HZ = 15.0  # control rate of the paper's robot; higher ones are rarely useful
_SLOW = {"rad": 0.5, "m": 0.1}  # first speeds, unit/s
_ACCELERATION = {"rad": 5.0, "m": 1.0}  # unit/s^2
_FOLLOWING = {"rad": 0.2, "m": 0.02}
_AROUND = {"rad": 0.1, "m": 0.02}  # how far beyond what was seen a joint without limits may go
_TURN = 6.2832
# Gripper whose range was not seen: so narrow that it does not move.
_NARROW = 0.001
_VIEW = 96  # side of the embodiment's images [px]
_GENERIC = {"image_raw", "image", "compressed", "color", "rgb", "image_color", "image_rect"}
_POSITIONS_HZ = 50.0  # of outputs whose controller does not interpolate


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of an action group, and its joint at the driver."""

    name: str  # of the entry and of the embodiment's joint
    driver: str
    observed: str  # the driver's joint that measures it
    source: str  # topic that measures it, if its name is ambiguous; else empty
    unit: str
    lower: float
    upper: float
    home: float
    velocity: float
    acceleration: float
    following: float
    span: tuple[float, float] | None = None  # of a gripper: the driver's value shut and open
    check: str = ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """One action group."""

    name: str
    arm: str
    kind: str
    entries: tuple[Entry, ...]
    pose: PoseTopic | None = None  # of an end effector


@dataclass(frozen=True, kw_only=True)
class Output:
    """One controller."""

    name: str
    command: Command
    entries: tuple[Entry, ...] = ()
    group: str = ""
    rate_hz: float | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """One topic of joint states, with the entries it measures."""

    name: str
    topic: JointTopic
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One camera."""

    name: str
    topic: ImageTopic
    also: str = ""  # the same camera's other topic

    @property
    def side(self) -> int:
        """Width and height of the embodiment's image [px]."""
        return min(_VIEW, *(self.topic.size or (_VIEW, _VIEW)))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """All that the drafts say."""

    name: str
    frame: str
    rate_hz: float
    groups: tuple[Group, ...]
    outputs: tuple[Output, ...]
    sources: tuple[Source, ...]
    cameras: tuple[Camera, ...]
    unused_joints: tuple[str, ...]
    unused_images: tuple[ImageTopic, ...]
    choice: Choice
    urdf: UrdfFacts


def layout(sighting: Sighting, name: str) -> Layout:
    """Return what the drafts of a robot with a name say."""
    urdf = urdf_facts(sighting.urdf)
    choice = choose(sighting, urdf)
    cameras, unused_images = _cameras(sighting.images)
    rate = _rate(cameras)
    groups, outputs = _groups(choice, sighting, urdf, rate)
    entries = [entry for group in groups for entry in group.entries if entry.observed]
    sources = _sources(sighting, entries)
    measured = {entry.observed for entry in entries}
    return Layout(
        name=name, frame=urdf.root or next(
            (group.pose.frame for group in groups if group.pose and group.pose.frame), "base_link"
        ),
        rate_hz=rate, groups=tuple(groups), outputs=tuple(outputs), sources=sources,
        cameras=cameras,
        unused_joints=tuple(dict.fromkeys(
            joint for topic in sighting.joint_topics for joint in topic.names
            if joint not in measured
        )),
        unused_images=unused_images, choice=choice, urdf=urdf,
    )


def plain_name(text: str) -> str:
    """Return a text as a name of letters, digits and underscores."""
    name = re.sub(r"\W+", "_", text).strip("_") or "robot"
    return f"_{name}" if name[0].isdigit() else name


def _rate(cameras: tuple[Camera, ...]) -> float:
    """Return a control rate of which the slowest camera's is a multiple, `RATE_HZ` or less."""
    rates = [camera.topic.stream.rate_hz for camera in cameras]
    rates = [rate for rate in rates if math.isfinite(rate)]
    if not rates:
        return RATE_HZ
    slowest = min(rates)
    parts = max(1, math.ceil(slowest / RATE_HZ - 0.1))
    return max(1.0, float(round(2.0 * slowest / parts)) / 2.0)


def _groups(
    choice: Choice, sighting: Sighting, urdf: UrdfFacts, rate_hz: float
) -> tuple[list[Group], list[Output]]:
    arms = _arms(choice.used)
    several = {
        joint for command in choice.used for joint in command.joints
        if sum(joint in other.joints for other in choice.used) > 1
    }
    groups: list[Group] = []
    outputs: list[Output] = []
    for command, arm in zip(choice.used, arms, strict=True):
        adapter = ADAPTERS[command.adapter]
        if adapter.drives in ("pose", "twist"):
            group = _tool(sighting.poses[0], arm, rate_hz)
            groups.append(group)
            outputs.append(Output(
                name=arm, command=command, group=group.name,
                rate_hz=100.0 if adapter.drives == "twist" else _POSITIONS_HZ,
            ))
            continue
        entries = [
            _entry(
                joint, f"{arm}_" if joint in several else "",
                origin(command.address, joint, sighting) if joint in several else "",
                sighting, urdf, rate_hz,
            )
            for joint in command.joints
        ]
        for kind in ("joint_position", "gripper"):
            of_kind = tuple(e for e in entries if (e.span is not None) is (kind == "gripper"))
            if of_kind:
                name = arm if kind == "joint_position" else (
                    "gripper" if len(set(arms)) == 1 else f"{arm}_gripper"
                )
                groups.append(Group(name=name, arm=arm, kind=kind, entries=of_kind))
        last = groups[-1]
        interpolates = command.adapter == "joint_trajectory" or adapter.drives == "gripper"
        # In the order of the controller, also if the action has the gripper last.
        outputs.append(Output(
            name=last.name if len({e.span is None for e in entries}) == 1 else arm,
            command=command, entries=tuple(entries),
            rate_hz=None if interpolates else _POSITIONS_HZ,
        ))
    return groups, outputs


def _arms(commands: tuple[Command, ...]) -> list[str]:
    """Return the arm of each command: one arm, or left and right by names, or numbered."""
    sides = []
    for command in commands:
        words = re.split(r"[^a-z0-9]+", f"{command.address}/{'/'.join(command.joints)}".lower())
        sides.append("left" if "left" in words and "right" not in words
                     else "right" if "right" in words and "left" not in words else "")
    if {"left", "right"} <= set(sides):
        return [side or "arm" for side in sides]
    folders = list(dict.fromkeys(_namespace(command.address) for command in commands
                                 if not all(map(is_gripper, command.joints))))
    if len(folders) <= 1:
        return ["arm"] * len(commands)
    return [
        f"arm_{folders.index(folder) + 1}" if (folder := _namespace(command.address)) in folders
        else "arm_1" for command in commands
    ]


def _namespace(address: str) -> str:
    """Return the first part of a name with more parts than a controller's own two."""
    parts = address.strip("/").split("/")
    return parts[0] if len(parts) > 2 else ""


def _entry(
    driver: str, prefix: str, source: str, sighting: Sighting, urdf: UrdfFacts, rate_hz: float
) -> Entry:
    observed = _observed(driver, sighting)
    low, high, last = _seen(observed, source, sighting)
    known = urdf.joints.get(driver) or urdf.joints.get(observed)
    name = prefix + plain_name(driver)
    if is_gripper(driver):
        ends = known if known is not None and known.lower is not None else None
        if ends is not None and ends.lower is not None and ends.upper is not None:
            shut, wide, why = ends.lower, ends.upper, "from the URDF's limits"
        elif high - low > _NARROW:
            shut, wide, why = low, high, "the range seen"
        else:
            shut, wide, why = low, low + _NARROW, "it did not move: so narrow that it stays"
        return Entry(
            name=name, driver=driver, observed=observed, source=source, unit="1", lower=0.0,
            upper=1.0, home=1.0, velocity=2.0, acceleration=40.0, following=max(1.0, 2.0 / rate_hz),
            span=(_round(shut), _round(wide)),
            check=f"{why}; which end is open, and its unit",
        )
    unit = known.unit if known is not None else "rad"
    if known is not None and known.lower is not None and known.upper is not None:
        lower, upper, check = known.lower, known.upper, ""
    elif known is not None:
        lower, upper, check = -_TURN, _TURN, "turns without end in the URDF"
    else:
        lower, upper = low - _AROUND[unit], high + _AROUND[unit]
        check = "limits are the range seen and a little more; no URDF says the unit"
    lower, upper = _round(lower), _round(upper)
    velocity = min(_SLOW[unit], known.velocity) if known and known.velocity else _SLOW[unit]
    return Entry(
        name=name, driver=driver, observed=observed, source=source, unit=unit, lower=lower,
        upper=upper, home=min(max(_round(last), lower), upper), velocity=_round(velocity),
        acceleration=_ACCELERATION[unit],
        following=max(_FOLLOWING[unit], _round(1.01 * velocity / rate_hz)), check=check,
    )


def _tool(pose: PoseTopic, arm: str, rate_hz: float) -> Group:
    """Return an end effector that stays within a few centimetres of where it was seen."""
    around = 0.05
    entries = [
        Entry(
            name=f"{arm}_{axis}", driver="", observed="", source="", unit="m",
            lower=_round(value - around), upper=_round(value + around), home=_round(value),
            velocity=_SLOW["m"], acceleration=_ACCELERATION["m"],
            following=max(0.05, _round(1.01 * _SLOW["m"] / rate_hz)),
            check=f"{around:g} m around the position seen" if axis == "x" else "",
        )
        for axis, value in zip("xyz", pose.position, strict=True)
    ]
    entries.append(Entry(
        name=f"{arm}_turn", driver="", observed="", source="", unit="rad", lower=0.0, upper=0.0,
        home=0.0, velocity=_SLOW["rad"], acceleration=_ACCELERATION["rad"],
        following=_FOLLOWING["rad"],
    ))
    return Group(name=arm, arm=arm, kind="ee_position", entries=tuple(entries), pose=pose)


def _observed(driver: str, sighting: Sighting) -> str:
    """Return the joint that measures a commanded one; grippers may report under another name."""
    names = [name for topic in sighting.joint_topics for name in topic.names]
    if driver in names or not is_gripper(driver):
        return driver
    return next((name for name in names if is_gripper(name)), driver)


def _seen(joint: str, source: str, sighting: Sighting) -> tuple[float, float, float]:
    """Return the smallest, largest and last position of a joint; zeros if it was not seen."""
    for topic in sighting.joint_topics:
        if joint in topic.last and source in ("", topic.topic):
            return topic.lower[joint], topic.upper[joint], topic.last[joint]
    return 0.0, 0.0, 0.0


def _sources(sighting: Sighting, entries: list[Entry]) -> tuple[Source, ...]:
    """Return for each joint the topic that carries most of the joints, then the fastest."""
    def measures(topic: JointTopic, entry: Entry) -> bool:
        return entry.observed in topic.last and entry.source in ("", topic.topic)

    def worth(topic: JointTopic) -> tuple[int, float]:
        rate = topic.stream.rate_hz
        count = sum(measures(topic, entry) for entry in entries)
        return count, rate if math.isfinite(rate) else 0.0

    left = list(entries)
    found: list[Source] = []
    for topic in sorted(sighting.joint_topics, key=worth, reverse=True):
        mine = tuple(entry for entry in left if measures(topic, entry))
        if mine:
            left = [entry for entry in left if entry not in mine]
            found.append(Source(
                name="joints" if not found else plain_name(topic.topic), topic=topic, entries=mine
            ))
    return tuple(found)


def _cameras(images: list[ImageTopic]) -> tuple[tuple[Camera, ...], tuple[ImageTopic, ...]]:
    """Return the usable cameras, raw before compressed, and the topics left out."""
    usable = [image for image in images if not image.fault and image.size is not None]
    raw = {image.topic: image for image in usable if not image.compressed}
    cameras: list[Camera] = []
    also: set[str] = set()
    for image in usable:
        base = image.topic.removesuffix("/compressed")
        if image.compressed and base in raw:
            also.add(image.topic)
            continue
        other = f"{image.topic}/compressed"
        twin = not image.compressed and any(one.topic == other for one in usable)
        name, n = _camera_name(image.topic), 1
        while any(camera.name == name for camera in cameras):
            n += 1
            name = f"{_camera_name(image.topic)}_{n}"
        cameras.append(Camera(name=name, topic=image, also=other if twin else ""))
    used = {camera.topic.topic for camera in cameras} | also
    return tuple(cameras), tuple(image for image in images if image.topic not in used)


def _camera_name(topic: str) -> str:
    parts = [part for part in topic.strip("/").split("/") if part not in _GENERIC]
    telling = [part for part in parts if part != "camera"]
    return plain_name((telling or parts or ["camera"])[-1])


def _round(value: float) -> float:
    return round(value, 4)
