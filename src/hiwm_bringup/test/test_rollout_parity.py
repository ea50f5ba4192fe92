"""Rollouts without a graph against the graph itself: frame by frame, action by action."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hiwm_core.bags import Segment, read_segment, session_bags
from hiwm_core.bags.task_labels import progress_labels
from hiwm_core.config_files import default_task
from hiwm_core.control import Source
from hiwm_core.embodiment import load_embodiment
from hiwm_core.ros_domains import domain_id
from hiwm_core.tasks import load_task
from hiwm_evaluation.rollout import setting as rollout
from hiwm_evaluation.trials import sampled_starts
from hiwm_robot import standin_robot
from hiwm_test_support.layered_worlds import write_drawn_checkpoint
from hiwm_test_support.policies import write_untrained_policy

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[3]
GUARD_S = 240.0  # hang guard: a busy machine takes a minute to import torch twice
TASK = load_task(default_task())
EMBODIMENT = load_embodiment(TASK.embodiment)
TRIALS, HORIZON, SEED = 3, 14, 11
FIRST_EPOCH = 2  # of the first trial: the world resets itself once before


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a world was at one step, and the action that led there."""

    frame: bytes
    joints: bytes
    action: bytes  # float32, as bags give them
    value: float  # probability of success, or progress


def run_graph(
    folder: Path, arguments: Mapping[str, Any]
) -> tuple[dict[int, list[Step]], dict[int, Any]]:
    """Return steps and results of an evaluation through the graph, by trial.

    Trials in which the policy did not answer every tick are left out: a graph that is busy for over
    a second holds for a step, and its episode is another one.
    """
    settings = {
        "trials": TRIALS, "horizon": HORIZON, "seed": SEED, "record": "true",
        "session_dir": folder, **arguments,
    }
    graph = subprocess.run(
        [
            sys.executable, "-m", "hiwm_bringup.launcher",
            str(ROOT / "launch" / "evaluate.launch.xml"),
            *(f"{name}:={value}" for name, value in settings.items()),
        ],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id())}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=GUARD_S, check=False,
    )
    assert graph.returncode == 0, graph.stdout
    found = {}
    for bag in session_bags(folder):
        segment = read_segment(bag)
        whole = segment.length > HORIZON and segment.steps[0] == 0
        if whole and (segment.source[:HORIZON] == Source.POLICY).all():
            found[segment.epoch - FIRST_EPOCH] = recorded_steps(segment)
    lines = (folder / "evaluation" / "trials.jsonl").read_text().splitlines()
    return found, {one["trial"]: one for one in map(json.loads, lines)}


def recorded_steps(segment: Segment) -> list[Step]:
    """Return the steps of a trial; the graph may have gone on for some more."""
    values = segment.success if segment.labels is None else progress_labels(segment, TASK)
    return [
        Step(
            frame=segment.observations["top"][i].tobytes(), joints=segment.proprio[i].tobytes(),
            action=segment.actions[i - 1].tobytes() if i else b"", value=float(values[i]),
        )
        for i in range(HORIZON + 1)
    ]


def run_rollout(world: rollout.RolloutWorld, policy: Path, model: Path) -> dict[int, Any]:
    """Return the results of the same trials without a graph."""
    torch.set_num_threads(1)
    setting = rollout.Setting(
        world=world, task=TASK.name, policies=(policy,), seed=SEED, horizon=HORIZON,
        starts=tuple(sampled_starts(TASK, SEED, TRIALS)), batch=1, world_checkpoint=model,
        threshold=0.5 if world is rollout.RolloutWorld.IMAGINATION else TASK.success_progress,
        start_frames=model.with_name(model.stem + "_starts.npz"),
    )
    found = rollout.trials(setting, [(0, number) for number in range(TRIALS)])
    return {
        result.trial: json.loads(json.dumps(vars(result)))
        for _, result in found
    }


def assert_same(
    graph: tuple[dict[int, list[Step]], dict[int, Any]], steps: Sequence[Sequence[Step]],
    results: Mapping[int, Any],
) -> None:
    episodes, graphs_results = graph
    assert episodes, "the graph held in every trial: the machine was too busy to compare"
    for trial, seen in episodes.items():
        for step, (one, other) in enumerate(zip(seen, steps[trial], strict=True)):
            differing = [name for name in vars(one) if vars(one)[name] != vars(other)[name]]
            assert not differing, f"trial {trial} step {step}: other {', '.join(differing)}"
        mine, graphs = ({**one, "seconds": 0.0} for one in (results[trial], graphs_results[trial]))
        assert mine == graphs


def test_imagination_gives_the_bytes_of_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, model = write_untrained_policy(tmp_path, EMBODIMENT), write_drawn_checkpoint(tmp_path)
    graph = run_graph(tmp_path / "session", {
        "world": "imagination", "policy_checkpoint": policy, "world_checkpoint": model,
    })
    episodes: list[list[Step]] = []
    load_simulator = rollout.load_simulator

    class Watched:
        def __init__(self, simulator: Any) -> None:
            self._simulator = simulator
            self.cameras = simulator.cameras

        def __getattr__(self, name: str) -> Any:
            return getattr(self._simulator, name)

        def _keep(self, state: Any, action: NDArray[np.float64]) -> None:
            seen = self._simulator.observe(state)
            episodes[-1].append(Step(
                frame=seen.image.tobytes(), joints=seen.proprioception.astype(np.float32).tobytes(),
                action=action.astype(np.float32).tobytes(), value=seen.success,
            ))

        def begin(self, *arguments: Any) -> Any:
            state = self._simulator.begin(*arguments)
            episodes.append([])
            self._keep(state, np.empty(0))
            return state

        def step_many(self, states: Any, actions: Any) -> Any:
            following, limited = self._simulator.step_many(states, actions)
            self._keep(following[0], limited[0].action)
            return following, limited

    def watched(*arguments: Any) -> Any:
        simulator, checkpoint = load_simulator(*arguments)
        return Watched(simulator), checkpoint

    monkeypatch.setattr(rollout, "load_simulator", watched)
    results = run_rollout(rollout.RolloutWorld.IMAGINATION, policy, model)
    assert_same(graph, episodes, results)


def test_the_stand_in_gives_the_episodes_of_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = write_untrained_policy(tmp_path, EMBODIMENT)
    graph = run_graph(tmp_path / "session", {
        "world": "hardware", "robot": "standin", "policy_checkpoint": policy,
    })
    episodes: list[list[Step]] = []

    class Watched(standin_robot.StandinRobot):
        def _keep(self, action: Sequence[float]) -> None:
            episodes[-1].append(Step(
                frame=self.scene.render().tobytes(),
                joints=self.scene.joint_positions.astype(np.float32).tobytes(),
                action=np.array(action, np.float32).tobytes(),
                value=TASK.stand_in().progress(self.scene.truth),
            ))

        def place(self, *arguments: Any) -> dict[str, float]:
            placed = super().place(*arguments)
            episodes.append([])
            self._keep([])
            return placed

        def take(self, action: Any) -> str:
            self.action = action
            return super().take(action)

        def advance(self, seconds: float | None = None) -> None:
            super().advance(seconds)
            self._keep(self.action)

    monkeypatch.setattr(standin_robot, "StandinRobot", Watched)
    results = run_rollout(rollout.RolloutWorld.STAND_IN, policy, tmp_path / "none.safetensors")
    assert_same(graph, episodes, results)
