"""The evaluator in its own process over DDS; the test is world, arbiter and policy."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from hiwm_interfaces.msg import (
    Command,
    ControlState,
    EvaluationStatus,
    GroundTruth,
    PolicyPlan,
    Tick,
    WorldInfo,
)
from hiwm_interfaces.srv import ControlRequest, LabelTrial, Reset
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from hiwm_core.config_files import default_task
from hiwm_core.ros_domains import domain_id
from hiwm_core.tasks import load_task
from hiwm_evaluation.evaluation_messages import Request, RequestKind
from hiwm_evaluation.trial_requests import TrialRequests
from hiwm_nodes import qos
from hiwm_nodes.messages import time_message
from hiwm_test_support.nodes import NodeProcess, spin_until

pytestmark = pytest.mark.nodes

TASK = load_task(default_task())
HORIZON = 8


class Graph(Node):
    """A graph in which trials with an even seed succeed at step 4 and others never succeed."""

    def __init__(self, context: Context, **info: Any) -> None:
        super().__init__("graph", context=context)
        self.executor_of_graph = SingleThreadedExecutor(context=context)
        self.executor_of_graph.add_node(self)
        self.resets: list[Reset.Request] = []
        self.silent_seeds: set[int] = set()
        self._mode = ControlState.POLICY
        self._epoch, self._step = 1, 0
        fields = {
            "kind": "imagination", "auto_reset": True, "lockstep": True, "task": TASK.name,
            "task_yaml": TASK.text, "task_hash": TASK.hash, "checkpoint_hash": "abc",
            "heads": ["progress", "success", "trust"],
        }
        self.info = WorldInfo(**(fields | info))
        self._info = self.create_publisher(WorldInfo, "world_info", qos.LATCHED)
        self._ticks = self.create_publisher(Tick, "tick", qos.TICK)
        self._state = self.create_publisher(ControlState, "control_state", qos.LATCHED)
        self._truth = self.create_publisher(GroundTruth, "driver/ground_truth", qos.TICK)
        self.create_publisher(PolicyPlan, "policy/plan", qos.TICK)
        self.create_service(ControlRequest, "control/request", self._on_request)
        self.create_service(Reset, "world/reset", self._on_reset)
        self.create_timer(0.02, self._on_time)
        self.status = EvaluationStatus()
        self.create_subscription(
            EvaluationStatus, "evaluation/status", self._on_status, qos.LATCHED
        )
        self._info.publish(self.info)

    def _on_request(
        self, request: ControlRequest.Request, response: ControlRequest.Response
    ) -> ControlRequest.Response:
        started = request.request == ControlRequest.Request.START
        self._mode = ControlState.POLICY if started else ControlState.PAUSED
        response.ok, response.mode = True, self._mode
        self._state.publish(ControlState(mode=self._mode, epoch=self._epoch, step=self._step))
        return response

    def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        assert self._mode == ControlState.PAUSED
        self.resets.append(request)
        self._epoch, self._step = self._epoch + 1, 0
        response.ok, response.epoch = True, self._epoch
        self._publish(Command.SOURCE_NONE)
        return response

    def _on_time(self) -> None:
        if self._mode != ControlState.POLICY or not self.resets:
            return
        if self.resets[-1].seed in self.silent_seeds and self._step >= 2:
            return
        self._step += 1
        self._publish(Command.SOURCE_POLICY)

    def _publish(self, source: int) -> None:
        won = self._step == 4 and self.resets[-1].seed % 2 == 0
        stamp = time_message(1_000_000_000 * self._epoch + 1_000_000 * self._step)
        imagined = self.info.kind == "imagination"
        tick = Tick(
            epoch=self._epoch, step=self._step, applied_source=source,
            applied_device="push 12345678", success=(0.9 if won else 0.1) if imagined else math.nan,
        )
        tick.header.stamp = stamp
        self._ticks.publish(tick)
        if not imagined:
            names = TASK.stand_in().truth_names  # the last one is the progress
            values = [0.0] * (len(names) - 1) + [0.9 if won else 0.3]
            truth = GroundTruth(names=names, values=values)
            truth.header.stamp = stamp
            self._truth.publish(truth)

    def _on_status(self, message: EvaluationStatus) -> None:
        self.status = message

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        client = self.create_client(kind, name)
        assert self.wait(client.service_is_ready)
        future = client.call_async(kind.Request(**fields))
        assert self.wait(future.done)
        self.destroy_client(client)
        return future.result()

    def wait(self, predicate: Callable[[], bool]) -> bool:
        """Spin until the condition is true; the long timeout only guards against hangs."""
        return spin_until(self.executor_of_graph, predicate, 60.0)


@pytest.fixture(params=[{}], ids=[""])
def graph(request: pytest.FixtureRequest) -> Iterator[tuple[Graph, int]]:
    domain = domain_id()
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    try:
        graph = Graph(context, **request.param)
        yield graph, domain
        graph.destroy_node()
    finally:
        rclpy.shutdown(context=context)


def evaluator(domain: int, output: Path, **changes: Any) -> NodeProcess:
    parameters = {
        "output_dir": str(output), "trials": 4, "horizon": HORIZON, "seed": 10,
        "tick_timeout_s": 20.0,
    }
    return NodeProcess(
        "hiwm_evaluation", "evaluator", domain=domain, parameters=parameters | changes
    )


def run_to_end(graph: Graph, process: NodeProcess) -> tuple[int, str]:
    assert graph.wait(lambda: process.process.poll() is not None), process.output
    return process.wait(), process.output


def outcomes(output: Path) -> dict[int, str]:
    lines = (output / "trials.jsonl").read_text().splitlines()
    return {line["trial"]: line["outcome"] for line in map(json.loads, lines)}


EVERY_OTHER = {0: "success", 1: "failure", 2: "success", 3: "failure"}


def test_trials_run_and_the_rate_comes_with_its_interval(
    graph: tuple[Graph, int], tmp_path: Path
) -> None:
    world, domain = graph
    with evaluator(domain, tmp_path) as process:
        code, output = run_to_end(world, process)
    assert code == 0, output
    assert outcomes(tmp_path) == EVERY_OTHER
    assert "2/4 (50 %)" in output and "15 to 85 %" in output
    assert "trial 3/4: success after 4 ticks" in output
    summary = json.loads((tmp_path / "results.json").read_text())
    assert summary["successes"] == 2 and summary["policies"] == ["push 12345678"]
    assert summary["conditions"]["checkpoint_hash"] == "abc"
    starts = yaml.safe_load((tmp_path / "starts.yaml").read_text())
    assert [list(reset.start_values) for reset in world.resets] == starts
    assert list(world.resets[0].start_names) == list(TASK.start_names)
    assert [reset.seed for reset in world.resets] == [10, 11, 12, 13]


@pytest.mark.parametrize(
    "graph", [{"kind": "hardware", "robot": "standin", "stand_in": True, "lockstep": False}],
    indirect=True, ids=["standin"],
)
def test_on_the_stand_in_the_ground_truth_judges(graph: tuple[Graph, int], tmp_path: Path) -> None:
    world, domain = graph
    poses = [[0.05, 0.01 * number, 0.5] for number in range(4)]
    (tmp_path / "poses.yaml").write_text(yaml.safe_dump(poses))
    output_dir = tmp_path / "results"
    with evaluator(domain, output_dir, starts_file=str(tmp_path / "poses.yaml")) as process:
        code, output = run_to_end(world, process)
    assert code == 0, output
    assert outcomes(output_dir) == EVERY_OTHER
    assert "stand-in" in output and "best 0.90 by ground truth" in output
    assert [list(reset.start_values) for reset in world.resets] == poses


def test_a_killed_evaluation_continues(graph: tuple[Graph, int], tmp_path: Path) -> None:
    world, domain = graph
    world.silent_seeds = {12}
    with evaluator(domain, tmp_path) as process:
        assert world.wait(lambda: len(world.resets) == 3), process.output
        process.kill9()
    assert outcomes(tmp_path) == {0: "success", 1: "failure"}
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write('{"trial": 2, "outcome": "succ')
    world.silent_seeds = set()
    world.resets.clear()
    with evaluator(domain, tmp_path) as process:
        code, output = run_to_end(world, process)
    assert code == 0, output
    assert "resuming: 2 of 4" in output
    assert [reset.seed for reset in world.resets] == [12, 13]
    assert outcomes(tmp_path) == EVERY_OTHER


def test_a_trial_in_which_the_world_falls_silent_is_aborted_and_not_counted(
    graph: tuple[Graph, int], tmp_path: Path
) -> None:
    world, domain = graph
    world.silent_seeds = {11}
    with evaluator(domain, tmp_path, tick_timeout_s=4.0) as process:
        code, output = run_to_end(world, process)
    assert code == 0, output
    assert outcomes(tmp_path) == EVERY_OTHER | {1: "aborted"}
    assert "no tick by the policy for 4 s after step 2" in output and "2/3 (67 %)" in output


@pytest.mark.parametrize(
    "graph", [{"kind": "hardware", "robot": "arm", "auto_reset": False, "lockstep": False}],
    indirect=True, ids=["arm"],
)
def test_a_person_is_asked_if_a_world_cannot_reset_or_judge_itself(
    graph: tuple[Graph, int], tmp_path: Path
) -> None:
    world, domain = graph
    with evaluator(domain, tmp_path, trials=2) as process:
        assert world.wait(lambda: "put the T at" in world.status.prompt), process.output
        assert world.status.trial == 0 and not world.resets
        starts = yaml.safe_load((tmp_path / "starts.yaml").read_text())
        assert list(world.status.start_values) == starts[0]
        early = world.call(LabelTrial, "evaluation/label", trial=0, success=True)
        assert not early.ok and "not started" in early.message
        assert not world.resets
        assert world.call(Trigger, "evaluation/continue").success
        assert world.wait(lambda: "did it succeed" in world.status.prompt), process.output
        assert world.resets[0].by_hand and list(world.resets[0].start_values) == starts[0]
        assert world._mode == ControlState.PAUSED
        twice = world.call(Trigger, "evaluation/continue")
        assert not twice.success and "no trial is waiting" in twice.message
        assert world.call(
            LabelTrial, "evaluation/label", trial=0, success=True, who="anna", note="flush"
        ).ok
        assert world.wait(lambda: world.status.trial == 1 and bool(world.status.prompt))
        process.interrupt()
        assert world.wait(lambda: process.process.poll() is not None)
        assert process.output.count("put the T at") == 2
        world.status = EvaluationStatus()
    assert world.wait(lambda: world.count_services("evaluation/label") == 0)
    assert outcomes(tmp_path) == {0: "success"}
    with evaluator(domain, tmp_path, trials=2) as process:
        # Continued: the verdict is still there and can be corrected.
        assert world.wait(lambda: bool(world.status.prompt)), process.output
        corrected = world.call(
            LabelTrial, "evaluation/label", trial=0, success=False, who="ben", note="a gap"
        )
        assert corrected.ok, corrected.message
        unknown = world.call(LabelTrial, "evaluation/label", trial=7, success=False)
        assert not unknown.ok and "trial 7 has not been run" in unknown.message
        assert world.wait(lambda: world.status.judged == 1 and bool(world.status.prompt))
        assert world.call(Trigger, "evaluation/continue").success
        assert world.wait(lambda: "did it succeed" in world.status.prompt), process.output
        assert world.call(LabelTrial, "evaluation/label", trial=1, success=True, who="ben").ok
        code, output = run_to_end(world, process)
    assert code == 0, output
    assert outcomes(tmp_path) == {0: "failure", 1: "success"}
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert [line["judged_by"] for line in lines] == ["person anna", "person ben", "person ben"]
    assert lines[1]["reason"] == "a gap (before: success by person anna)"
    summary = json.loads((tmp_path / "results.json").read_text())
    assert (summary["successes"], summary["trials"]) == (1, 2)


def test_a_person_overrules_the_success_head(
    graph: tuple[Graph, int], tmp_path: Path
) -> None:
    world, domain = graph
    world.silent_seeds = {12}
    with evaluator(domain, tmp_path) as process:
        assert world.wait(lambda: world.status.trial == 2 and world.status.step == 2)
        assert 0 <= world.status.seconds_left < 600 and not world.status.prompt
        assert world.call(LabelTrial, "evaluation/label", trial=0, success=False, who="anna").ok
        assert world.call(LabelTrial, "evaluation/label", trial=2, success=False, who="anna").ok
        code, output = run_to_end(world, process)
    assert code == 0, output
    assert outcomes(tmp_path) == {0: "failure", 1: "failure", 2: "failure", 3: "failure"}
    assert "0/4" in output and "judged by person anna" in output and " left" in output


@pytest.mark.parametrize("graph", [{"heads": ["trust"]}], indirect=True, ids=["no success head"])
def test_without_a_success_head_only_a_person_judges(
    graph: tuple[Graph, int], tmp_path: Path
) -> None:
    world, domain = graph
    with evaluator(domain, tmp_path) as process:
        code, output = run_to_end(world, process)
    assert code == 1 and "success head was never trained" in output, output
    assert "judge:=person" in output and "Traceback" not in output
    assert not world.resets and not (tmp_path / "trials.jsonl").exists()
    with evaluator(domain, tmp_path, trials=1, judge="person") as process:
        assert world.wait(lambda: "did it succeed" in world.status.prompt), process.output
        assert world.call(LabelTrial, "evaluation/label", trial=0, success=True, who="anna").ok
        code, output = run_to_end(world, process)
    assert code == 0 and outcomes(tmp_path) == {0: "success"}, output


def test_an_incomplete_graph_is_named(tmp_path: Path) -> None:
    with evaluator(domain_id(), tmp_path, startup_timeout_s=1.0) as process:
        assert process.wait(60) == 1
        assert "no control/request of the arbiter" in process.output
        assert "Traceback" not in process.output


def test_an_unanswered_request_is_dropped_with_the_next() -> None:
    rclpy.init(domain_id=domain_id())
    try:
        asking, silent = rclpy.create_node("asking"), rclpy.create_node("silent")
        requests = TrialRequests(asking, lambda *reply: None)
        silent.create_service(Reset, "world/reset", lambda _, response: response)  # never spun
        executor = SingleThreadedExecutor()
        executor.add_node(rclpy.create_node("waiting"))
        assert spin_until(executor, requests.reset.service_is_ready, 60.0)
        for number in range(3):
            requests.ask(Request(number=number, kind=RequestKind.RESET))
            assert len(requests.reset._pending_requests) == 1
    finally:
        rclpy.shutdown()
