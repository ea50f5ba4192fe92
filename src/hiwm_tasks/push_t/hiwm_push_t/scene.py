"""The stand-in's table in MuJoCo: a T, two pushers, a rim, one camera from above.

Below the bridge this simulates the robot and its surroundings. An image shows its whole state: the
pushers' servos settle within a control step, and dry friction stops the T when nothing pushes it.
"""

import mujoco
import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.mujoco_scene import MujocoScene
from hiwm_core.task_plugin import Values
from hiwm_push_t import shape
from hiwm_push_t.goal import COVERAGE, Goal, pose_of, values_of

Array = NDArray[np.float64]

TIMESTEP_S = 0.004
PUSHER_RADIUS_M = 0.012
T_HEIGHT_M = 0.03
RIM_M = 0.2  # half the inner width of the rim, which is the edge of the camera's view
# Servo: 150 rad/s, critically damped, on 0.2 kg. A pusher reaches a target 12 mm away within one
# control step of 0.1 s. The force limit lets a T jammed against the rim stop the pusher.
PUSHER_KG, SERVO_RAD_S, FORCE_N = 0.2, 150.0, 15.0
T_KG = 0.12
RETRACT_STEPS = 100


def scene_xml(goal: Goal, embodiment: Embodiment) -> str:
    """Return the MJCF of the table for a T and its goal and an embodiment's limits."""
    unit = goal.unit_m

    def tee(name: str, attributes: str, half_height: float) -> str:
        geoms = ""
        for part, (x0, x1, y0, y1) in (("bar", shape.BAR), ("stem", shape.STEM)):
            size = f"{(x1 - x0) / 2 * unit:.6f} {(y1 - y0) / 2 * unit:.6f} {half_height}"
            place = f"{(x0 + x1) / 2 * unit:.6f} {(y0 + y1) / 2 * unit:.6f} 0"
            geoms += (
                f'<geom name="{name}_{part}" type="box" size="{size}" pos="{place}" {attributes}/>'
            )
        return geoms

    def pusher(arm: str, rgba: str, x: float, y: float) -> str:
        low, high = embodiment.lower, embodiment.upper
        return f"""
    <body name="{arm}" pos="0 0 {T_HEIGHT_M / 2 + 0.005}">
      <joint name="{arm}_x_joint" type="slide" axis="1 0 0" range="{low[0]} {high[0]}"/>
      <joint name="{arm}_y_joint" type="slide" axis="0 1 0" range="{low[1]} {high[1]}"/>
      <geom name="{arm}" type="cylinder" size="{PUSHER_RADIUS_M} {T_HEIGHT_M / 2}"
            mass="{PUSHER_KG}" rgba="{rgba}" friction="0.3" contype="2" conaffinity="3"/>
    </body>"""

    def wall(x: float, y: float, along_x: float, along_y: float) -> str:
        return (
            f'<geom type="box" pos="{x} {y} 0.01" size="{along_x} {along_y} 0.01" '
            'rgba=".35 .35 .38 1" friction="0.2" contype="4" conaffinity="1"/>'
        )

    thick = 0.01
    walls = "".join(
        wall(*values) for values in (
            (RIM_M + thick, 0, thick, RIM_M + 2 * thick), (-RIM_M - thick, 0, thick, RIM_M),
            (0, RIM_M + thick, RIM_M, thick), (0, -RIM_M - thick, RIM_M, thick),
        )
    )
    kp = PUSHER_KG * SERVO_RAD_S**2
    kv = 2 * PUSHER_KG * SERVO_RAD_S
    servos = "".join(
        f'<position joint="{joint}" kp="{kp}" kv="{kv}" forcerange="-{FORCE_N} {FORCE_N}"/>'
        for joint in embodiment.action_joints
    )
    place = goal.pose
    home = embodiment.home
    return f"""
<mujoco model="planar_push_t">
  <option timestep="{TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="5"
          noslip_iterations="3"/>
  <visual>
    <global offwidth="1024" offheight="1024"/>
    <quality shadowsize="0" offsamples="0"/>
    <headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/>
    <map znear="0.05" zfar="10"/>
  </visual>
  <worldbody>
    <camera name="top" pos="0 0 0.6" xyaxes="1 0 0 0 1 0" projection="orthographic"
            fovy="{2 * RIM_M}"/>
    <geom name="table" type="plane" size=".3 .3 .1" rgba=".93 .92 .88 1" friction="0.5"
          contype="1" conaffinity="1"/>
    <body name="goal" pos="{place[0]} {place[1]} 0.0005" euler="0 0 {np.degrees(place[2])}">
      {tee("goal", 'rgba=".72 .80 .66 1" contype="0" conaffinity="0"', 0.0004)}
    </body>
    {walls}
    <body name="object" pos="0 0 {T_HEIGHT_M / 2}">
      <freejoint name="object"/>
      {tee("object", f'mass="{T_KG / 2}" rgba=".13 .33 .80 1" friction="0.5" '
           'contype="1" conaffinity="7"', T_HEIGHT_M / 2)}
    </body>
    {pusher("left", ".85 .12 .10 1", home[0], home[1])}
    {pusher("right", ".05 .55 .20 1", home[2], home[3])}
  </worldbody>
  <actuator>{servos}</actuator>
</mujoco>"""


