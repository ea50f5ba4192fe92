"""The policy node over DDS; the test is the world and the arbiter."""

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from hiwm_interfaces.msg import ControlState
from hiwm_interfaces.srv import PlanBatch
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from hiwm_core.control_period import require_period
from hiwm_core.errors import ServerError
from hiwm_core.ros_domains import domain_id
from hiwm_learning.checkpoints import load_checkpoint
from hiwm_learning.policies.planning import PlannerWorld, load_planner
from hiwm_nodes.messages import image_message, time_message
from hiwm_policy import policy_node
from hiwm_test_support.nodes import NodeProcess
from hiwm_test_support.policies import write_untrained_policy

sys.path.insert(0, str(Path(__file__).parent))
from policy_rig import EMBODIMENT, Rig  # noqa: E402

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(300)]

SEED = 11


class FakePlanner:
    """Records its seeds; blocks while `go_on` is cleared."""

    label = "fake-00000000"
    rows_at_once = 8
    image_shapes: ClassVar = {"top": (96, 96, 3)}
    proprio_dim = 4
    observation_steps = 2
    horizon = 4
    execute_horizon = 2

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.started: list[tuple[int, ...]] = []
        self.value = 0.5
        self.failure: Exception | None = None

    def fit(self, world: PlannerWorld) -> None:
        require_period(0.1, world.period_s, "policy", "fake")

    def warm_up(self) -> float:
        return 0.0

    def idle(self) -> None:
        pass

    def status(self) -> dict[str, object]:
        return {"server": "none"}

    def news(self) -> list[str]:
        return []

    def close(self) -> None:
        pass

    def plan(
        self, images: Mapping[str, NDArray[np.uint8]], proprio: NDArray[np.float32],
        seed: tuple[int, ...],
    ) -> NDArray[np.float64]:
        self.started.append(seed)
        assert self.go_on.wait(120)
        if self.failure:
            raise self.failure
        return np.full((4, 4), self.value)

    def plan_many(
        self, images: Mapping[str, NDArray[np.uint8]], proprio: NDArray[np.float32],
        seeds: Sequence[tuple[int, ...]],
    ) -> NDArray[np.float64]:
        return np.stack([
            self.plan({"top": image}, *row)
            for image, *row in zip(images["top"], proprio, seeds, strict=True)
        ])


@pytest.fixture
def context() -> Iterator[Context]:
    context = Context()
    rclpy.init(context=context, domain_id=domain_id())
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def rig(context: Context) -> Iterator[Rig]:
    rig = Rig(context)
    yield rig
    rig.executor_of_rig.shutdown()
    rig.destroy_node()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_untrained_policy(tmp_path, EMBODIMENT)


@pytest.fixture
def fake(
    rig: Rig, context: Context, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakePlanner]:
    """A policy node in this process, whose network the test controls."""
    planner = FakePlanner()
    monkeypatch.setattr(policy_node, "make_planner", lambda family, options: planner)
    rclpy.init(
        args=["--ros-args", "-p", f"seed:={SEED}"],
        domain_id=context.get_domain_id(),
    )
    node = policy_node.PolicyNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.02)

    thread = threading.Thread(target=spin)
    thread.start()
    rig.start()
    yield planner
    planner.go_on.set()
    stop.set()
    thread.join()
    node.close()
    node.destroy_node()
    rclpy.shutdown()


