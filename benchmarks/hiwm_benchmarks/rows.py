"""The rows of the benchmark, and their bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured number and its bounds.

    Args:
        key: name in --rows and JSON.
        text: description in the table.
        unit: of the number and its bounds.
        at_least: bound that must be met.
        aim: bound to aim for.
        higher_is_better: whether the bounds are lower bounds.
        run: name of the run that measures it.
    """

    key: str
    text: str
    unit: str
    at_least: float
    aim: float
    higher_is_better: bool = False
    run: str


FLAT, PACED, STANDIN = "imagination_flat", "imagination_paced", "standin_fast"
ROPE, TOWEL = "route_rope_fast", "fold_towel_fast"
CONSOLE_PAGE, CONSOLE_COST = "console_page", "console_cost"
CONSOLE_CAMERAS = "console_cameras"
SPACEMOUSE, LEADER = "spacemouse", "leader"
CONTINUED = "imagination_continued"
ROLLOUTS, EXPORTS = "rollouts", "exports"
ARM_CHECKS = "arm_checks"
BRIDGE_OUTPUTS = "bridge_outputs"
THREE_CAMERAS = "three_cameras"
POLICY_SERVER = "policy_server"
EXECUTORS = "executors"
LARGE_TREE = "large_tree"
INVERSE_KINEMATICS, TIP_COMMANDS, HEADSET = "inverse_kinematics", "tip_commands", "headset"

