"""Joint limits and links from the text of a URDF. Pure. Tested by ``test_inspection.py``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from xml.etree import ElementTree


@dataclass(frozen=True, kw_only=True)
class UrdfJoint:
    """One joint that can move."""

    unit: Literal["rad", "m"]
    lower: float | None = None  # None: turns without end, or no limit is given
    upper: float | None = None
    velocity: float | None = None  # unit/s
    mimics: str = ""  # joint that it follows


@dataclass(frozen=True, kw_only=True)
class UrdfFacts:
    """What the drafts use of a URDF."""

    joints: Mapping[str, UrdfJoint] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()  # links with a collision shape
    root: str = ""
    tips: tuple[str, ...] = ()  # links without children
    problem: str = ""  # why the text could not be read


def urdf_facts(text: str) -> UrdfFacts:
    """Return the facts of a URDF; empty, with the problem, if the text is not one."""
    if not text.strip():
        return UrdfFacts(problem="robot_description was not found")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        return UrdfFacts(problem=f"robot_description is not XML: {error}")
    joints: dict[str, UrdfJoint] = {}
    parents: set[str] = set()
    children: set[str] = set()
    for joint in root.findall("joint"):
        parents.add(_attribute(joint, "parent", "link"))
        children.add(_attribute(joint, "child", "link"))
        kind = joint.get("type", "")
        if kind not in ("revolute", "continuous", "prismatic"):
            continue
        ends = kind != "continuous"
        lower, upper = _limit(joint, "lower"), _limit(joint, "upper")
        ranged = ends and lower is not None and upper is not None and lower < upper
        joints[joint.get("name", "")] = UrdfJoint(
            unit="m" if kind == "prismatic" else "rad", lower=lower if ranged else None,
            upper=upper if ranged else None, velocity=_limit(joint, "velocity"),
            mimics=_attribute(joint, "mimic", "joint"),
        )
    links = tuple(link.get("name", "") for link in root.findall("link"))
    return UrdfFacts(
        joints=joints, links=links,
        shapes=tuple(
            link.get("name", "") for link in root.findall("link")
            if link.find("collision") is not None
        ),
        root=next((name for name in links if name not in children), ""),
        tips=tuple(name for name in links if name in children and name not in parents),
    )


def _attribute(joint: ElementTree.Element, child: str, name: str) -> str:
    element = joint.find(child)
    return "" if element is None else element.get(name, "")


def _limit(joint: ElementTree.Element, name: str) -> float | None:
    text = _attribute(joint, "limit", name)
    try:
        return float(text)
    except ValueError:
        return None