def test_chunks_are_made_from_the_arrays_of_the_tick_and_run_to_their_end(
    context: Context, rig: Rig, checkpoint: Path
) -> None:
    with NodeProcess(
        "hiwm_policy", "policy", domain=context.get_domain_id(),
        parameters={"checkpoint": str(checkpoint), "seed": SEED},
    ):
        rig.start()
        rig.mode(ControlState.POLICY, 0, 0)
        seen = []
        for step in range(7):
            seen.append(rig.tick(1, step))
            rig.wait(lambda step=step: len(rig.plans) > step // 3)
        rig.spin_some()
    assert [(plan.epoch, plan.step) for plan in rig.plans] == [(1, 0), (1, 3), (1, 6)]
    planner = load_planner(checkpoint)
    for plan in rig.plans:
        history = [seen[max(0, plan.step - 1)], seen[plan.step]]
        expected = planner.plan(
            {"top": np.stack([pixels for pixels, _ in history])},
            np.stack([places for _, places in history]), (SEED, 1, plan.step),
        )
        np.testing.assert_array_equal(np.array(plan.actions).reshape(6, 4), expected)
        assert (plan.horizon, plan.execute_horizon, plan.action_dim) == (6, 3, 4)
        assert plan.policy == load_checkpoint(checkpoint).label


@pytest.mark.parametrize(("info", "words"), [
    ({"embodiment_hash": "f" * 64}, ("f" * 64, EMBODIMENT.hash)),
    ({"lockstep": False, "control_period_s": 0.2}, ("0.100 s (10 Hz)", "0.200 s (5 Hz)")),
], ids=["embodiment", "control period"])
def test_a_world_that_does_not_fit_the_policy_stops_the_node_and_both_are_named(
    context: Context, rig: Rig, checkpoint: Path, info: dict[str, Any], words: tuple[str, str]
) -> None:
    with NodeProcess(
        "hiwm_policy", "policy", domain=context.get_domain_id(),
        parameters={"checkpoint": str(checkpoint)},
    ) as node:
        rig.start(**info)
        assert node.wait(120) == 1
        assert all(word in node.output for word in words)
        assert "Traceback" not in node.output
    assert not rig.plans


def test_a_slowed_robot_gets_no_plans_until_its_rate_is_restored(
    rig: Rig, fake: FakePlanner
) -> None:
    def rate(rate: float) -> None:
        rig.publish_info(
            kind="hardware", lockstep=False, rate=rate, control_period_s=1.0 / rate
        )

    rig.mode(ControlState.POLICY, 0, 0)
    rig.tick(1, 0)
    rig.wait(lambda: len(rig.plans) == 1)
    rate(5.0)
    rig.wait(lambda: any("0.200 s (5 Hz)" in status.message for status in rig.statuses))
    for step in (1, 2, 3):
        rig.tick(1, step)
        rig.spin_some(10)
    assert len(rig.plans) == 1
    rate(10.0)
    rig.wait(lambda: len(rig.plans) == 2)
    assert rig.plans[-1].step == 3
    fake.horizon = 1  # as a server's chunks have fewer actions at a lower rate
    rate(10.0)
    rig.wait(lambda: any("exceeds the chunk of 1" in status.message for status in rig.statuses))


def test_a_missing_checkpoint_stops_the_node_with_one_line(context: Context) -> None:
    with NodeProcess(
        "hiwm_policy", "policy", domain=context.get_domain_id(),
        parameters={"checkpoint": "/nowhere/policy.safetensors"},
    ) as node:
        assert node.wait(120) == 1
        assert "/nowhere/policy.safetensors" in node.output
        assert "Traceback" not in node.output


def test_plans_come_only_in_policy_and_handback(rig: Rig, fake: FakePlanner) -> None:
    for number, (mode, planned) in enumerate((
        (ControlState.PAUSED, False), (ControlState.HUMAN, False), (ControlState.POLICY, True),
        (ControlState.STOPPED, False), (ControlState.HANDBACK, True),
    )):
        before = len(rig.plans)
        rig.mode(mode, number, 0, takeovers=number)
        rig.spin_some()
        rig.tick(number + 1, 0)
        if planned:
            # A plan for the tick that waited when the policy got control may come first.
            rig.wait(lambda epoch=number + 1: any(plan.epoch == epoch for plan in rig.plans))
        else:
            rig.spin_some()
            assert len(rig.plans) == before, mode


def test_a_plan_made_while_the_epoch_changed_is_not_published(
    rig: Rig, fake: FakePlanner
) -> None:
    rig.mode(ControlState.POLICY, 0, 0)
    fake.go_on.clear()
    rig.tick(1, 0)
    rig.wait(lambda: fake.started == [(SEED, 1, 0)])
    rig.tick(2, 5)
    rig.spin_some()
    fake.go_on.set()
    rig.wait(lambda: len(rig.plans) > 0)
    rig.spin_some()
    assert [(plan.epoch, plan.step) for plan in rig.plans] == [(2, 5)]


def test_a_plan_made_while_a_person_took_over_is_not_published(
    rig: Rig, fake: FakePlanner
) -> None:
    rig.mode(ControlState.POLICY, 0, 0)
    fake.go_on.clear()
    rig.tick(1, 0)
    rig.wait(lambda: fake.started == [(SEED, 1, 0)])
    rig.mode(ControlState.HUMAN, 1, 0, takeovers=1)
    rig.spin_some()
    fake.go_on.set()
    rig.spin_some()
    assert not rig.plans
    rig.tick(1, 1)
    rig.mode(ControlState.HANDBACK, 1, 1, takeovers=1)
    rig.wait(lambda: len(rig.plans) > 0)
    assert (rig.plans[0].epoch, rig.plans[0].step) == (1, 1)


def test_a_world_that_repeats_its_tick_gets_the_plan_again(
    rig: Rig, fake: FakePlanner
) -> None:
    rig.mode(ControlState.POLICY, 0, 0)
    rig.tick(1, 0)
    rig.wait(lambda: len(rig.plans) == 1)
    rig.repeat_tick()
    rig.wait(lambda: len(rig.plans) == 2)
    assert rig.plans[0] == rig.plans[1]
    assert len(fake.started) == 1


@pytest.mark.parametrize(("fault", "words"), [
    ({"value": float("nan")}, "not finite"),
    ({"failure": RuntimeError("out of memory")}, "RuntimeError: out of memory"),
    ({"failure": ServerError("the server is lost", where="ws://x")}, "the server is lost (ws://x)"),
], ids=["not finite", "inference error", "server"])
def test_a_policy_that_fails_says_why_and_plans_again_when_it_is_started(
    rig: Rig, fake: FakePlanner, fault: dict[str, Any], words: str
) -> None:
    vars(fake).update(fault)
    rig.mode(ControlState.POLICY, 0, 0)
    rig.tick(1, 0)
    rig.wait(lambda: any(
        status.level == DiagnosticStatus.ERROR and words in status.message
        for status in rig.statuses
    ) and bool(rig.plans))
    (plan,) = rig.plans
    assert (plan.epoch, plan.step, plan.horizon, len(plan.actions)) == (1, 0, 0, 0)
    assert words in plan.failure
    vars(fake).update(value=0.1, failure=None)
    rig.mode(ControlState.PAUSED, 1, 0)  # as the arbiter answers
    rig.spin_some(10)
    assert len(rig.plans) == 1
    rig.mode(ControlState.POLICY, 1, 0)
    rig.wait(lambda: len(rig.plans) == 2)
    assert (rig.plans[1].step, rig.plans[1].failure) == (0, "")


def batch_request(count: int, given: int, seed: int = 40, **fields: object) -> PlanBatch.Request:
    """Return a request with one observation per seed, and a camera that the policy ignores."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count * given * 2, 96, 96, 3), dtype=np.uint8)
    message = PlanBatch.Request(
        seeds=range(seed, seed + count), cameras=["wrist", "top"], observation_steps=given,
        images=[image_message(one, time_message(0), "") for one in pixels],
        proprio=rng.uniform(-0.1, 0.1, count * given * 4).tolist(),
    )
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def call(rig: Rig, request: PlanBatch.Request) -> PlanBatch.Response:
    client = rig.create_client(PlanBatch, "policy/plan_batch")
    rig.wait(client.service_is_ready)
    future = client.call_async(request)
    rig.wait(future.done)
    rig.destroy_client(client)
    return future.result()


def test_a_batch_is_planned_as_each_row_would_be(
    context: Context, rig: Rig, checkpoint: Path
) -> None:
    with NodeProcess(
        "hiwm_policy", "policy", domain=context.get_domain_id(),
        parameters={"checkpoint": str(checkpoint), "seed": SEED},
    ):
        early = call(rig, batch_request(1, 1))
        assert not early.ok and "no world" in early.message
        rig.start()
        answers = {given: call(rig, batch_request(18, given)) for given in (1, 3)}
        refused = [
            call(rig, request) for request in (
                batch_request(0, 1), batch_request(2, 1, proprio=[0.0] * 7),
                batch_request(1, 1, cameras=["wrist", "left"]),
                batch_request(1, 1, proprio=[float("nan")] * 4),
                batch_request(1, 1, images=[Image(), Image()]),
            )
        ]
        rig.mode(ControlState.POLICY, 0, 0)
        rig.tick(1, 0)
        rig.wait(lambda: len(rig.plans) == 1)  # and the session is not affected
    planner = load_planner(checkpoint)
    for given, answer in answers.items():
        assert answer.ok, answer.message
        assert (answer.observation_steps, answer.horizon, answer.execute_horizon) == (2, 6, 3)
        plans = np.array(answer.actions).reshape(18, 6, 4)
        request = batch_request(18, given)
        images = np.stack([np.frombuffer(one.data, np.uint8) for one in request.images[1::2]])
        images = images.reshape(18, given, 96, 96, 3)
        proprio = np.array(request.proprio, np.float32).reshape(18, given, 4)
        newest = [0, 0] if given == 1 else [1, 2]  # padded as after a reset
        for row in range(18):
            expected = planner.plan({"top": images[row, newest]}, proprio[row, newest], (40 + row,))
            np.testing.assert_allclose(plans[row], expected, atol=1e-5)
    for answer, words in zip(
        refused, ("images of length 0", "proprio of length 7", "no image of camera 'top'",
                  "not finite", "image"), strict=True,
    ):
        assert not answer.ok and words in answer.message


def test_a_plan_of_the_session_goes_before_batches(rig: Rig, fake: FakePlanner) -> None:
    client = rig.create_client(PlanBatch, "policy/plan_batch")
    rig.wait(client.service_is_ready)
    fake.go_on.clear()
    future = client.call_async(batch_request(40, 1))
    rig.wait(lambda: bool(fake.started))
    rig.mode(ControlState.POLICY, 0, 0)
    rig.tick(1, 0)
    rig.spin_some()
    fake.go_on.set()
    rig.wait(lambda: future.done() and bool(rig.plans))
    assert fake.started.index((SEED, 1, 0)) == 8
    assert len(future.result().actions) == 40 * 4 * 4


def test_a_failed_batch_is_reported_and_the_session_continues(
    rig: Rig, fake: FakePlanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NDArray[np.float64]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(fake, "plan_many", fail)
    answer = call(rig, batch_request(20, 1))
    assert not answer.ok and "out of memory" in answer.message
    rig.mode(ControlState.POLICY, 0, 0)
    rig.tick(1, 0)
    rig.wait(lambda: len(rig.plans) == 1)
