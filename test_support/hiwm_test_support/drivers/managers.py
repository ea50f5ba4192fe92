"""The controller managers of a modelled robot: which controllers are active."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from hiwm_core.robot_config import RobotConfig
from hiwm_test_support.drivers.outputs import OutputModel

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ACTIVE, INACTIVE = "active", "inactive"
_STATE_IDS = {INACTIVE: 2, ACTIVE: 3}  # lifecycle_msgs/msg/State


class ControllerManagers:
    """Lists and switches a robot's required controllers, and announces their states.

    Args:
        robot: its controllers and outputs.
        state: of every controller at the start.
    """

    def __init__(self, robot: RobotConfig, state: str) -> None:
        self._robot = robot
        self._states = {
            (entry.manager, name): state for entry in robot.controllers for name in entry.required
        }
        self._outputs: Mapping[str, OutputModel] = {}
        self._activity: list[tuple[str, Any]] = []  # manager and publisher

    def connect(
        self, node: Node, lock: AbstractContextManager[object], outputs: Mapping[str, OutputModel]
    ) -> None:
        """Serve on a node; switching holds the lock, and activates or deactivates outputs."""
        self._outputs = outputs
        self._activity = []
        if self._robot.controllers:
            self._serve(node, lock)
        self._apply()
        self.publish_activity()

    def set_all(self, state: str) -> None:
        """Activate or deactivate every controller."""
        self._states = dict.fromkeys(self._states, state)
        self._apply()
        self.publish_activity()

    def publish_activity(self) -> None:
        """Announce the state of every controller."""
        if not self._activity:
            return
        from controller_manager_msgs.msg import ControllerManagerActivity, NamedLifecycleState
        from lifecycle_msgs.msg import State

        for manager, publisher in self._activity:
            publisher.publish(ControllerManagerActivity(controllers=[
                NamedLifecycleState(name=name, state=State(id=_STATE_IDS[state], label=state))
                for (owner, name), state in self._states.items() if owner == manager
            ]))

    def _serve(self, node: Node, lock: AbstractContextManager[object]) -> None:
        from controller_manager_msgs.msg import ControllerManagerActivity
        from controller_manager_msgs.srv import ListControllers, SwitchController

        for entry in self._robot.controllers:
            def listed(request: Any, response: Any, manager: str = entry.manager) -> Any:
                with lock:
                    return self._list(manager, response)

            def switched(request: Any, response: Any, manager: str = entry.manager) -> Any:
                with lock:
                    return self._switch(manager, request, response)

            node.create_service(ListControllers, f"{entry.manager}/list_controllers", listed)
            node.create_service(SwitchController, f"{entry.manager}/switch_controller", switched)
            publisher = node.create_publisher(
                ControllerManagerActivity, f"{entry.manager}/activity", LATCHED
            )
            self._activity.append((entry.manager, publisher))

    def _list(self, manager: str, response: Any) -> Any:
        from controller_manager_msgs.msg import ControllerState

        response.controller = [
            ControllerState(name=name, state=state, type="modelled")
            for (owner, name), state in self._states.items() if owner == manager
        ]
        return response

    def _switch(self, manager: str, request: Any, response: Any) -> Any:
        for names, state in (
            (request.deactivate_controllers, INACTIVE), (request.activate_controllers, ACTIVE)
        ):
            for name in names:
                if (manager, name) in self._states:
                    self._states[manager, name] = state
        self._apply()
        self.publish_activity()
        response.ok = True
        return response

    def _apply(self) -> None:
        """Activate the outputs whose controllers are active; without managers, all of them."""
        for name, model in self._outputs.items():
            states = [
                state for (_, controller), state in self._states.items()
                if f"/{controller}/" in self._robot.outputs[name].address
            ] or list(self._states.values())
            wanted = all(state == ACTIVE for state in states)
            if wanted and not model.active:
                model.activate()
            elif not wanted and model.active:
                model.deactivate()