class StandinScene(MujocoScene):
    """The table, its physics and its camera. Joints are pusher positions, m.

    Args:
        goal: gives the T and its goal.
        embodiment: gives joints, limits and home.
        render_size: default width and height of `render`, px.
    """

    def __init__(self, goal: Goal, embodiment: Embodiment, render_size: int = 96) -> None:
        self._goal = goal
        self._embodiment = embodiment
        model = mujoco.MjModel.from_xml_string(scene_xml(goal, embodiment))
        joints = embodiment.action_joints
        super().__init__(
            model, joints=joints, actuators=range(model.nu), scale=np.ones(len(joints)),
            camera="top", render_size=render_size, shadows=True,
        )
        self._object = int(model.joint("object").qposadr[0])
        self.place(values_of(np.array(goal.pose)))

    def place(self, start: Values) -> dict[str, float]:
        """Put the T at a start and the pushers at home; return the start as settled."""
        self.arrange(pose_of(start), np.array(self._embodiment.home))
        return values_of(self.object_pose)

    def arrange(self, object_pose: Array, joint_positions: Array) -> None:
        """Put the T at a pose and the pushers at positions, and let them settle there.

        Args:
            object_pose: [x, y, yaw], m and rad, table frame.
            joint_positions: [4] m, held.
        """
        mujoco.mj_resetData(self.model, self.data)
        self.hold(joint_positions)
        qpos, o = self.data.qpos, self._object
        qpos[o : o + 3] = (object_pose[0], object_pose[1], T_HEIGHT_M / 2)
        half = object_pose[2] / 2
        qpos[o + 3 : o + 7] = (np.cos(half), 0, 0, np.sin(half))
        mujoco.mj_step(self.model, self.data, RETRACT_STEPS)
        self.data.time = 0.0

    @property
    def time(self) -> float:
        """Simulated seconds since `place`."""
        return float(self.data.time)

    @property
    def object_pose(self) -> Array:
        """The T's pose [x, y, yaw], m and rad, table frame."""
        o = self._object
        x, y = self.data.qpos[o : o + 2]
        w, _, _, z = self.data.qpos[o + 3 : o + 7]
        return np.array([x, y, shape.wrap(2 * np.arctan2(z, w))])

    @property
    def truth(self) -> dict[str, float]:
        """The T's pose, and the share of the goal that it covers."""
        pose = self.object_pose
        covered = shape.coverage(pose, np.array(self._goal.pose), self._goal.unit_m)
        return {**values_of(pose), COVERAGE: covered}
