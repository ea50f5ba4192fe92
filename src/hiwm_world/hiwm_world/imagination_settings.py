"""The imagination node's parameters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rclpy.node import Node

from hiwm_core.config_files import default_task
from hiwm_core.tasks import Task, load_task
from hiwm_core.user_paths import user_path
from hiwm_learning.training_command import starts_file
from hiwm_nodes.parameters import parameter

MAX_RATE = 1000.0


@dataclass(frozen=True, kw_only=True)
class ImaginationSettings:
    """The node's parameters, by what they say; see their descriptions."""

    checkpoint: Path
    starts: Path  # start frames
    start: str  # where episodes begin if a reset names no start
    live_ns: str
    live_timeout_s: float
    task: Task
    rate: float  # ticks per second; 0 = as fast as commands arrive
    seed: int
    robot: str  # whose workspace bounds the actions; empty: none
    threads: int
    device: str

    @classmethod
    def declared(cls, node: Node) -> Self:
        """Declare the parameters of a node and return their values; raises ConfigError."""
        checkpoint = user_path(str(parameter(
            node, "checkpoint", "", "world-model file (.safetensors)"
        )))
        starts = str(parameter(
            node, "starts", "", "start frames; empty: <checkpoint>_starts.npz beside it"
        ))
        return cls(
            checkpoint=checkpoint,
            starts=user_path(starts) if starts
            else starts_file(checkpoint),
            start=str(parameter(
                node, "start", "", "where episodes begin if a reset names no start: the name of a "
                "start frame, bag:PATH@STEP, session:PATH@NODE or live; empty: start frames in turn"
            )),
            live_ns=str(parameter(
                node, "live_ns", "hiwm", "namespace of the robot's graph, for the start live"
            )),
            live_timeout_s=float(parameter(
                node, "live_timeout_s", 10.0,
                "longest wait for the robot, and for its streams [s]", 0.1, 60.0
            )),
            task=load_task(str(parameter(
                node, "task", default_task(), "name or path of the task"
            ))),
            rate=float(parameter(
                node, "rate", 10.0, "ticks per second; 0 = as fast as commands arrive", 0.0,
                MAX_RATE,
            )),
            seed=int(parameter(node, "seed", 0, "order of the start frames", 0, 2**31 - 1)),
            robot=str(parameter(
                node, "robot", "", "robot whose workspace bounds the actions; empty: none"
            )),
            threads=int(parameter(node, "threads", 1, "CPU threads of the model", 1, 64)),
            device=str(parameter(
                node, "device", "cpu", "where a latent world model runs: cpu or cuda"
            )),
        )
