"""Compare what cameras show with what a world model was trained on, before a session.

    scripts/check_view models/world_TASK.safetensors live
    scripts/check_view models/world_TASK.safetensors bag:PATH@STEP -o view.png

Says whether a camera has moved, the light has changed, the scene differs, or there are things that
the model cannot draw, and writes a picture. Exit code 0 if nothing is unusual, 3 if something is.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node

from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.errors import ConfigError, HiwmError
from hiwm_core.output_folders import check_output_file
from hiwm_core.recorded_starts import ObservedStart, bag_start
from hiwm_core.start_places import BagStep, LiveRobot, start_place
from hiwm_core.tasks import load_task
from hiwm_core.user_paths import path_argument
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.training_command import starts_file
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.simulators import WorldSimulator
from hiwm_learning.world_models.view_check import ViewCheck
from hiwm_learning.world_models.view_check_picture import draw_view_check, is_view_check
from hiwm_world.imagined_world import Starts, load_starts
from hiwm_world.live_start import live_start

PICTURE = "view_check.png"
UNUSUAL = 3  # exit code
LIVE_TIMEOUT_S = 10.0


class StartCheck:
    """Checks what was seen against a model's start frames; learns what is usual at first use.

    Args:
        simulator: of the model.
        starts: its start frames.
    """

    def __init__(self, simulator: WorldSimulator[Any], starts: Starts) -> None:
        self._simulator, self._starts = simulator, starts
        self._check: ViewCheck | None = None

    def look(self, seen: ObservedStart, picture: Path | None) -> list[str]:
        """Return what is unusual, a line each, and write the picture."""
        if self._check is None:
            self._check = ViewCheck(
                self._simulator, self._starts.images, self._starts.proprioception
            )
        findings = self._check.look(seen.images, seen.proprioception)
        if picture is not None:
            draw_view_check(findings, picture)
        return [
            f"camera {finding.camera}: {problem}"
            for finding in findings for problem in finding.problems
        ]


def check_picture(path: Path, inputs: Sequence[Path] = ()) -> None:
    """Raise ConfigError if the picture would replace something else, or meets an input."""
    check_output_file(path, "a picture of a view check", is_view_check, inputs=inputs)


def main(words: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/check_view", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=path_argument, help="world model")
    parser.add_argument("view", help="live, or bag:PATH@STEP")
    parser.add_argument(
        "--output", "-o", type=path_argument, default=Path(PICTURE), help="picture, .png"
    )
    parser.add_argument("--task", help="name or path of the task (default: the checkpoint's)")
    parser.add_argument("--live-ns", default="hiwm", help="namespace of the robot's graph")
    options = parser.parse_args(words)
    try:
        return _run(options)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    place = start_place(options.view, "view")
    if not isinstance(place, BagStep | LiveRobot):
        raise ConfigError(
            f"{options.view!r} is not a view", where="view", remedy="give live or bag:PATH@STEP"
        )
    read = [options.checkpoint, starts_file(options.checkpoint)]
    check_picture(options.output, [*read, place.bag] if isinstance(place, BagStep) else read)
    task = load_task(options.task or load_checkpoint(options.checkpoint).info.task)
    embodiment = load_embodiment(task.embodiment)
    simulator, _ = load_simulator(options.checkpoint, embodiment)
    starts = load_starts(starts_file(options.checkpoint), task)
    seen = (
        bag_start(place, embodiment, simulator.cameras) if isinstance(place, BagStep)
        else _live(options.live_ns, embodiment, simulator.cameras)
    )
    lines = StartCheck(simulator, starts).look(seen, options.output)
    print("\n".join(lines or ["nothing unusual"]))
    print(f"{options.output}: the picture")
    return UNUSUAL if lines else 0


def _live(namespace: str, embodiment: Embodiment, cameras: Sequence[str]) -> ObservedStart:
    with rclpy.init():
        node = Node("check_view")
        try:
            return live_start(node, namespace, embodiment, cameras, LIVE_TIMEOUT_S)
        finally:
            node.destroy_node()


if __name__ == "__main__":
    sys.exit(main())
