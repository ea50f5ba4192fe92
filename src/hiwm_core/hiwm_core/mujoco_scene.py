"""Servos, physics and pictures of stand-ins in MuJoCo. Only their scenes import this module."""

import atexit
from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class MujocoScene:
    """The part of `task_plugin.Scene` that is the same for every robot in MuJoCo.

    Args:
        model: of robot and surroundings, with an actuator for each joint.
        joints: names in the model, in the embodiment's order [J].
        actuators: ids of their position servos [J].
        scale: joint positions times this are the model's [J].
        camera: name of the default camera.
        render_size: default width and height of images, px.
        shadows: whether to draw shadows and reflections.
    """

    def __init__(
        self, model: mujoco.MjModel, *, joints: Sequence[str], actuators: ArrayLike,
        scale: ArrayLike, camera: str, render_size: int, shadows: bool,
    ) -> None:
        self.model = model
        self.data = mujoco.MjData(model)
        self.timestep_s = float(model.opt.timestep)
        self._qpos = np.array([model.joint(name).qposadr[0] for name in joints])
        self._qvel = np.array([model.joint(name).dofadr[0] for name in joints])
        self._ctrl = np.asarray(actuators)
        self._scale = np.asarray(scale, dtype=float)
        self._target: Array = np.zeros(len(joints))
        self._camera = camera
        self._render_size = render_size
        self._shadows = shadows
        self._renderers: dict[int, mujoco.Renderer] = {}

    @property
    def joint_positions(self) -> Array:
        """Measured joints [J] in the embodiment's order and units."""
        return np.array(self.data.qpos[self._qpos] / self._scale)

    @property
    def joint_velocities(self) -> Array:
        """Measured joint velocities [J], unit/s."""
        return np.array(self.data.qvel[self._qvel] / self._scale)

    def set_target(self, target: Array) -> None:
        """Set the servos' targets [J]; they apply at the next `advance`."""
        self._target = np.asarray(target, dtype=float).copy()

    def hold(self, joint_positions: Array) -> None:
        """Put the joints at positions [J] and the servos' targets there, without physics."""
        self.data.qpos[self._qpos] = joint_positions * self._scale
        self.set_target(joint_positions)
        self.data.ctrl[self._ctrl] = self._target * self._scale

    def advance(self, seconds: float, ramp: bool = True) -> None:
        """Advance the physics by a multiple of the timestep; see `task_plugin.Scene.advance`."""
        steps = round(seconds / self.timestep_s)
        start, goal = self.data.ctrl[self._ctrl].copy(), self._target * self._scale
        for step in range(steps):
            share = (step + 1) / steps if ramp else 1.0
            self.data.ctrl[self._ctrl] = start + share * (goal - start)
            mujoco.mj_step(self.model, self.data)

    def render(self, size: int | None = None, camera: str = "") -> NDArray[np.uint8]:
        """Return a camera's image, rgb [size, size, 3]; of the default camera if unnamed.

        Images are rendered at double size and averaged, which is faster than multisampling.
        """
        size = size or self._render_size
        if size not in self._renderers:
            renderer = mujoco.Renderer(self.model, 2 * size, 2 * size)
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] &= self._shadows
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] &= self._shadows
            self._renderers[size] = renderer
            # Close it before the interpreter closes EGL's display, or its destructor fails.
            atexit.register(renderer.close)
        self._renderers[size].update_scene(self.data, camera=camera or self._camera)
        return _halved(self._renderers[size].render())

    def close(self) -> None:
        """Free the renderers while their display still exists."""
        for renderer in self._renderers.values():
            renderer.close()


def _halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the rounded means [H / 2, W / 2, 3] of squares of 2 by 2 pixels [H, W, 3]."""
    rows = pixels[0::2].astype(np.uint16) + pixels[1::2]
    return np.asarray((rows[:, 0::2] + rows[:, 1::2] + 2) >> 2, np.uint8)
