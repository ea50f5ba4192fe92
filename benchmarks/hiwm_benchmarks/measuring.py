"""The runs of the graph, and the measurements of each."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hiwm_interfaces.msg import Command

from hiwm_core.blob_store import BlobStore
from hiwm_core.errors import HiwmError
from hiwm_core.ros_domains import domain_id
from hiwm_core.stamps import stamp_ns

from . import console
from .arm_checks import measure_arm_checks
from .bridge_outputs import measure_bridge_outputs
from .console_cameras import measure_console_cameras
from .continuations import continued
from .executors import measure_executors
from .exports import measure_exports
from .graph import Graph
from .headset import measure_headset
from .large_tree import measure_large_tree
from .leader import measure_leader
from .policy_server import measure_policy_server
from .rollouts import measure_rollouts
from .rows import (
    ARM_CHECKS,
    BRIDGE_OUTPUTS,
    CONSOLE_CAMERAS,
    CONSOLE_COST,
    CONSOLE_PAGE,
    CONTINUED,
    EXECUTORS,
    EXPORTS,
    FLAT,
    HEADSET,
    INVERSE_KINEMATICS,
    LARGE_TREE,
    LEADER,
    PACED,
    POLICY_SERVER,
    ROLLOUTS,
    ROPE,
    SPACEMOUSE,
    STANDIN,
    THREE_CAMERAS,
    TIP_COMMANDS,
    TOWEL,
    Measured,
    quantile,
)
from .spacemouse import measure_spacemouse
from .three_cameras import measure_three_cameras
from .tips import measure_inverse_kinematics, measure_tip_commands
from .watcher import Watcher

ROLLBACK_STEPS = 5


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of all runs."""

    launch_file: Path
    folder: Path  # for the sessions and logs of the runs
    seconds: float  # duration of rate measurements
    repeats: int  # rollbacks to measure; a third as many takeovers, a tenth as many continuations
    more: Mapping[str, str]  # further launch arguments


