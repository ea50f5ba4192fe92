"""What was seen and drafted, in plain words. Pure. Tested by ``test_inspection.py``."""

import math
from collections.abc import Iterable

from hiwm_robot.inspection.layout import Layout
from hiwm_robot.inspection.sightings import Sighting, Stream

_APART_S = 0.5  # streams whose stamps differ by more do not share a clock


def summary(sighting: Sighting, layout: Layout) -> list[str]:
    """Return lines for the terminal."""
    lines = [f"Watched {len(sighting.nodes)} nodes for {sighting.seconds:.1f} s."]
    lines += _section("Joint states", (
        f"{topic.topic}, {_rate(topic.stream)}: {', '.join(topic.names) or 'no joints'}"
        + (" (in several messages)" if topic.partial else "") for topic in sighting.joint_topics
    ))
    lines += _section("Cameras", (
        f"{image.topic}, {_rate(image.stream)}, "
        + (f"{image.size[0]}x{image.size[1]} " if image.size else "")
        + (image.encoding or "no image came") + (f": {image.fault}" if image.fault else "")
        for image in sighting.images
    ))
    lines += _section("Poses", (
        f"{pose.topic}, {_rate(pose.stream)}, in {pose.frame or 'no frame'}"
        for pose in sighting.poses
    ))
    lines += _section("Commands, used in the draft", (
        f"{output.command.address} ({output.command.adapter}): "
        + (", ".join(output.command.joints) or output.group)
        + (f"; controller {output.command.controller.state}" if output.command.controller else "")
        for output in layout.outputs
    ))
    lines += _section("Commands, not used", (
        f"{command.address} ({command.adapter}): {why}" for command, why in layout.choice.left
    ))
    lines += _section("Look at", warnings(sighting, layout))
    return lines


def warnings(sighting: Sighting, layout: Layout) -> list[str]:
    """Return what is wrong or missing, for people."""
    found = list(sighting.notes)
    if not sighting.joint_topics:
        found.append("no joint states: are the drivers running, in this ROS domain?")
    if not layout.outputs:
        found.append("no command that moves joints or a tool: start the controllers")
    if not layout.cameras:
        found.append("no usable camera: start one")
    if sighting.clock:
        found.append("/clock is published: the robot is simulated, or a bag is played")
    streams: dict[str, Stream] = {topic.topic: topic.stream for topic in sighting.joint_topics}
    streams |= {image.topic: image.stream for image in sighting.images}
    streams |= {pose.topic: pose.stream for pose in sighting.poses}
    offsets = {}
    for topic, stream in streams.items():
        if stream.count and not stream.stamped:
            found.append(f"{topic}: stamps are zero or constant")
        elif stream.other_clock:
            found.append(
                f"{topic}: stamps are {stream.offset_s:+.1f} s from this machine's clock"
            )
        if stream.backward:
            found.append(f"{topic}: {stream.backward} messages out of order")
        if stream.stamped:
            offsets[topic] = stream.offset_s
    if offsets and max(offsets.values()) - min(offsets.values()) > _APART_S:
        late, early = min(offsets, key=offsets.__getitem__), max(offsets, key=offsets.__getitem__)
        found.append(
            f"the stamps of {late} and {early} are {offsets[early] - offsets[late]:.1f} s apart: "
            "they do not follow one clock"
        )
    for joints in sighting.joint_topics:
        found += [f"{joints.topic}: {fault}" for fault in sorted(joints.faults)]
        if len(joints.publishers) > 1:
            found.append(f"{joints.topic} has {len(joints.publishers)} publishers: "
                         f"{', '.join(joints.publishers)}")
    for command in sighting.commands:
        if len(command.publishers) > 1:
            found.append(
                f"two nodes publish on {command.topic}: {', '.join(command.publishers)}"
            )
    for output in layout.outputs:
        if len(output.command.publishers) == 1:
            found.append(
                f"{output.command.publishers[0]} publishes on {output.command.address}: stop it "
                "before the bridge starts"
            )
        if not output.command.active:
            assert output.command.controller is not None
            found.append(f"controller {output.command.controller.name} is "
                         f"{output.command.controller.state}")
    measured = {entry.observed for source in layout.sources for entry in source.entries}
    found += [
        f"no joint state measures {entry.observed}"
        for output in layout.outputs for entry in output.entries if entry.observed not in measured
    ]
    if layout.urdf.problem:
        found.append(layout.urdf.problem)
    return found


def _section(title: str, lines: Iterable[str]) -> list[str]:
    given = [f"  {line}" for line in lines]
    return ["", f"{title}:", *given] if given else []


def _rate(stream: Stream) -> str:
    if not stream.count:
        return "no message came"
    return f"{stream.rate_hz:.3g} Hz" if math.isfinite(stream.rate_hz) else "one message"
