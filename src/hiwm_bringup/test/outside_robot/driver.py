"""The drivers of an arm that this project does not know: MuJoCo behind a robot's usual topics.

A forward position controller, a gripper's action in metres, joint states in three messages of an
order of their own, a compressed camera, a controller manager and robot_description. Nothing of hiwm
is imported. Start it by its path; it prints ``ready``.
"""

import array
import math
import sys
from io import BytesIO
from pathlib import Path

import mujoco
import rclpy
from control_msgs.action import GripperCommand
from controller_manager_msgs.msg import ControllerState
from controller_manager_msgs.srv import ListControllers
from PIL import Image as Picture
from rclpy.action import ActionServer
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, JointState
from std_msgs.msg import Bool, Float64MultiArray, String

HERE = Path(__file__).parent
ARM = ("desk_base", "desk_shoulder", "desk_elbow", "desk_wrist")  # the controller's order
MESSAGES = (("desk_wrist", "desk_base"), ("desk_elbow", "desk_shoulder"),
            ("desk_finger", "desk_other_finger"))
START = (0.3, -0.2, 0.8, 0.6, 0.02)  # of the joints of the arm, and the finger [m]
SIZE = (160, 120)
STATES_HZ, CAMERA_HZ = 50.0, 10.0
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class DeskArm:
    """The simulation and its nodes."""

    def __init__(self, executor: SingleThreadedExecutor) -> None:
        self._model = mujoco.MjModel.from_xml_path(str(HERE / "desk_arm.xml"))
        self._data = mujoco.MjData(self._model)
        self._renderer = mujoco.Renderer(self._model, height=SIZE[1], width=SIZE[0])
        for name, value in zip((*ARM, "desk_finger"), START, strict=True):
            self._data.joint(name).qpos[0] = value
        self._data.joint("desk_other_finger").qpos[0] = START[-1]
        self._data.ctrl[:] = START
        mujoco.mj_forward(self._model, self._data)

        self._node = Node("desk_driver", namespace="desk")
        arm = Node("arm_position_controller", namespace="desk")
        arm.declare_parameter("joints", list(ARM))
        arm.create_subscription(Float64MultiArray, "~/commands", self._on_command, 10)
        gripper = Node("gripper_controller", namespace="desk")
        gripper.declare_parameter("joint", "desk_finger")
        self._server = ActionServer(gripper, GripperCommand, "~/gripper_cmd", self._on_goal)
        manager = Node("controller_manager", namespace="desk")
        manager.create_service(ListControllers, "~/list_controllers", self._on_list)
        for node in (self._node, arm, gripper, manager):
            executor.add_node(node)
        self._states = self._node.create_publisher(JointState, "joint_states", 10)
        self._images = self._node.create_publisher(
            CompressedImage, "overhead/image/compressed", 5
        )
        self._infos = self._node.create_publisher(CameraInfo, "overhead/camera_info", 5)
        self._latched = [
            self._node.create_publisher(String, "robot_description", LATCHED),
            self._node.create_publisher(Bool, "emergency_stop", LATCHED),
        ]
        self._latched[0].publish(String(data=(HERE / "desk_arm.urdf").read_text()))
        self._latched[1].publish(Bool(data=False))
        self._node.create_timer(1.0 / STATES_HZ, self._step)
        self._node.create_timer(1.0 / CAMERA_HZ, self._look)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _on_command(self, message: Float64MultiArray) -> None:
        if len(message.data) != len(ARM) or not all(map(math.isfinite, message.data)):
            raise SystemExit(f"the controller stops: {list(message.data)}")
        self._data.ctrl[: len(ARM)] = message.data

    def _on_goal(self, handle: object) -> GripperCommand.Result:
        self._data.ctrl[len(ARM)] = min(max(handle.request.command.position, 0.0), 0.03)
        handle.succeed()
        return GripperCommand.Result(reached_goal=True)

    def _on_list(
        self, _request: ListControllers.Request, response: ListControllers.Response
    ) -> ListControllers.Response:
        response.controller = [
            ControllerState(
                name="arm_position_controller", state="active",
                type="forward_command_controller/ForwardCommandController",
                required_command_interfaces=[f"{name}/position" for name in ARM],
            ),
            ControllerState(
                name="gripper_controller", state="active",
                type="position_controllers/GripperActionController",
                required_command_interfaces=["desk_finger/position"],
            ),
        ]
        return response

    def _step(self) -> None:
        steps = round(1.0 / STATES_HZ / self._model.opt.timestep)
        mujoco.mj_step(self._model, self._data, nstep=steps)
        stamp = self._node.get_clock().now().to_msg()
        for names in MESSAGES:
            message = JointState(name=list(names))
            message.header.stamp = stamp
            joints = [self._data.joint(name) for name in names]
            message.position = array.array("d", [float(joint.qpos[0]) for joint in joints])
            message.velocity = array.array("d", [float(joint.qvel[0]) for joint in joints])
            self._states.publish(message)

    def _look(self) -> None:
        self._renderer.update_scene(self._data, camera="overhead")
        jpeg = BytesIO()
        Picture.fromarray(self._renderer.render()).save(jpeg, "JPEG", quality=80)
        image = CompressedImage(
            format="rgb8; jpeg compressed bgr8", data=array.array("B", jpeg.getvalue())
        )
        image.header.stamp = self._node.get_clock().now().to_msg()
        image.header.frame_id = "overhead_optical"
        self._images.publish(image)
        self._infos.publish(CameraInfo(header=image.header, width=SIZE[0], height=SIZE[1]))


def main() -> None:
    """Run until a signal."""
    rclpy.init()
    executor = SingleThreadedExecutor()
    arm = DeskArm(executor)
    print("ready", flush=True)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(0)
    finally:
        arm.close()


if __name__ == "__main__":
    main()