def measure(run: str, options: Options) -> dict[str, Measured]:
    """Return the rows of one run.

    Raises:
        HiwmError: the graph did not start, or exited.
    """
    if run in _OTHERS:
        return _OTHERS[run](
            options.launch_file, options.folder, max(2, options.repeats // 3), options.more
        )
    arguments, watch = _RUNS[run]
    session = options.folder / run
    domain = domain_id()
    everything = {"session_dir": str(session), **arguments, **options.more}
    log = options.folder / f"{run}.log"
    with (
        Graph(options.launch_file, everything, domain, log) as graph,
        Watcher(graph, domain, everything.get("ns", "hiwm")) as watcher,
    ):
        return watch(graph, watcher, session, options)


def _flat(
    graph: Graph, watcher: Watcher, session: Path, options: Options
) -> dict[str, Measured]:
    watcher.until_running(Command.SOURCE_POLICY)
    used = graph.processor_time()
    received = watcher.watch(options.seconds)
    graph.check()
    used = {node: total - used.get(node, 0.0) for node, total in graph.processor_time().items()}
    resident, proportional, nodes = graph.memory()
    store = BlobStore(session / "states")
    sizes = [
        float(store.state_size(tick.state_id)) for _, tick in received[:300] if tick.state_id
    ]
    total = store.size()
    world = next(
        (values for name, values in watcher.values.items() if name.endswith("/imagination")), {}
    )
    by_policy = sum(tick.applied_source == Command.SOURCE_POLICY for _, tick in received)
    return {
        "imagination_rate": Measured(
            value=_rate([at for at, _ in received]),
            details={
                "ticks": len(received), "by the policy": by_policy,
                "seconds": round(options.seconds, 1), "world step s": world.get("step_s", ""),
                # Other load on the machine changes these little.
                **{
                    f"{node} cpu ms/tick": 1e3 * spent / max(1, len(received))
                    for node, spent in sorted(used.items())
                },
            },
        ),
        "state_size": Measured(
            value=max(sizes, default=math.nan) / 1e3,
            details={"median": quantile(sizes, 0.5) / 1e3,
                     "on disk per state": total.bytes / max(1, total.states) / 1e3},
        ),
        "state_time": Measured(
            value=1e3 * float(world.get("save_p50_s", math.nan)),
            details={"p99": 1e3 * float(world.get("save_p99_s", math.nan))},
        ),
        "memory": Measured(
            value=proportional,
            details={"sum of RSS": resident, **{k: round(v) for k, v in sorted(nodes.items())}},
        ),
    }


def _has_ticks(watcher: Watcher, ticks: int) -> bool:
    return len(watcher.ticks) >= ticks


def _paced(
    graph: Graph, watcher: Watcher, session: Path, options: Options
) -> dict[str, Measured]:
    watcher.until_running(Command.SOURCE_POLICY)
    stamps = [stamp_ns(tick.header.stamp) / 1e6 for _, tick in watcher.watch(options.seconds)]
    intervals = [b - a for a, b in zip(stamps, stamps[1:], strict=False)]
    takeovers = []
    for _ in range(max(1, options.repeats // 3)):
        takeovers.append(watcher.take_over())
        count = len(watcher.ticks) + 3
        watcher.until(partial(_has_ticks, watcher, count), "ticks after a handback")
    rollbacks = []
    for _ in range(options.repeats):
        count = len(watcher.ticks) + ROLLBACK_STEPS + 1
        watcher.until(partial(_has_ticks, watcher, count), "ticks after a rollback")
        rollbacks.append(1e3 * watcher.roll_back(ROLLBACK_STEPS))
    ticks = [float(count) for count, _ in takeovers]
    waits = [1e3 * wait for _, wait in takeovers]
    return {
        "tick_interval": Measured(
            value=quantile(intervals, 0.99),
            details={"p50": quantile(intervals, 0.5), "worst": max(intervals, default=math.nan),
                     "ticks": len(stamps)},
        ),
        "takeover": Measured(
            value=max(ticks),
            details={"p50 ms": quantile(waits, 0.5), "worst ms": max(waits),
                     "takeovers": len(waits)},
        ),
        "rollback_p50": Measured(value=quantile(rollbacks, 0.5), details={"n": len(rollbacks)}),
        "rollback_p99": Measured(
            value=quantile(rollbacks, 0.99), details={"worst": max(rollbacks)}
        ),
    }


def _standin(
    key: str, graph: Graph, watcher: Watcher, session: Path, options: Options
) -> dict[str, Measured]:
    watcher.until_running(Command.SOURCE_POLICY)
    used = graph.processor_time()
    received = watcher.watch(options.seconds)
    used = {node: total - used.get(node, 0.0) for node, total in graph.processor_time().items()}
    if len(received) < 2:
        raise HiwmError("no ticks", where=str(graph.log), remedy="read that file")
    rate = _rate([at for at, _ in received])
    simulated = (
        stamp_ns(received[-1][1].header.stamp) - stamp_ns(received[0][1].header.stamp)
    ) / 1e9
    wall = received[-1][0] - received[0][0]
    sources = {
        name: sum(tick.applied_source == source for _, tick in received)
        for name, source in (("policy", Command.SOURCE_POLICY), ("human", Command.SOURCE_HUMAN))
    }
    per_tick = {node: 1e3 * spent / len(received) for node, spent in sorted(used.items())}
    speed = Measured(
        value=simulated / wall, details={"ticks/s": rate, "seconds": wall, **sources,
            **{f"{node} cpu ms/tick": spent for node, spent in per_tick.items()},
        }
    )
    bridge = Measured(
        value=per_tick.get("robot_bridge", math.nan), details={"ticks": len(received)}
    )
    return {key: speed, **({"bridge_processor": bridge} if key == "standin_speed" else {})}


def _continued(
    graph: Graph, watcher: Watcher, session: Path, options: Options
) -> dict[str, Measured]:
    return continued(watcher, max(3, options.repeats // 10))


def _rate(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else math.nan


# Runs that start their own processes, or none.
_OTHERS = {
    SPACEMOUSE: measure_spacemouse, LEADER: measure_leader, ROLLOUTS: measure_rollouts,
    EXPORTS: measure_exports,
    ARM_CHECKS: measure_arm_checks, INVERSE_KINEMATICS: measure_inverse_kinematics,
    TIP_COMMANDS: measure_tip_commands, HEADSET: measure_headset,
    CONSOLE_CAMERAS: measure_console_cameras,
    POLICY_SERVER: measure_policy_server,
    BRIDGE_OUTPUTS: measure_bridge_outputs, THREE_CAMERAS: measure_three_cameras,
    EXECUTORS: measure_executors,
    LARGE_TREE: measure_large_tree,
}
_Watch = Callable[[Graph, Watcher, Path, Options], dict[str, Measured]]
_FAST = {
    "world": "hardware", "fast": "true", "device": "scripted",
    # Large, so that the session does not end during the measurement.
    "failures": "1000", "max_seconds": "3600.0",
}
_RUNS: Mapping[str, tuple[Mapping[str, str], _Watch]] = {
    FLAT: ({"world": "imagination", "rate": "0.0", "device": "none"}, _flat),
    PACED: ({"world": "imagination", "rate": "10.0", "device": "none"}, _paced),
    CONSOLE_PAGE: (
        {"world": "imagination", "rate": "0.0", "device": "none", "view": "false",
         "console": "true", "console_port": "0"},
        console.page,
    ),
    CONSOLE_COST: (
        {"world": "imagination", "rate": "0.0", "device": "none", "view": "false"}, console.cost,
    ),
    CONTINUED: (
        {"world": "imagination", "rate": "10.0", "device": "none"}, _continued
    ),
    STANDIN: ({**_FAST, "robot": "standin"}, partial(_standin, "standin_speed")),
    ROPE: ({**_FAST, "robot": "yam_pair", "task": "route_rope"}, partial(_standin, "rope_speed")),
    TOWEL: ({**_FAST, "robot": "yam_pair", "task": "fold_towel"}, partial(_standin, "towel_speed")),
}
