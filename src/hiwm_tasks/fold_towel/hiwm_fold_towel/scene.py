"""The towel in MuJoCo: a flexible sheet whose vertices slide freely.

A soft pin holds it in the fingers: when they close, the nearest vertex within reach is pinned to
the hand, and let go when they open. Friction alone never lifted it. Fingers pass through the cloth.
"""

import mujoco
import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.task_plugin import Values
from hiwm_fold_towel.names import (
    COLUMNS,
    COVERED,
    HELD,
    LENGTH_M,
    POINTS,
    ROWS,
    WIDTH_M,
    Array,
    broken,
    covered_share,
)
from hiwm_yam_pair.geometry import SIDES, TIP_M, gripper
from hiwm_yam_pair.mjcf import Options
from hiwm_yam_pair.scene import PairScene
from hiwm_yam_pair.scene_names import WARNINGS

TOWEL_KG, RADIUS_M = 0.06, 0.0035
GRIP_M = 0.018  # a vertex this near to a tip is taken
_SHUT, _OPEN = 0.25, 0.35  # gripper ratios that take, and let go
_SETTLE_S = 0.8
_FINE = 2  # skin quads along one edge of the mesh
_FRONT, _BACK = "0.16 0.36 0.78 1", "0.95 0.62 0.10 1"

# The discrete integrator, and one condim for the cloth: others diverged or let it creep.
PHYSICS = (
    'timestep="0.004" integrator="discrete" solver="CG" iterations="60" ls_iterations="10" '
    'cone="pyramidal" impratio="1" tolerance="1e-8"'
)


def _bodies() -> str:
    text, mass = "", TOWEL_KG / (ROWS * COLUMNS)
    slides = "".join(f'<joint type="slide" axis="{axis}"/>' for axis in ("1 0 0", "0 1 0", "0 0 1"))
    for k, (x, y) in enumerate(_rest()):
        text += (
            f'<body name="v{k}" pos="{x} {y} 0"><inertial pos="0 0 0" mass="{mass}" '
            f'diaginertia="1e-6 1e-6 1e-6"/>{slides}</body>'
        )
    return text


def _rest() -> Array:
    """Return the flat towel's vertices about its middle, [ROWS * COLUMNS, 2], m."""
    x = np.linspace(-LENGTH_M / 2, LENGTH_M / 2, ROWS)
    y = np.linspace(-WIDTH_M / 2, WIDTH_M / 2, COLUMNS)
    return np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)


def _cloth() -> str:
    elements = []
    for i in range(ROWS - 1):
        for j in range(COLUMNS - 1):
            a, d = i * COLUMNS + j, i * COLUMNS + j + 1
            b, c = a + COLUMNS, d + COLUMNS
            elements += [a, b, c, a, c, d] if (i + j) % 2 == 0 else [a, b, d, b, c, d]
    bodies = " ".join(f"v{k}" for k in range(ROWS * COLUMNS))
    return (
        f'<flex name="towel" dim="2" radius="{RADIUS_M}" group="4" body="{bodies}" '
        f'element="{" ".join(map(str, elements))}">'
        '<elasticity young="3e4" poisson="0.1" thickness="2e-3" elastic2d="both" damping="0.01"/>'
        '<contact contype="17" conaffinity="18" selfcollide="auto" condim="1" '
        'friction="0.6 0.005 0.0001" solref="0.008 1" solimp="0.95 0.99 0.001"/></flex>'
    )


