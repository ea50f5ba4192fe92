"""The MuJoCo model of the arms at their table, as text. A task adds its own bodies.

Meshless and low in polygons: rendering is the first bottleneck on a processor. The table is a
plane, since boxes and cloth behave better on it.
"""

from dataclasses import dataclass

from hiwm_yam_pair.geometry import (
    BASE_M,
    FINGER_END_M,
    FINGER_LENGTH_M,
    FINGER_OPEN_M,
    HINGES,
    SIDES,
    TIP_M,
    TIP_WXYZ,
    joint,
    numbers_text,
)
from hiwm_yam_pair.top_camera import TOP_FOV_DEG, TOP_M

_DARK = "0.16 0.17 0.20 1"
_ACCENT = {"left": "0.93 0.93 0.95 1", "right": "0.45 0.46 0.52 1"}
_GHOST = 'contype="0" conaffinity="0"'
# Links collide with each other, not with what lies on the table.
_LINK = 'contype="4" conaffinity="4"'
# The one hardness of everything that grips or is gripped.
HARD = 'solref="0.006 1" solimp="0.95 0.99 0.001"'
# Servos: stiffness, damping and largest torque [Nm/rad, Nms/rad, Nm] of strong and weak hinges.
_SERVO = {True: (400.0, 12.0, 40.0), False: (80.0, 2.4, 12.0)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the physics of a scene are solved, and what a task adds to it; MJCF text."""

    physics: str  # attributes of <option>, timestep first
    bodies: str = ""
    assets: str = ""
    equalities: str = ""
    sections: str = ""  # further sections, such as <deformable>
    table: str = 'contype="7" conaffinity="7"'  # further attributes of the table
    finger_contype: int = 1  # 0: fingers touch nothing on the table


def scene_xml(options: Options) -> str:
    """Return the MJCF of the arms, the table, the cameras and a task's bodies."""
    arms = "".join(_arm(side, options.finger_contype) for side in SIDES)
    servos = "".join(_servos(side) for side in SIDES)
    mirrors = "".join(
        f'<joint joint1="{side}_finger2" joint2="{side}_finger1" polycoef="0 1 0 0 0" '
        'solref="0.008 1"/>' for side in SIDES
    )
    return f"""
<mujoco model="yam_pair">
  <compiler angle="radian" autolimits="true"/>
  <option {options.physics}/>
  <size memory="64M"/>
  <visual>
    <global offwidth="1024" offheight="1024"/>
    <quality shadowsize="0" offsamples="0" numslices="12" numstacks="6"/>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.30 0.30 0.30" specular="0 0 0"/>
    <map znear="0.02" zfar="20"/>
  </visual>
  <default>
    <default class="strong">
      <joint armature="0.08" damping="1.5" frictionloss="0.05"/>
    </default>
    <default class="weak">
      <joint armature="0.02" damping="0.5" frictionloss="0.02"/>
    </default>
    <default class="finger">
      <joint type="slide" range="0 {FINGER_OPEN_M}" armature="0.05" damping="4"/>
    </default>
  </default>
  <asset>
    {options.assets}
  </asset>
  <worldbody>
    <light name="sun" pos="0.3 0 1.6" dir="0.1 -0.2 -1" directional="true"
           diffuse="0.45 0.45 0.45" specular="0 0 0" castshadow="false"/>
    <geom name="table" type="plane" size="1 1 0.02" pos="0.3 0 0" rgba="0.80 0.78 0.72 1"
          friction="0.8 0.01 0.0005" {HARD} {options.table}/>
    <camera name="top" pos="{numbers_text(TOP_M)}" xyaxes="0 -1 0 1 0 0" fovy="{TOP_FOV_DEG}"/>
    <camera name="side" pos="0.85 -0.45 0.42" xyaxes="0.66 0.75 0 -0.42 0.37 0.83" fovy="45"/>
    {arms}
    {options.bodies}
  </worldbody>
  <equality>{mirrors}{options.equalities}</equality>
  <actuator>{servos}</actuator>
  {options.sections}
</mujoco>"""


def _servos(side: str) -> str:
    text = ""
    for hinge in HINGES:
        kp, kv, torque = _SERVO[hinge.strong]
        name = joint(side, hinge.name)
        text += (
            f'<position name="{name}" joint="{name}" kp="{kp}" kv="{kv}" '
            f'forcerange="-{torque} {torque}" inheritrange="1"/>'
        )
    return text + (
        f'<position name="{side}_gripper" joint="{side}_finger1" kp="2000" kv="40" '
        f'forcerange="-20 20" ctrlrange="0 {FINGER_OPEN_M}"/>'
    )


def _arm(side: str, finger_contype: int) -> str:
    """Return an arm: nested bodies, one for each hinge, with the gripper in the last."""
    accent = _ACCENT[side]
    looks = (
        f'<geom type="cylinder" size="0.042 0.035" pos="0 0 0.03" mass="0.6" rgba="{accent}" '
        f'{_GHOST}/>',
        f'<geom type="capsule" fromto="0 0 0 0 0 {HINGES[2].offset_m[2]}" size="0.028" mass="0.8" '
        f'rgba="{_DARK}" {_LINK}/>',
        f'<geom type="capsule" fromto="0 0 0 {HINGES[3].offset_m[0]} 0 0" size="0.024" mass="0.6" '
        f'rgba="{_DARK}" {_LINK}/>'
        f'<geom type="cylinder" fromto="0 -0.032 0 0 0.032 0" size="0.034" mass="0.1" '
        f'rgba="{accent}" {_GHOST}/>',
        f'<geom type="cylinder" fromto="0 -0.028 0 0 0.028 0" size="0.026" mass="0.15" '
        f'rgba="{accent}" {_GHOST}/>',
        f'<geom type="capsule" fromto="-0.02 0 0 0.02 0 0" size="0.02" mass="0.15" '
        f'rgba="{_DARK}" {_GHOST}/>',
        f'<geom type="cylinder" fromto="0 0 0 0.035 0 0" size="0.022" mass="0.1" '
        f'rgba="{accent}" {_GHOST}/>'
        f'<geom type="box" size="0.016 0.042 0.014" pos="0.05 0 0" mass="0.15" rgba="{_DARK}" '
        f'{_LINK}/>'
        f'<camera name="{side}_wrist" pos="0.03 0 0.05" xyaxes="0 -1 0 0.30 0 0.95" fovy="75"/>'
        f'<site name="{side}_tip" pos="{TIP_M} 0 0" quat="{" ".join(map(str, TIP_WXYZ))}" '
        'size="0.004" rgba="0 0 0 0"/>'
        + _finger(side, 1, 1, finger_contype) + _finger(side, 2, -1, finger_contype),
    )
    opened, closed = "", ""
    for hinge, look in zip(HINGES, looks, strict=True):
        name = joint(side, hinge.name)
        opened += (
            f'<body name="{name.replace("joint", "link")}" pos="{numbers_text(hinge.offset_m)}" '
            f'gravcomp="1"><joint name="{name}" class="{"strong" if hinge.strong else "weak"}" '
            f'axis="{numbers_text(hinge.axis)}" range="{hinge.lower_rad} {hinge.upper_rad}"/>{look}'
        )
        closed += "</body>"
    return (
        f'<body name="{side}_base" pos="{numbers_text(BASE_M[side])}">'
        f'<geom type="cylinder" size="0.05 0.03" pos="0 0 0.03" rgba="{_DARK}" {_GHOST}/>'
        f"{opened}{closed}</body>"
    )


def _finger(side: str, number: int, sign: int, contype: int) -> str:
    """Return a finger: a slab that is seen, and a thin pad that grips."""
    base, length = FINGER_END_M - FINGER_LENGTH_M, FINGER_LENGTH_M
    grip = (
        f'contype="{contype}" conaffinity="{contype}" friction="1.6 0.02 0.0005" condim="4" '
        f'priority="2" {HARD}'
    )
    return (
        f'<body name="{side}_finger{number}" pos="{base} {sign * 0.004} 0" gravcomp="1">'
        f'<joint name="{side}_finger{number}" class="finger" axis="0 {sign} 0"/>'
        f'<inertial pos="{length / 2} 0 0" mass="0.04" diaginertia="2e-5 2e-5 2e-5"/>'
        f'<geom type="box" size="{length * 0.35} 0.006 0.009" '
        f'pos="{length * 0.35} {sign * 0.006} 0" rgba="{_DARK}" {_GHOST} mass="0"/>'
        f'<geom name="{side}_pad{number}" type="box" size="{length * 0.3} 0.003 0.008" '
        f'pos="{length * 0.7} {sign * -0.001} 0" rgba="0.75 0.75 0.78 1" mass="0" {grip}/>'
        "</body>"
    )
