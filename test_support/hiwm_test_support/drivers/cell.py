"""A bridge between modelled drivers and this process, which is everything above it."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from hiwm_interfaces.msg import Command, Tick
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor

from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.embodiment import load_embodiment
from hiwm_core.measured import MeasuredAction, MeasuredPose
from hiwm_core.robot_config import load_robot
from hiwm_core.ros_domains import domain_id
from hiwm_nodes import qos
from hiwm_test_support.drivers.node import Drivers, Traits
from hiwm_test_support.nodes import NodeProcess, spin_until

GUARD_S = 120.0  # hang guard; a busy machine may take a minute to start a process
# What the person or policy asks for, away from home: below every file's largest first step.
AWAY = {"rad": 0.15, "m": 0.02, "1": 0.4}
# Rest: a held joint still settles by its lag.
STILL = 4e-3


class Cell:
    """One robot: its drivers, its bridge, and the wishes of whoever is in control.

    Args:
        stack: closes everything.
        name: of the robot file.
        folder: for the task and the bridge's log.
        traits: of the modelled robot.
        parameters: of the bridge.
    """

    def __init__(
        self, stack: ExitStack, name: str, folder: Path, traits: Traits, **parameters: Any
    ) -> None:
        self.robot = load_robot(name)
        self.embodiment = load_embodiment(self.robot.embodiment)
        self._deltas = ActionDeltas(self.embodiment)
        self._measured = MeasuredAction(self.embodiment)
        self.home = np.array(self.embodiment.home)
        self.way = self._offset()
        self.away = self._deltas.moved(self.home, self.way)
        self.wish: np.ndarray | None = None  # answers every tick; None: silence
        self.ticks: list[Tick] = []
        self.status = (b"\0", "")  # of the bridge's diagnostics
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self.domain = domain = domain_id()
        self.drivers = stack.enter_context(
            Drivers(self.robot, self.embodiment, domain=domain, traits=traits)
        )
        task = folder / "move.yaml"
        task.write_text(
            f"name: move\ninstruction: move\nembodiment: {self.embodiment.name}\n"
            "horizon_steps: 1000\n"
        )
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        stack.callback(context.try_shutdown)
        self.node = rclpy.create_node("above", namespace="cell", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self.node.create_subscription(Tick, "tick", self._on_tick, qos.TICK)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_status, qos.TICK)
        self._command = self.node.create_publisher(Command, "command", qos.COMMAND)
        self.bridge = stack.enter_context(NodeProcess(
            "hiwm_robot", "robot_bridge", domain=domain, namespace="cell",
            parameters={"robot": name, "task": str(task), **parameters},
        ))

    def _offset(self) -> np.ndarray:
        """Return the displacement from home to `away`, inside the limits."""
        offset = np.zeros(self.embodiment.action_dim)
        for group in self.embodiment.groups:
            turning = group.rotation_slice
            for i in range(group.start, group.start + group.size):
                entry = self.embodiment.actions[i]
                if group.rotation == "6d" and i >= turning.start:
                    # The first number of a rotation vector: one axis, so that the angle is this.
                    offset[i] = AWAY["rad"] if i == turning.start else 0.0
                    continue
                by = AWAY[entry.unit]
                offset[i] = by if self.embodiment.home[i] + by <= entry.upper else -by
        return offset

    # What arrives

    def _on_tick(self, tick: Tick) -> None:
        self.ticks.append(tick)
        if self.wish is not None:
            self.send(tick, self.wish)

    def _on_status(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if "robot_bridge" in status.name:
                self.status = (status.level, status.message)

    # What this side does

    def send(self, tick: Tick, action: Any, *, epoch: int | None = None) -> None:
        """Answer a tick."""
        self._command.publish(Command(
            header=tick.header, epoch=tick.epoch if epoch is None else epoch, step=tick.step,
            source=Command.SOURCE_POLICY, device="test",
            action=[float(value) for value in action],
        ))

    def until(self, predicate: Any, what: str) -> None:
        """Wait for a condition; the guard's message says what was awaited and what is known."""
        if not spin_until(self._executor, predicate, GUARD_S):
            raise AssertionError(
                f"waited in vain: {what}; diagnostics {self.status}; drivers' errors "
                f"{self.drivers.body.errors}; bridge:\n{self.bridge.output[-3000:]}"
            )

    def more_ticks(self, count: int) -> None:
        """Wait for a number of further ticks."""
        goal = len(self.ticks) + count
        self.until(lambda: len(self.ticks) >= goal, f"{count} more ticks")

    def more_updates(self, count: int) -> None:
        """Wait for a number of further updates of the controllers."""
        goal = self.drivers.updates + count
        self.until(lambda: self.drivers.updates >= goal, f"{count} updates of the drivers")

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Call a service."""
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, f"service {name}")
        future = client.call_async(request)
        self.until(future.done, f"answer of {name}")
        self.node.destroy_client(client)
        return future.result()

    def transition(self, label: str) -> bool:
        """Request a lifecycle transition of the bridge; return whether it succeeded."""
        number = {
            "configure": Transition.TRANSITION_CONFIGURE,
            "activate": Transition.TRANSITION_ACTIVATE,
            "deactivate": Transition.TRANSITION_DEACTIVATE,
        }[label]
        return bool(self.call(
            ChangeState, "robot_bridge/change_state",
            ChangeState.Request(transition=Transition(id=number)),
        ).success)

    def state(self) -> str:
        """Return the bridge's lifecycle state."""
        request = GetState.Request()
        return str(self.call(GetState, "robot_bridge/get_state", request).current_state.label)

    # What it must see

    def position(self) -> np.ndarray:
        """Return the body's measured action [A]."""
        body = self.drivers.body
        streams = {
            group.measured.pose: body.poses[group.name]
            for group in self.embodiment.groups if group.measured.source == "pose"
        }
        return self._measured.array(body.positions, {
            name: MeasuredPose(position=position, quaternion=quaternion)
            for name, (position, quaternion) in streams.items()
        })

    def near(self, action: np.ndarray, which: Any = slice(None)) -> bool:
        """Return whether the body, or some of its entries, has come most of the way to a target."""
        left = np.abs(self._deltas.between(self.position(), action))[which]
        return bool(np.all(left < 0.3 * np.abs(self.way[which]) + STILL))

    def assert_still(self, wait: Any) -> None:
        """Assert that nothing moves while a wait lasts."""
        before = self.drivers.measured()
        wait()
        np.testing.assert_allclose(self.drivers.measured(), before, atol=STILL)

    def assert_smooth(self) -> None:
        """Assert that no target jumped, and that no controller refused anything."""
        body = self.drivers.body
        assert body.errors == []
        # 1 is the embodiment's limit. Messages jitter, and the arm moves between two states.
        assert body.step < 1.5, f"a target was {body.step:.2f} of the largest step away"
        assert body.lead < 1.5, f"a target led by {body.lead:.2f} of the largest following error"
        body.forget()
