"""What keeps a robot from being activated: clocks that disagree, and other nodes that command it.

Tested by ``test_activation_checks.py``.
"""

from collections.abc import Iterable, Mapping, Sequence

# Times before this, in 2001, are not wall time but simulated time, or time since boot.
_FIRST_WALL_NS = 10**18

# Name of a node whose publisher was discovered before the node itself (rmw_fastrtps).
UNKNOWN_NODE = "_NODE_NAME_UNKNOWN_"


def clock_problem(
    stamps_ns: Mapping[str, int], now_ns: int, *, tolerance_s: float, age_s: float,
    simulated: bool,
) -> str:
    """Return why drivers' stamps do not follow the bridge's clock, or an empty string.

    Args:
        stamps_ns: newest stamp of each stream.
        now_ns: the bridge's clock.
        tolerance_s: greatest difference of the clocks.
        age_s: how old a fresh stream may be.
        simulated: the bridge follows /clock.
    """
    if simulated and now_ns == 0:
        return "use_sim_time is set, but nothing is published on /clock: start the simulation"
    for stream, stamp in stamps_ns.items():
        ahead_s = (stamp - now_ns) * 1e-9
        if -tolerance_s - age_s <= ahead_s <= tolerance_s:
            continue
        if simulated and stamp >= _FIRST_WALL_NS > now_ns:
            return (
                f"{stream} is stamped with wall time, but the bridge follows /clock: start its "
                "driver with use_sim_time"
            )
        if not simulated and stamp < _FIRST_WALL_NS <= now_ns:
            return (
                f"{stream} is stamped {stamp * 1e-9:.1f} s, which is not wall time: start the "
                "bridge with use_sim_time, or set clock: own or stamps: arrival in the robot file"
            )
        direction = "ahead of" if ahead_s > 0 else "behind"
        return (
            f"{stream} is stamped {abs(ahead_s):.2f} s {direction} the bridge's clock: synchronise "
            "the machines' clocks, or set clock: own or stamps: arrival in the robot file"
        )
    return ""


def publisher_problem(
    publishers: Mapping[str, Iterable[tuple[str, str]]], own: tuple[str, str]
) -> str:
    """Return which other nodes publish on command topics, or an empty string.

    Args:
        publishers: namespace and name of each publisher's node, by topic.
        own: namespace and name of the bridge. A second bridge is refused as a second world; a
            killed one may still be listed under the same name.

    A publisher whose node is not known yet is left out: on a busy machine it may be the bridge's
    own. The next check knows its name.
    """
    for topic, nodes in publishers.items():
        known = {
            f"{space.rstrip('/')}/{name}" for space, name in nodes if name != UNKNOWN_NODE
        }
        others = sorted(known - {f"{own[0].rstrip('/')}/{own[1]}"})
        if others:
            return (
                f"{', '.join(others)} also publishes on {topic}: stop it, or the robot gets two "
                "commands"
            )
    return ""


def controller_problem(
    manager: str, required: Iterable[str], states: Mapping[str, str]
) -> str:
    """Return which required controllers are not active and how to switch them; empty if none.

    Args:
        manager: name of the controller manager.
        required: names of controllers.
        states: state of each controller that the manager lists.
    """
    names = list(required)
    absent = [name for name in names if name not in states]
    if absent:
        return (
            f"{manager} has no controller {', '.join(absent)}: load it with ros2 control "
            f"load_controller --set-state active -c {manager} {absent[0]}"
        )
    inactive = [name for name in names if states[name] != "active"]
    if inactive:
        found = ", ".join(f"{name} is {states[name]}" for name in inactive)
        return (
            f"{found}: run ros2 control switch_controllers -c {manager} --activate "
            f"{' '.join(inactive)}"
        )
    return ""


def order_problem(output: str, sent: Sequence[str], controller: str, joints: Sequence[str]) -> str:
    """Return why an array would reach the wrong joints, or an empty string.

    Args:
        output: its name in the robot file.
        sent: driver's joints in the order of the array.
        controller: name of the controller's node.
        joints: its parameter of that name; empty if it has none.
    """
    if not joints or list(sent) == list(joints):
        return ""
    return (
        f"outputs.{output} sends {', '.join(sent)}, but the joints of {controller} are "
        f"{', '.join(joints)}: write the output's joints in this order"
    )
