"""The draft of an embodiment and of a task. Pure. Tested by ``test_inspection.py``."""

from hiwm_robot.inspection.layout import Entry, Group, Layout

CHECK = "# CHECK: "


def embodiment_draft(layout: Layout, head: str) -> str:
    """Return the embodiment's YAML."""
    lines = [
        *_comments(head),
        f"name: {layout.name}",
        f"frame: {layout.frame}".ljust(30) + CHECK + "base of the robot: x forward, y left, z up",
        f"rate_hz: {layout.rate_hz:g}".ljust(30)
        + CHECK + "control steps per second; the first camera's rate, or a part of it",
        *_comments(
            "CHECK: limits of every joint, with the table and the cell in mind; home, which is "
            "where the robot stood. Speeds start low: raise them when you trust the policy. "
            "docs/embodiments.md says how to choose max_following_error"
        ),
    ]
    if not layout.groups:
        lines += ["groups: []".ljust(30) + CHECK + "no command of the robot was found"]
    else:
        lines.append("groups:")
    for group in layout.groups:
        lines += _group(group)
    lines += [
        "# In any order, and not only positions: {field: velocity, unit: rad/s} is one more line",
        "proprioception:" if layout.groups else "proprioception: []",
    ]
    for group in layout.groups:
        lines += _proprioception(group)
    if not layout.cameras:
        lines.append("cameras: []".ljust(30) + CHECK + "no camera was found; one is needed")
        return "\n".join(lines) + "\n"
    lines += ["cameras:".ljust(30) + CHECK + "the first one is shown in summaries"]
    lines += [
        f"  - {{name: {camera.name}, width: {camera.side}, height: {camera.side}, encoding: rgb8}}"
        for camera in layout.cameras
    ]
    return "\n".join(lines) + "\n"


def task_draft(layout: Layout, head: str) -> str:
    """Return the task's YAML."""
    return "\n".join([
        *_comments(head),
        f"name: {layout.name}_task",
        "instruction: say here what the robot does".ljust(50) + CHECK + "in words",
        f"embodiment: {layout.name}",
        f"horizon_steps: {round(30 * layout.rate_hz)}".ljust(50)
        + CHECK + "longest episode in control steps; this is 30 s",
        "judge: person",
        "reset: put everything where the start says".ljust(50)
        + CHECK + "what a person does before an episode",
        "starts:",
        "  ranges: {}".ljust(50) + CHECK + "what a person measures, such as cup_x_m: [-0.1, 0.1]",
    ]) + "\n"


def wrapped(text: str, width: int = 98) -> list[str]:
    """Return a text in lines of a comment."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) + 3 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _comments(text: str) -> list[str]:
    return [f"# {line}" for line in wrapped(text)]


def _group(group: Group) -> list[str]:
    lines = [f"  - name: {group.name}", f"    arm: {group.arm}", f"    kind: {group.kind}"]
    if group.kind == "ee_position":
        frame = group.pose.frame if group.pose else ""
        lines += [
            "    rotation: 6d", f"    frame: {frame or 'base_link'}".ljust(30) + CHECK
            + "frame in which the tool is commanded",
            "    tip: tool0".ljust(30) + CHECK + "the frame that is moved",
            "    measured: {source: pose, pose: tool}",
        ]
    else:
        lines.append("    measured: {source: joint_states}")
    return [*lines, "    entries:", *(_line(entry, group) for entry in group.entries)]


def _line(entry: Entry, group: Group) -> str:
    turn = group.kind == "ee_position" and entry.unit == "rad"
    fields = [f"name: {entry.name}"]
    if group.kind != "ee_position":
        fields.append(f"joint: {entry.name}")
    fields.append('unit: "1"' if entry.unit == "1" else f"unit: {entry.unit}")
    if not turn:
        fields += [f"lower: {entry.lower:g}", f"upper: {entry.upper:g}", f"home: {entry.home:g}"]
    fields += [
        f"max_velocity: {entry.velocity:g}", f"max_acceleration: {entry.acceleration:g}",
        f"max_following_error: {entry.following:g}",
    ]
    line = f"      - {{{', '.join(fields)}}}"
    of_driver = entry.span is not None  # a gripper's ratio: the driver's numbers are elsewhere
    return f"{line}  {CHECK}{entry.check}" if entry.check and not of_driver else line


def _proprioception(group: Group) -> list[str]:
    if group.kind != "ee_position":
        return [
            f"  - {{name: {entry.name}, joint: {entry.name}, field: position, "
            + ('unit: "1"}' if entry.unit == "1" else f"unit: {entry.unit}}}")
            for entry in group.entries
        ]
    names = [(entry.name, entry.unit) for entry in group.entries[:3]]
    names += [(f"{group.entries[3].name}_{part}", '"1"')
              for part in ("r11", "r21", "r31", "r12", "r22", "r32")]
    return [f"  - {{name: {name}, action: {name}, unit: {unit}}}" for name, unit in names]
