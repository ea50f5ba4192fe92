"""The service between world and policy: its requests, and checks of the responses."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from hiwm_interfaces.srv import PlanBatch
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor

from hiwm_core.errors import HiwmError
from hiwm_core.ros_domains import domain_id
from hiwm_learning.world_models.simulators import ImaginedObservation
from hiwm_test_support.nodes import spin_until
from hiwm_world import continuation_service
from hiwm_world.continuation_service import ContinuationService, continuation_message, plan_request
from hiwm_world.continuations import ContinuationSpec
from hiwm_world.tick_priority import TickPriority

pytestmark = pytest.mark.nodes


def observation(number: int, cameras: tuple[str, ...] = ()) -> ImaginedObservation:
    def picture(shade: int) -> Any:
        return np.full((2, 3, 3), shade, np.uint8)

    return ImaginedObservation(
        image=picture(number), proprioception=np.full(2, float(number)), trust=1.0, progress=0.5,
        success=0.0, others={name: picture(number + 100) for name in cameras},
    )


class Still:
    """A world that never changes, and fails on demand."""

    cameras = ("top",)
    fails = False

    def observe_many(self, states: list[Any]) -> list[ImaginedObservation]:
        return [observation(1) for _ in states]

    read_many = observe_many

    def observe(self, state: Any) -> ImaginedObservation:
        return observation(1)

    def step_many(self, states: list[Any], actions: list[Any]) -> Any:
        if self.fails:
            raise RuntimeError("CUDA out of memory")
        return states, []


class Rig:
    """The service on its own node, and a policy with configurable responses."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain_id())
        self.executor = SingleThreadedExecutor(context=self.context)
        self.world = rclpy.create_node("world", context=self.context)
        self.policy = rclpy.create_node("policy", context=self.context)
        self.executor.add_node(self.world)
        self.executor.add_node(self.policy)
        self.fields: dict[str, Any] = {}
        self.policy.create_service(PlanBatch, "policy/plan_batch", self._answer)
        self.simulator = Still()
        self.service = ContinuationService(
            self.world, ReentrantCallbackGroup(), self.simulator, 2, TickPriority()  # type: ignore
        )

    def _answer(
        self, request: PlanBatch.Request, response: PlanBatch.Response
    ) -> PlanBatch.Response:
        count = len(request.seeds)
        good = {
            "ok": True, "observation_steps": 1, "horizon": 3, "execute_horizon": 2,
            "actions": [0.0] * (count * 6),
        }
        for name, value in {**good, **self.fields}.items():
            setattr(response, name, value)
        return response

    def ask(self) -> Any:
        task = self.executor.create_task(
            self.service.serve, None, ContinuationSpec(count=2, steps=4, seed=0, frames=1)
        )
        assert spin_until(self.executor, task.done)
        return task.result()

    def close(self) -> None:
        self.service.close()
        self.executor.shutdown()
        self.world.destroy_node()
        self.policy.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def test_continuations_become_messages(rig: Rig) -> None:
    message = continuation_message(rig.ask()[1], "top")
    assert (message.seed, message.steps, message.end) == (1, 4, "")
    assert (message.trust, message.progress, list(message.frame_steps)) == (1.0, 0.5, [4])
    assert list(message.progress_by_step) == [0.5] * 4
    assert message.frames[0].encoding == "rgb8" and message.frames[0].width == 3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ok": False, "message": "no"}, "no"), ({"execute_horizon": 4}, "4 to run"),
        ({"execute_horizon": 0}, "0 to run"), ({"actions": [0.0] * 11}, "11 numbers"),
        ({"observation_steps": 0}, "0 observations"), ({"actions": []}, "0 numbers"),
    ],
)
def test_a_policys_refusal_or_malformed_response_is_quoted(
    rig: Rig, fields: dict[str, Any], words: str
) -> None:
    rig.fields = fields
    with pytest.raises(HiwmError, match=words):
        rig.ask()
    rig.fields = {}
    assert len(rig.ask()) == 2


def test_a_silent_policy_is_reported(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuation_service, "PLAN_S", 0.2)
    assert spin_until(rig.executor, lambda: rig.world.count_services("policy/plan_batch") > 0)
    rig.executor.remove_node(rig.policy)  # present, but not responding
    with pytest.raises(HiwmError, match=r"no plans within 0\.2 s"):
        rig.ask()


def test_an_error_in_the_world_model_ends_only_the_request(rig: Rig) -> None:
    rig.simulator.fails = True
    with pytest.raises(HiwmError, match="CUDA out of memory"):
        rig.ask()
    rig.simulator.fails = False
    assert len(rig.ask()) == 2


def test_every_camera_is_sent_observation_by_observation() -> None:
    runs = [[observation(10 * run + step, ("wrist",)) for step in range(3)] for run in range(2)]
    request = plan_request(("top", "wrist"), [5, 6], runs)
    assert [one.data[0] for one in request.images] == [
        0, 100, 1, 101, 2, 102, 10, 110, 11, 111, 12, 112
    ]
    assert list(request.proprio) == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 10.0, 10.0, 11.0, 11.0, 12.0,
                                     12.0]
    assert (list(request.seeds), list(request.cameras), request.observation_steps) == (
        [5, 6], ["top", "wrist"], 3
    )
