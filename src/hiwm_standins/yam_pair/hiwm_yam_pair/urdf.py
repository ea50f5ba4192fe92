"""The URDF of the two arms, for kinematics: links, hinges and the tip between the fingers.

`python -m hiwm_yam_pair.urdf > config/urdf/yam_pair.urdf` writes it. Tested against the MuJoCo
model by ``test_urdf.py``.
"""

from hiwm_yam_pair.geometry import (
    BASE_M,
    HINGES,
    SIDES,
    TIP_M,
    TIP_RPY_RAD,
    Vector,
    joint,
    numbers_text,
)

ROOT = "table"


def urdf() -> str:
    """Return the URDF of both arms on the table."""
    lines = [
        '<?xml version="1.0"?>',
        "<!-- Made by hiwm_yam_pair.urdf from the numbers of the stand-in's arms. -->",
        '<robot name="yam_pair">',
        f'  <link name="{ROOT}"/>',
    ]
    for side in SIDES:
        parent = joint(side, "base")
        lines += _link(parent) + _fixed(joint(side, "mount"), ROOT, parent, BASE_M[side])
        for hinge in HINGES:
            child = joint(side, hinge.name.replace("joint", "link"))
            lines += [
                *_link(child),
                f'  <joint name="{joint(side, hinge.name)}" type="revolute">',
                f'    <parent link="{parent}"/>',
                f'    <child link="{child}"/>',
                f'    <origin xyz="{numbers_text(hinge.offset_m)}"/>',
                f'    <axis xyz="{numbers_text(hinge.axis)}"/>',
                f'    <limit lower="{hinge.lower_rad}" upper="{hinge.upper_rad}" effort="40" '
                'velocity="3"/>',
                "  </joint>",
            ]
            parent = child
        tip = joint(side, "tip")
        mount = _fixed(joint(side, "tip_mount"), parent, tip, (TIP_M, 0, 0), TIP_RPY_RAD)
        lines += _link(tip) + mount
    return "\n".join([*lines, "</robot>", ""])


def _link(name: str) -> list[str]:
    return [f'  <link name="{name}"/>']


def _fixed(
    name: str, parent: str, child: str, offset: Vector, rpy: Vector = (0, 0, 0)
) -> list[str]:
    return [
        f'  <joint name="{name}" type="fixed">',
        f'    <parent link="{parent}"/>',
        f'    <child link="{child}"/>',
        f'    <origin xyz="{numbers_text(offset)}" rpy="{numbers_text(rpy)}"/>',
        "  </joint>",
    ]


if __name__ == "__main__":
    print(urdf(), end="")
