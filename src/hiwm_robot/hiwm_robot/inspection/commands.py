"""Which controllers move which joints, from what was seen. Pure. Tested by ``test_inspection.py``.

A robot often offers several ways to move a joint. Each joint gets one: an active controller before
an inactive one, then in the order of `PREFERENCE`. The others are listed in the draft.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from hiwm_core.robots.outputs import ADAPTERS
from hiwm_robot.inspection.sightings import Controller, Sighting
from hiwm_robot.inspection.urdf_joints import UrdfFacts

# ROS type of a topic or action to the adapter that speaks it.
ADAPTER_OF = {spec.interface: name for name, spec in ADAPTERS.items()}
PREFERENCE = (
    "joint_trajectory", "float64_multi_array", "joint_group_command", "joint_single_command",
    "joint_state", "gripper_command", "parallel_gripper_command", "pose_stamped", "twist_stamped",
    "twist",
)
GRIPPER = re.compile(r"gripper|finger|jaw|knuckle|claw|carriage", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One way to move joints or a tool."""

    adapter: str
    address: str  # topic or action
    joints: tuple[str, ...] = ()  # the driver's names, in its order; empty for poses and twists
    known: bool = False  # the controller itself named its joints
    controller: Controller | None = None
    publishers: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        """Whether it moves anything now, as far as is known."""
        return self.controller is None or self.controller.state == "active"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The ways that the drafts use, and the others with the reason."""

    used: tuple[Command, ...]
    left: tuple[tuple[Command, str], ...]


def choose(sighting: Sighting, urdf: UrdfFacts) -> Choice:
    """Return the commands that the draft uses."""
    left: list[tuple[Command, str]] = []
    used: list[Command] = []
    taken: set[tuple[str, str]] = set()
    found = sorted(
        _commands(sighting, left),
        key=lambda c: (not c.active, PREFERENCE.index(c.adapter), c.address),
    )
    # Those whose joints are known first: the joints of the others are what is left.
    for command in sorted(found, key=lambda c: not c.known):
        drives = ADAPTERS[command.adapter].drives
        if drives in ("pose", "twist"):
            continue
        guessed = command if command.known else replace(
            command, joints=_guess(command, sighting, urdf, taken)
        )
        joints = {(origin(command.address, name, sighting), name) for name in guessed.joints}
        if not joints:
            left.append((guessed, "its joints are not known"))
        elif joints & taken:
            left.append((guessed, "its joints are commanded by another one above"))
        else:
            used.append(guessed)
            taken |= joints
    moves_arm = any(not all(map(is_gripper, command.joints)) for command in used)
    for command in found:
        if ADAPTERS[command.adapter].drives not in ("pose", "twist"):
            continue
        if moves_arm or not sighting.poses:
            left.append((command, "the arm is commanded by its joints" if moves_arm
                         else "no pose is published that would measure the tool"))
        else:
            used.append(command)
            moves_arm = True
    return Choice(used=tuple(used), left=tuple(left))


def origin(address: str, joint: str, sighting: Sighting) -> str:
    """Return the topic of joint states that measures a joint of a command; empty if none does.

    Arms may report joints of equal names on topics of their own: the more similar name counts.
    """
    topics = [topic.topic for topic in sighting.joint_topics if joint in topic.names]
    return max(topics, key=lambda topic: _shared(address, topic), default="")


def is_gripper(joint: str) -> bool:
    """Return whether a joint's name is that of a gripper."""
    return bool(GRIPPER.search(joint))


def _commands(sighting: Sighting, left: list[tuple[Command, str]]) -> list[Command]:
    found = []
    for topic in sighting.commands:
        command = Command(
            adapter=ADAPTER_OF[topic.type], address=topic.topic, publishers=topic.publishers
        )
        found.append(_asked(command, topic.subscribers, sighting))
    for action in sighting.actions:
        if action.type in ADAPTER_OF:
            command = Command(adapter=ADAPTER_OF[action.type], address=action.name)
            found.append(_asked(command, (action.node,), sighting))
    kept = []
    for command in found:
        interfaces = command.controller.interfaces if command.controller else ()
        if interfaces and not any(name.endswith("/position") for name in interfaces):
            left.append((command, f"takes {', '.join(interfaces)}: no positions"))
        elif (
            command.adapter == "float64_multi_array" and not command.known
            and "command" not in command.address
        ):
            left.append((command, "nothing says what its numbers are"))
        else:
            kept.append(command)
    return kept


def _asked(command: Command, nodes: Iterable[str], sighting: Sighting) -> Command:
    """Add what the node behind a topic or action, and its controller manager, say of it."""
    for node in nodes:
        controller = next(
            (one for one in sighting.controllers
             if node == f"{_folder(one.manager)}/{one.name}"
             or f"/{one.name}/" in f"{command.address}/"), None,
        )
        joints = sighting.parameters.get(node, ())
        if not joints and controller is not None:
            joints = tuple(dict.fromkeys(
                name.rpartition("/")[0] for name in controller.interfaces
                if name.endswith("/position")
            ))
        if joints or controller is not None:
            return replace(
                command, joints=joints, known=bool(joints), controller=controller
            )
    return command


def _guess(
    command: Command, sighting: Sighting, urdf: UrdfFacts, taken: set[tuple[str, str]]
) -> tuple[str, ...]:
    """Return the joints that a controller probably moves: those with the most similar path."""
    wants_gripper = ADAPTERS[command.adapter].one_joint
    free: list[tuple[int, str]] = []
    for topic in sighting.joint_topics:
        shared = _shared(command.address, topic.topic)
        for name in topic.names:
            follows = name in urdf.joints and bool(urdf.joints[name].mimics)
            mine = origin(command.address, name, sighting) == topic.topic
            free_joint = mine and (topic.topic, name) not in taken and not follows
            if free_joint and is_gripper(name) is wants_gripper:
                free.append((shared, name))
    if not free:
        return ()
    nearest = max(shared for shared, _ in free)
    names = tuple(dict.fromkeys(name for shared, name in free if shared == nearest))
    return names[:1] if wants_gripper else names


def _shared(one: str, other: str) -> int:
    """Return the number of leading parts that two names share."""
    pairs = zip(one.strip("/").split("/"), other.strip("/").split("/"), strict=False)
    count = 0
    for first, second in pairs:
        if first != second:
            break
        count += 1
    return count


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
