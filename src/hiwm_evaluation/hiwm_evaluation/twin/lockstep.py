"""A world model beside the truth: both step under the same commands, and are compared."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.task_plugin import FrameMeasure
from hiwm_evaluation.twin.truths import TrueStep
from hiwm_learning.world_models.evaluation.metrics import psnr
from hiwm_learning.world_models.simulators import ImaginedObservation, WorldSimulator

Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class TwinStep:
    """One step of both sides."""

    step: int  # of the truth's episode
    true: dict[str, Frames]  # by camera, [H, W, 3] rgb
    imagined: dict[str, Frames]
    measured: NDArray[np.float64]  # [A] true, measured counterpart of the action
    psnr_db: dict[str, float]  # by camera
    joints_off: float  # largest difference of proprioception, in its units
    trust: float  # 0..1; NaN without a head, as the next two
    progress: float
    success: float


@dataclass
class Twin:
    """What both sides have shown so far."""

    cameras: tuple[str, ...]
    steps: list[TwinStep] = field(default_factory=list)

    def rows(self, measure: FrameMeasure, since: int = 0) -> list[dict[str, float | None]]:
        """Return the numbers of each step; None where a number is unknown.

        Args:
            measure: of the frames of the first camera.
            since: the first step to look at. A measure may see more in a longer run of frames.
        """
        camera, steps = self.cameras[0], self.steps[since:]
        true, imagined = (
            measure.look(np.stack([getattr(step, side)[camera] for step in steps]))
            for side in ("true", "imagined")
        )
        differences = measure.differences(
            imagined, true, np.stack([step.measured for step in steps])
        )
        errors = measure.error(differences)
        return [
            {
                "step": step.step, "psnr_db": step.psnr_db[camera],
                **{f"psnr_db_{name}": step.psnr_db[name] for name in self.cameras[1:]},
                "error": _known(float(errors[t])),
                **{
                    key: _known(value) for key, value in measure.summary({
                        name: values[t : t + 1] for name, values in differences.items()
                    }).items()
                },
                "joints_off": step.joints_off, "trust": _known(step.trust),
                "progress": _known(step.progress), "success": _known(step.success),
            }
            for t, step in enumerate(steps)
        ]


def run(
    twin: Twin, simulator: WorldSimulator[Any], truths: Iterable[TrueStep], steps: int, seed: int,
    report: Callable[[TwinStep], None],
) -> None:
    """Step both sides until the truth ends, and add every step to the twin.

    Args:
        twin: filled step by step, so that an interrupted run keeps what it has.
        simulator: of the world model.
        truths: observations in order, from the step that both begin at.
        steps: most steps.
        seed: of the world model's episode.
        report: called with each step.

    Raises:
        CheckpointError: the model cannot begin from the frames.
    """
    state: Any = None
    for number, true in enumerate(truths):
        if state is None:
            views = [true.images[name] for name in twin.cameras]
            state = simulator.begin(
                views[0] if len(views) == 1 else views, true.proprioception, seed
            )
        step = _compared(true, simulator.observe(state), twin.cameras)
        twin.steps.append(step)
        report(step)
        if true.action is None or number == steps:
            return
        state, _ = simulator.step(state, true.action)


def _compared(
    true: TrueStep, seen: ImaginedObservation, cameras: tuple[str, ...]
) -> TwinStep:
    imagined = {cameras[0]: seen.image, **seen.others}
    return TwinStep(
        step=true.step, true={name: np.array(true.images[name]) for name in cameras},
        imagined=imagined, measured=true.measured,
        psnr_db={name: float(psnr(true.images[name], imagined[name])) for name in cameras},
        joints_off=float(np.abs(seen.proprioception - true.proprioception).max()),
        trust=seen.trust, progress=seen.progress, success=seen.success,
    )


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
