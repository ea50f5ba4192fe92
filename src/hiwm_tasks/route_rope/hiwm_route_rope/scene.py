"""The rope and the two clips in MuJoCo. Only friction holds the rope in the fingers.

The rope is a chain of short capsules, rooted in its middle so that errors do not add up along it.
"""

import mujoco
import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import Values
from hiwm_route_rope.names import (
    POINTS,
    ROUTED,
    SEGMENTS,
    Array,
    clips_of,
)
from hiwm_route_rope.shape import (
    CLIP_GAP_M,
    CLIP_HEIGHT_M,
    CLIP_LENGTH_M,
    RADIUS_M,
    ROPE_KG,
    SEGMENT_M,
    WALL_M,
    holds,
    rope_at,
    rope_directions,
)
from hiwm_yam_pair.geometry import SIDES
from hiwm_yam_pair.mjcf import HARD, Options
from hiwm_yam_pair.scene import PairScene
from hiwm_yam_pair.scene_names import WARNINGS

CLIP_RGBA = {"left": "0.05 0.50 0.22 1", "right": "0.12 0.25 0.75 1"}
ROPE_RGBA = ("0.85 0.10 0.08 1", "0.95 0.22 0.12 1")
_SETTLE_S = 0.5
_ROOT = SEGMENTS // 2

# The discrete integrator: implicitfast exploded in 5 of 100 random episodes, this one in none.
PHYSICS = (
    'timestep="0.004" integrator="discrete" solver="Newton" iterations="10" ls_iterations="10" '
    'cone="elliptic" impratio="3"'
)


def _rope() -> str:
    def capsule(i: int, start: float, end: float) -> str:
        return (
            f'<geom type="capsule" fromto="{start} 0 0 {end} 0 0" size="{RADIUS_M}" '
            f'mass="{ROPE_KG / SEGMENTS}" rgba="{ROPE_RGBA[i % 2]}" contype="1" conaffinity="0" '
            f'friction="0.7 0.005 0.0002" condim="3" {HARD}/>'
            f'<site name="rope{i}" pos="{(start + end) / 2} 0 0" size="0.001" rgba="0 0 0 0"/>'
        )

    bend = 'stiffness="0.0006" damping="0.0004" armature="1e-5"'
    hinges = f'<joint type="hinge" axis="0 0 1" {bend}/><joint type="hinge" axis="0 1 0" {bend}/>'

    def chain(sign: int, count: int) -> str:
        text = ""
        for k in range(count):
            i = _ROOT + sign * (k + 1)
            at = sign * SEGMENT_M * (1.0 if k else 0.5)
            text += (
                f'<body name="rope{i}" pos="{at} 0 0">{hinges}'
                f"{capsule(i, 0.0, sign * SEGMENT_M)}"
            )
        return text + "</body>" * count

    return (
        f'<body name="rope{_ROOT}" pos="0 0 0.1"><joint type="free" name="rope" armature="1e-5"/>'
        f"{capsule(_ROOT, -SEGMENT_M / 2, SEGMENT_M / 2)}"
        f"{chain(1, SEGMENTS - 1 - _ROOT)}{chain(-1, _ROOT)}</body>"
    )


def _clip(side: str) -> str:
    """Return a clip: two walls with flared lips. The rope passes between them along y."""
    touch = f'friction="0.3 0.005 0.0001" {HARD} rgba="{CLIP_RGBA[side]}"'
    half, middle = WALL_M / 2, (CLIP_GAP_M + WALL_M) / 2
    geoms = ""
    for sign in (1, -1):
        geoms += (
            f'<geom type="box" size="{half} {CLIP_LENGTH_M / 2} {CLIP_HEIGHT_M / 2}" '
            f'pos="{sign * middle} 0 {CLIP_HEIGHT_M / 2}" {touch}/>'
            f'<geom type="box" size="0.0025 {CLIP_LENGTH_M / 2} 0.007" '
            f'pos="{sign * (middle + 0.003)} 0 {CLIP_HEIGHT_M + 0.004}" euler="0 {sign * 0.7} 0" '
            f"{touch}/>"
        )
    return f'<body name="{side}_clip" mocap="true" pos="0.4 0 0">{geoms}</body>'


class RopeScene(PairScene):
    """The arms, the rope and the clips; see `PairScene`."""

    def __init__(self, embodiment: Embodiment, render_size: int) -> None:
        bodies = _rope() + "".join(_clip(side) for side in SIDES)
        super().__init__(embodiment, Options(physics=PHYSICS, bodies=bodies), render_size)
        model = self.model
        self._start: dict[str, float] = {}
        self._points = [model.site(f"rope{i}").id for i in range(SEGMENTS)]
        self._root = int(model.joint("rope").qposadr[0])
        self._turns = [
            int(model.jnt_qposadr[model.body(f"rope{i}").jntadr[0]]) for i in range(SEGMENTS)
        ]
        self._mocap = [int(model.body(f"{side}_clip").mocapid[0]) for side in SIDES]
        self._table_rgba = model.geom("table").rgba.copy()
        self._light = model.light("sun").diffuse.copy()
        self._ambient = model.vis.headlight.ambient.copy()

    def _arrange(self, start: Values) -> None:
        self._start = dict(start)
        model, data = self.model, self.data
        for i, (x, y, yaw) in zip(self._mocap, clips_of(start), strict=True):
            data.mocap_pos[i] = (x, y, 0.0)
            data.mocap_quat[i] = (np.cos(yaw / 2), 0, 0, np.sin(yaw / 2))
        turns = rope_directions(start)
        x, y = rope_at(start)[_ROOT]
        half = turns[_ROOT] / 2
        data.qpos[self._root:self._root + 7] = (
            x, y, RADIUS_M + 0.001, np.cos(half), 0, 0, np.sin(half)
        )
        for i in range(SEGMENTS):
            if i != _ROOT:
                before = i - 1 if i > _ROOT else i + 1
                data.qpos[self._turns[i]] = turns[i] - turns[before]
        bright, side = start["light"], start["light_from_rad"]
        model.light("sun").diffuse[:] = self._light * bright
        model.light("sun").dir[:] = (0.1, -np.sin(side) * 0.6, -1.0)
        model.vis.headlight.ambient[:] = self._ambient * bright
        mujoco.mj_step(model, data, round(_SETTLE_S / self.timestep_s))

    @property
    def rope(self) -> Array:
        """Middles of the segments [N, 3], m, in the table frame."""
        return self.data.site_xpos[self._points].copy()

    @property
    def truth(self) -> dict[str, float]:
        """The start, the rope's points, and which clips hold it."""
        rope = self.rope
        held = [holds(rope, clip) for clip in clips_of(self._start)]
        return {
            **self._start, **dict(zip(POINTS, rope.ravel().tolist(), strict=True)),
            **dict(zip(ROUTED, map(float, held), strict=True)), WARNINGS: float(self.warnings),
        }