def _weights(place: int, count: int) -> dict[int, float]:
    """Return a skin vertex's cubic spline weights of the mesh's vertices along one axis."""
    at = place / _FINE
    first = min(int(at), count - 2)
    f = at - first
    basis = (
        (1 - f) ** 3 / 6, (3 * f**3 - 6 * f**2 + 4) / 6, (-3 * f**3 + 3 * f**2 + 3 * f + 1) / 6,
        f**3 / 6,
    )
    weights: dict[int, float] = {}
    for offset, weight in zip((-1, 0, 1, 2), basis, strict=True):
        i = first + offset
        # Beyond the border the mesh goes on straight, which keeps the edge in place.
        if i < 0:
            terms = [(0, 2 * weight), (1, -weight)]
        elif i > count - 1:
            terms = [(count - 1, 2 * weight), (count - 2, -weight)]
        else:
            terms = [(i, weight)]
        for k, share in terms:
            weights[k] = weights.get(k, 0.0) + share
    return {k: share for k, share in weights.items() if share > 1e-9}


def _skins() -> str:
    """Return a front and a back: two skins over the same vertices, wound the other way round."""
    rows, columns = (ROWS - 1) * _FINE + 1, (COLUMNS - 1) * _FINE + 1
    bones: dict[int, tuple[list[int], list[float]]] = {
        k: ([], []) for k in range(ROWS * COLUMNS)
    }
    vertices: list[float] = []
    for u in range(rows):
        for v in range(columns):
            for i, one in _weights(u, ROWS).items():
                for j, other in _weights(v, COLUMNS).items():
                    bones[i * COLUMNS + j][0].append(len(vertices) // 3)
                    bones[i * COLUMNS + j][1].append(one * other)
            x, y = u / (rows - 1) - 0.5, v / (columns - 1) - 0.5
            vertices += [x * LENGTH_M, y * WIDTH_M, 0]
    bone_text = "".join(
        f'<bone body="v{k}" bindpos="{x:.5f} {y:.5f} 0" bindquat="1 0 0 0" '
        f'vertid="{" ".join(map(str, bones[k][0]))}" '
        f'vertweight="{" ".join(f"{w:.5f}" for w in bones[k][1])}"/>'
        for k, (x, y) in enumerate(_rest())
    )
    text = ""
    for name, back in (("front", False), ("back", True)):
        faces = []
        for u in range(rows - 1):
            for v in range(columns - 1):
                a, d = u * columns + v, u * columns + v + 1
                b, c = a + columns, d + columns
                faces += [a, c, b, a, d, c] if back else [a, b, c, a, c, d]
        text += (
            f'<skin name="{name}" rgba="{_BACK if back else _FRONT}" inflate="0.0012" '
            f'vertex="{" ".join(f"{x:.5f}" for x in vertices)}" '
            f'face="{" ".join(map(str, faces))}">{bone_text}</skin>'
        )
    return text


class TowelScene(PairScene):
    """The arms and the towel; see `PairScene`."""

    def __init__(self, embodiment: Embodiment, render_size: int) -> None:
        pins = "".join(
            f'<connect name="{side}_pin{k}" body1="{side}_link6" body2="v{k}" '
            f'anchor="{TIP_M} 0 0" active="false" solref="0.012 1" solimp="0.9 0.95 0.001"/>'
            for side in SIDES for k in range(ROWS * COLUMNS)
        )
        super().__init__(embodiment, Options(
            physics=PHYSICS, bodies=_bodies(), equalities=pins,
            sections=f"<deformable>{_cloth()}{_skins()}</deformable>",
            table='contype="39" conaffinity="39" priority="1" condim="3"', finger_contype=32,
        ), render_size)
        model = self.model
        self._start: dict[str, float] = {}
        self._bodies = np.array([model.body(f"v{k}").id for k in range(ROWS * COLUMNS)])
        self._towel = np.array([model.jnt_qposadr[model.body_jntadr[b]] for b in self._bodies])
        self._flat = model.body_pos[self._bodies].copy()
        self._pins = {
            side: [model.equality(f"{side}_pin{k}").id for k in range(ROWS * COLUMNS)]
            for side in SIDES
        }
        self._hands = {side: model.body(f"{side}_link6").id for side in SIDES}
        self._grips = {side: embodiment.joint_names.index(gripper(side)) for side in SIDES}
        self._held: dict[str, int | None] = dict.fromkeys(SIDES)
        self._broken = False  # since the start
        self._sun = model.light("sun").diffuse.copy()
        self._ambient = model.vis.headlight.ambient.copy()

    @property
    def towel(self) -> Array:
        """Vertices [ROWS, COLUMNS, 3], m."""
        return self.data.xpos[self._bodies].reshape(ROWS, COLUMNS, 3).copy()

    @property
    def truth(self) -> dict[str, float]:
        """The start, the vertices, which hands hold the towel, and the share that it covers.

        Broken cloth counts as a warning of the physics.
        """
        towel = self.towel
        return {
            **self._start, **dict(zip(POINTS, towel.ravel().tolist(), strict=True)),
            **{name: float(self._held[side] is not None) for name, side in zip(
                HELD, SIDES, strict=True
            )},
            COVERED: covered_share(towel), WARNINGS: float(self.warnings + self._broken),
        }

    def advance(self, seconds: float, ramp: bool = True) -> None:
        """Take or let go of the towel, and advance the physics."""
        self._grip()
        super().advance(seconds, ramp)
        self._broken |= broken(self.towel)

    def _grip(self) -> None:
        data, positions = self.data, self.joint_positions
        for side in SIDES:
            held, ratio = self._held[side], positions[self._grips[side]]
            target = self._target[self._grips[side]]
            if held is not None and target > _OPEN:
                data.eq_active[self._pins[side][held]] = 0
                self._held[side] = None
            elif held is None and target < _SHUT and ratio < _SHUT:
                tip, _ = self.tip(side)
                away = np.linalg.norm(data.xpos[self._bodies] - tip, axis=1)
                nearest = int(away.argmin())
                if away[nearest] < GRIP_M:
                    pin, hand = self._pins[side][nearest], self._hands[side]
                    local = data.xmat[hand].reshape(3, 3).T @ (
                        data.xpos[self._bodies[nearest]] - data.xpos[hand]
                    )
                    self.model.eq_data[pin, 0:3], self.model.eq_data[pin, 3:6] = local, 0.0
                    data.eq_active[pin] = 1
                    self._held[side] = nearest

    def _arrange(self, start: Values) -> None:
        self._start, self._held, self._broken = dict(start), dict.fromkeys(SIDES), False
        model, data = self.model, self.data
        places = np.column_stack([_rest(), np.zeros(ROWS * COLUMNS)])
        # A wrinkle: the cloth is bent out of its plane, its length kept, and dropped.
        along = np.array([np.cos(start["wrinkle_from_rad"]), np.sin(start["wrinkle_from_rad"])])
        way = np.linspace(-0.25, 0.25, 501)
        slope = start["wrinkle"] * np.sin(2 * np.pi / 0.16 * way + start["wrinkle_phase_rad"])
        height, reach = np.cumsum(np.sin(slope)) * 1e-3, np.cumsum(np.cos(slope)) * 1e-3
        reach -= np.interp(0, way, reach)
        at = places[:, :2] @ along
        places[:, :2] += (np.interp(at, way, reach) - at)[:, None] * along
        places[:, 2] = np.interp(at, way, height)
        places[:, 2] -= places[:, 2].min()
        cos, sin = np.cos(start["towel_yaw_rad"]), np.sin(start["towel_yaw_rad"])
        turned = places @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        turned += (start["towel_x_m"], start["towel_y_m"], 0.012)
        for axis in range(3):
            data.qpos[self._towel + axis] = turned[:, axis] - self._flat[:, axis]
        bright, side = start["light"], start["light_from_rad"]
        model.light("sun").diffuse[:] = self._sun * bright
        model.light("sun").dir[:] = (0.1, -np.sin(side) * 0.6, -1.0)
        model.vis.headlight.ambient[:] = self._ambient * bright
        mujoco.mj_step(model, data, round(_SETTLE_S / self.timestep_s))
