"""The drafts of a robot file and of its driver launch file. Pure.

Tested by ``test_inspection.py``.
"""

import math
import re

from hiwm_core.robots.outputs import ADAPTERS
from hiwm_robot.inspection.embodiment_draft import CHECK, wrapped
from hiwm_robot.inspection.layout import Camera, Entry, Layout, Output, Source
from hiwm_robot.inspection.sightings import Flag, Sighting

# Interlocks that are known by the end of their topic: fine values, and whether they are latched.
_FINE = {
    "robot_program_running": ("[true]", True), "speed_scaling": ("{lower: 1, upper: 100}", False),
}
_ARRIVAL = "    stamps: arrival".ljust(34) + CHECK + "the driver's stamps are zero or constant"
_PLAIN = re.compile(r"[A-Za-z_][\w/.]*\Z")


def robot_draft(layout: Layout, sighting: Sighting, head: str) -> str:
    """Return the robot's YAML."""
    streams = [source.topic.stream for source in layout.sources]
    streams += [camera.topic.stream for camera in layout.cameras]
    rates = [s.rate_hz for s in streams if math.isfinite(s.rate_hz)]
    stale = max(0.5, 3.0 / min(rates)) if rates else 0.5
    lines = [
        *_comments(head),
        *_comments(
            "CHECK: who stops the arm. The bridge's stops are software and do not replace the "
            "robot's emergency stop: keep it in reach, and try it before the first policy"
        ),
        f"name: {layout.name}", "stand_in: false", f"embodiment: {layout.name}",
        f"pace: {'camera' if layout.cameras else 'timer'}",
        f"stale_after_s: {stale:.2g}".ljust(34)
        + CHECK + "a stream older than this stops the robot",
    ]
    if any(stream.other_clock for stream in streams):
        lines.append(
            "clock: own".ljust(34) + CHECK + "stamps differ from this machine's clock by "
            + f"{max((s.offset_s for s in streams if s.other_clock), key=abs):.1f} s: "
            "synchronise the clocks and remove this line, unless the robot is simulated"
        )
    if layout.sources:
        lines.append("joint_states:")
    elif not any(group.pose for group in layout.groups):
        lines.append("joint_states: {}".ljust(34) + CHECK + "none found")
    for source in layout.sources:
        lines += _source(source)
    poses = [group.pose for group in layout.groups if group.pose]
    if poses:
        lines += ["poses:", f"  tool: {{topic: {poses[0].topic}, frame: {poses[0].frame}}}"]
    lines.append("cameras:" if layout.cameras else "cameras: {}".ljust(34) + CHECK + "none found")
    for camera in layout.cameras:
        lines += _camera(camera)
    lines.append("outputs:" if layout.outputs else "outputs: {}".ljust(34) + CHECK + "none found")
    for output in layout.outputs:
        lines += _output(output)
    lines += _left(layout)
    lines += _controllers(layout)
    lines += _interlocks(sighting.flags)
    lines += [
        "activation:".ljust(34) + CHECK + "largest first step, and the time to blend in",
        "  jump: {rad: 0.2, m: 0.05, ratio: 1.0}", "  ramp_s: 1.0", *_workspace(layout),
    ]
    return "\n".join(lines) + "\n"


def launch_draft(layout: Layout, sighting: Sighting) -> str:
    """Return the driver launch file; it starts nothing."""
    nodes = "\n".join(f"      {name}" for name in sighting.nodes)
    return f"""<launch>
  <!--
    Drivers of {layout.name}. CHECK: this file starts nothing: start the drivers first, as you did
    for scripts/inspect. To start them with every session, write their nodes here:
      <node pkg="PACKAGE" exec="EXECUTABLE" name="NAME" on_exit="shutdown"/>
    These nodes were running:
{nodes}
  -->
</launch>
"""


def _comments(text: str) -> list[str]:
    return [f"# {line}" for line in wrapped(text)]


def _source(source: Source) -> list[str]:
    stream, topic = source.topic.stream, source.topic
    seen = f"{stream.rate_hz:.3g} Hz" + (", each message with some joints" if topic.partial else "")
    lines = [f"  {source.name}:  # {seen}", f"    topic: {topic.topic}"]
    if not stream.stamped:
        lines.append(_ARRIVAL)
    lines += [f"    # CHECK: {fault} was seen" for fault in sorted(topic.faults)]
    lines.append("    joints:")
    for entry in source.entries:
        seen_range = (
            f"seen {topic.lower[entry.observed]:.4g} to {topic.upper[entry.observed]:.4g}"
        )
        if entry.span is None:
            line = f"      {_name(entry.observed)}: {entry.name}"
            lines.append(f"{line.ljust(33)} # {seen_range}")
        else:
            lines.append(
                f"      {_name(entry.observed)}: {_gripper(entry.name, entry)}  "
                f"{CHECK}{entry.check}; {seen_range}"
            )
    return lines


def _gripper(joint: str, entry: Entry) -> str:
    assert entry.span is not None
    return f"{{joint: {_name(joint)}, shut: {entry.span[0]:g}, open: {entry.span[1]:g}}}"


