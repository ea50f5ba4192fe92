"""The services of a world that no robot can perform. Each refusal names the way out."""

from hiwm_interfaces.srv import ContinueState, RestoreState, SaveState
from rclpy.node import Node

from hiwm_robot.bridge_state import BridgeState


class RefusedServices:
    """Refuses to save, restore and continue states.

    Args:
        node: serves them.
        robot: its name.
        state: gives epoch and step.
    """

    def __init__(self, node: Node, robot: str, state: BridgeState) -> None:
        self._robot = robot
        self._state = state
        node.create_service(SaveState, "world/save_state", self._on_save)
        node.create_service(RestoreState, "world/restore_state", self._on_restore)
        node.create_service(ContinueState, "world/continue_state", self._on_continue)

    def _on_save(
        self, request: SaveState.Request, response: SaveState.Response
    ) -> SaveState.Response:
        response.message = (
            f"robot {self._robot} cannot save its state: bags record what happened; save states "
            "with world:=imagination"
        )
        response.epoch, response.step = self._state.epoch, self._state.step
        return response

    def _on_restore(
        self, request: RestoreState.Request, response: RestoreState.Response
    ) -> RestoreState.Response:
        response.message = (
            f"robot {self._robot} cannot return to a saved state: reset the scene with "
            "world/reset and start again, or roll back with world:=imagination"
        )
        response.epoch, response.step = self._state.epoch, self._state.step
        return response

    def _on_continue(
        self, request: ContinueState.Request, response: ContinueState.Response
    ) -> ContinueState.Response:
        response.message = (
            f"robot {self._robot} cannot continue a state many times: let the policy continue "
            "from here, or use a session with world:=imagination"
        )
        return response