ROWS = (
    Row(key="imagination_rate", text="whole graph in imagination, rate 0, policy in the loop",
        unit="ticks/s", at_least=12, aim=25, higher_is_better=True, run=FLAT),
    Row(key="state_size", text="state saved per tick: size", unit="KB", at_least=200, aim=50,
        run=FLAT),
    Row(key="state_time", text="state saved per tick: time, p50", unit="ms", at_least=3, aim=1,
        run=FLAT),
    Row(key="memory", text="whole graph, resident memory (PSS)", unit="GB", at_least=3, aim=1.5,
        run=FLAT),
    Row(key="tick_interval", text="tick interval at rate 10, p99", unit="ms", at_least=120,
        aim=105, run=PACED),
    Row(key="takeover", text="takeover: ticks from operator command to the world's step, worst",
        unit="ticks", at_least=1, aim=1, run=PACED),
    Row(key="rollback_p50", text="rollback, service call to the first frame, p50", unit="ms",
        at_least=60, aim=20, run=PACED),
    Row(key="rollback_p99", text="rollback, service call to the first frame, p99", unit="ms",
        at_least=150, aim=50, run=PACED),
    Row(key="standin_speed", text="stand-in graph in fast mode, scripted operator",
        unit="x real time", at_least=5, aim=15, higher_is_better=True, run=STANDIN),
    Row(key="bridge_processor",
        text="stand-in graph in fast mode: processor time of the bridge per tick", unit="ms",
        at_least=1.81, aim=1.73, run=STANDIN),
    Row(key="rope_speed", text="Route Rope on the stand-in, 128 px, fast mode, scripted operator",
        unit="x real time", at_least=2.5, aim=4, higher_is_better=True, run=ROPE),
    Row(key="towel_speed", text="Fold Towel on the stand-in, 128 px, fast mode, scripted operator",
        unit="x real time", at_least=1.5, aim=2.5, higher_is_better=True, run=TOWEL),
    Row(key="console_key", text="console: key press to the changed frame in the page, rate 10, p95",
        unit="ms", at_least=250, aim=130, run=CONSOLE_PAGE),
    Row(key="console_opening", text="console: page with a tree of 2,000 states opens",
        unit="ms", at_least=2000, aim=500, run=CONSOLE_PAGE),
    Row(key="console_rollback", text="console: rollback click to frame, 2,000 states, p95",
        unit="ms", at_least=500, aim=200, run=CONSOLE_PAGE),
    Row(key="large_tree_opening",
        text="console: page opens on the present state of a tree of 1,000,000 states", unit="s",
        at_least=2, aim=1, run=LARGE_TREE),
    Row(key="large_tree_rollback",
        text="rollback in a tree of 1,000,000 states, call to the first frame, p50", unit="ms",
        at_least=20, aim=10, run=LARGE_TREE),
    Row(key="console_cost", text="console with two viewers: loss of tick rate at rate 0",
        unit="%", at_least=15, aim=5, run=CONSOLE_COST),
    Row(key="console_cameras",
        text="console, four 640x480 cameras at 15 Hz, one viewer: loss of tick rate",
        unit="%", at_least=15, aim=5, run=CONSOLE_CAMERAS),
    Row(key="spacemouse_command", text="SpaceMouse report to operator command, p95",
        unit="ms", at_least=15, aim=5, run=SPACEMOUSE),
    Row(key="device_loss", text="loss of the device in control to the pause, worst", unit="s",
        at_least=0.5, aim=0.25, run=SPACEMOUSE),
    Row(key="takeover_frame", text="deadman pressed to the first frame that shows it, p95",
        unit="ms", at_least=250, aim=130, run=SPACEMOUSE),
    Row(key="leader_reads", text="leader arm: readings of 7 servos through their library",
        unit="1/s", at_least=100, aim=500, higher_is_better=True, run=LEADER),
    Row(key="leader_command", text="leader arm movement to operator command, p95",
        unit="ms", at_least=30, aim=15, run=LEADER),
    Row(key="leader_loss", text="loss of the leader arm in control to the pause, worst", unit="s",
        at_least=0.5, aim=0.25, run=LEADER),
    Row(key="inverse_kinematics", text="inverse kinematics of two 6-DoF arms, p99", unit="ms",
        at_least=3, aim=1, run=INVERSE_KINEMATICS),
    Row(key="tip_command",
        text="gamepad to operator command, joint arms by inverse kinematics, p95", unit="ms",
        at_least=15, aim=6, run=TIP_COMMANDS),
    Row(key="headset", text="headset pose to operator command over loopback, joint arms, p95",
        unit="ms", at_least=25, aim=12, run=HEADSET),
    Row(key="policy_server",
        text="policy server over loopback, three 224 px images: beyond the server's time, p95",
        unit="ms", at_least=15, aim=6, run=POLICY_SERVER),
    Row(key="continuations", text="16 continuations of a state, 50 steps each, against one",
        unit="x", at_least=8, aim=4, run=CONTINUED),
    Row(key="rollout_rate", text="rollouts in the layered world, batch 64, policy included",
        unit="steps/s", at_least=1000, aim=3000, higher_is_better=True, run=ROLLOUTS),
    Row(key="export_rate", text="export to LeRobot v3.0, one 128 px camera, H.264",
        unit="frames/s", at_least=300, aim=1000, higher_is_better=True, run=EXPORTS),
    Row(key="limits_and_collisions",
        text="limits, workspace and collision check of two 6-DoF arms, p99",
        unit="ms", at_least=2, aim=0.5, run=ARM_CHECKS),
    Row(key="bridge_command",
        text="bridge: command to controller's message, camera running, p99",
        unit="ms", at_least=8, aim=4, run=BRIDGE_OUTPUTS),
    Row(key="output_jitter", text="bridge: interpolated output at 100 Hz, jitter p99",
        unit="ms", at_least=5, aim=2, run=BRIDGE_OUTPUTS),
    Row(key="three_cameras",
        text="three 640x480 cameras, 30 Hz, tick 15 Hz: bridge and recorder",
        unit="cores", at_least=1.2, aim=0.8, run=THREE_CAMERAS),
    Row(key="three_cameras_lost", text="three 640x480 cameras, 30 Hz, tick 15 Hz: lost frames",
        unit="frames", at_least=0, aim=0, run=THREE_CAMERAS),
    Row(key="executor", text="a node's executor, joint states at 100 Hz: processor time of one",
        unit="ms", at_least=0.5, aim=0.3, run=EXECUTORS),
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The result of a row."""

    value: float
    details: Mapping[str, Any] = field(default_factory=dict)


def verdict(row: Row, value: float) -> str:
    """Return "aim", "yes" or "no"; "no" for a number that could not be measured."""
    if math.isnan(value):
        return "no"
    sign = 1.0 if row.higher_is_better else -1.0
    if sign * value >= sign * row.aim:
        return "aim"
    return "yes" if sign * value >= sign * row.at_least else "no"


def quantile(values: Sequence[float], level: float) -> float:
    """Return the quantile at a level from 0 to 1, by nearest rank; NaN without values."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(level * len(ordered)) - 1)]


def table(results: Mapping[str, Measured]) -> str:
    """Return the measured rows as lines of text."""
    lines = [f"{'':66} {'measured':>10} {'at least':>9} {'aim':>6}  met"]
    for row in ROWS:
        if row.key not in results:
            continue
        result = results[row.key]
        shown = "none" if math.isnan(result.value) else f"{result.value:.3g}"
        text = f"{row.text} [{row.unit}]"
        lines.append(
            f"{text:66} {shown:>10} {row.at_least:>9g} {row.aim:>6g}  "
            f"{verdict(row, result.value)}"
        )
        noted = ", ".join(f"{key} {_brief(value)}" for key, value in result.details.items())
        if noted:
            lines.append(f"    {noted}")
    return "\n".join(lines)


def as_json(results: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Return the measured rows as JSON values; NaN becomes null."""
    return [
        {
            **asdict(row),
            "measured": None if math.isnan(results[row.key].value) else results[row.key].value,
            "met": verdict(row, results[row.key].value),
            "details": {
                key: None if isinstance(value, float) and math.isnan(value) else value
                for key, value in results[row.key].details.items()
            },
        }
        for row in ROWS if row.key in results
    ]


def _brief(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