def _camera(camera: Camera) -> list[str]:
    topic = camera.topic
    width, height = topic.size or (0, 0)
    side = min(width, height)
    lines = [
        f"  {camera.name}:  # {topic.stream.rate_hz:.3g} Hz, {topic.encoding}",
        f"    image: {topic.topic}",
    ]
    if camera.also:
        lines[-1] = lines[-1].ljust(34) + f"# also {camera.also}, with compressed: true"
    if topic.compressed:
        lines.append("    compressed: true")
    else:
        lines.append(f"    encodings: [{topic.encoding}]")
    if topic.info:
        lines.append(f"    info: {topic.info}")
    if not topic.stream.stamped:
        lines.append(_ARRIVAL)
    lines.append(f"    size: [{width}, {height}]")
    if width != height:
        lines.append(
            f"    crop: {{x: {(width - side) // 2}, y: {(height - side) // 2}, width: {side}, "
            f"height: {side}}}  {CHECK}the square that shows the task; rotate: 180 turns it"
        )
    return lines


def _output(output: Output) -> list[str]:
    command, adapter = output.command, ADAPTERS[output.command.adapter]
    state = command.controller.state if command.controller else ""
    lines = [f"  {output.name}:" + (f"  # controller {command.controller.name}, {state}"
                                    if command.controller else "")]
    lines += [
        f"    adapter: {command.adapter}",
        f"    {'action' if adapter.drives == 'gripper' else 'topic'}: {command.address}",
    ]
    if "group_name" in adapter.needs:
        lines.append("    group_name: arm".ljust(34) + CHECK + "the driver's name of the joints")
    if output.group:
        lines += [f"    group: {output.group}"]
        if "frame" in adapter.options:
            lines.append("    frame: base_link".ljust(34) + CHECK + "what the controller expects")
        if adapter.drives == "twist":
            lines.append("    # CHECK: full_scale, if its twists have no unit; tool_axes")
    else:
        if not command.known:
            lines.append(
                "    # CHECK: the controller did not say its joints"
                + (", nor their order, which an array needs"
                   if command.adapter == "float64_multi_array" else "")
            )
        lines.append("    joints:")
        for entry in output.entries:
            if entry.span is None:
                lines.append(f"      {entry.name}: {_name(entry.driver)}")
            else:
                lines.append(
                    f"      {entry.name}: {_gripper(entry.driver, entry)}  "
                    f"{CHECK}the command's own numbers, which may differ from those observed"
                )
    if output.rate_hz is not None:
        lines.append(f"    rate_hz: {output.rate_hz:g}")
    silence = {"twist": "zero", "gripper": "stop_sending"}.get(adapter.drives, "hold_last")
    lines.append(f"    silence: {silence}".ljust(34) + CHECK + "what the arm does without commands")
    if command.publishers:
        lines.append(
            f"    # CHECK: {', '.join(command.publishers)} publishes here too: stop it, or the "
            "bridge refuses to start"
        )
    if command.controller and not command.active:
        lines.append("    # CHECK: not active; the bridge prints the command that switches it")
    return lines


def _left(layout: Layout) -> list[str]:
    lines = [
        f"  # not used: {command.address} ({command.adapter}): {why}"
        for command, why in layout.choice.left
    ]
    if layout.unused_joints:
        lines += _comments(f"Joints that nothing commands here: {', '.join(layout.unused_joints)}")
    lines += [
        f"# Images not used: {image.topic}: {image.fault or 'no image came'}"
        for image in layout.unused_images
    ]
    return lines


def _controllers(layout: Layout) -> list[str]:
    managers: dict[str, list[str]] = {}
    for output in layout.outputs:
        if output.command.controller:
            one = output.command.controller
            managers.setdefault(one.manager, [])
            if one.name not in managers[one.manager]:
                managers[one.manager].append(one.name)
    if not managers:
        return []
    return ["controllers:", *(
        f"  - {{manager: {manager}, required: [{', '.join(names)}]}}"
        for manager, names in managers.items()
    )]


def _interlocks(flags: list[Flag]) -> list[str]:
    lines = _comments(
        "CHECK: topics that say that the robot must not move (emergency stop, protective stop, a "
        "mode, a program that ended), as interlocks; docs/robots.md has the form"
        + (". Candidates, with the value seen:" if flags else ". None was seen")
    )
    if flags:
        lines.append("# interlocks:")
    for flag in flags:
        name = flag.topic.strip("/").rpartition("/")[2]
        fine = _FINE.get(name, ("[false]" if flag.value is False else "[true]", flag.latched))[0]
        latched = ", latched: true" if flag.latched else ""
        lines.append(
            f"#   {name}: {{topic: {flag.topic}, type: {flag.type}, field: data, fine: {fine}"
            f"{latched}}}  # now {'unknown' if flag.value is None else str(flag.value).lower()}"
        )
    return lines


def _workspace(layout: Layout) -> list[str]:
    if layout.urdf.problem:
        return _comments(
            f"CHECK: {layout.urdf.problem}, so nothing keeps the links above the table. With a "
            "URDF, add a workspace as in docs/robots.md"
        )
    return [
        *_comments(
            "CHECK: the table and the box in which the links stay, then remove the marks. Links "
            f"with a shape: {', '.join(layout.urdf.shapes) or 'none'}"
        ),
        "# workspace:", f"#   urdf: ../urdf/{layout.name}.urdf", f"#   frame: {layout.urdf.root}",
        f"#   links: [{', '.join(layout.urdf.tips)}]", "#   table_z_m: 0.0",
        "#   clearance_m: 0.02",
    ]


def _name(text: str) -> str:
    """Return a name as YAML takes it."""
    words = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}
    return text if _PLAIN.match(text) and text.lower() not in words else f'"{text}"'
