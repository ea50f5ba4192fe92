"""The scripted operator: a device that looks at the camera images and acts like a person.

It sees only what a person sees: the pictures, the control state, and its own arms. The task's
plug-in reads the pictures and gives the corrections' commands.
"""

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from hiwm_core.errors import DeviceError
from hiwm_core.task_plugin import Operator, Sight
from hiwm_teleop.devices.base import Device, DeviceOption, OperatorInput, OperatorView, WorldView
from hiwm_teleop.operator_script import OperatorScript
from hiwm_teleop.rollout_watch import WatchOptions
from hiwm_teleop.script_options import NO_TARGET, ScriptOptions


class ScriptedDevice(Device):
    """Watches, takes over, corrects and branches by `OperatorScript`."""

    name = "scripted"
    synchronous = True
    of_person = False
    OPTIONS: ClassVar[Mapping[str, DeviceOption]] = {
        "failures": DeviceOption(
            default=2, description="failure states corrected before it exits", lower=1, upper=1000
        ),
        "branches": DeviceOption(
            default=3, description="continuations of each failure state", lower=1, upper=100
        ),
        "rollback_steps": DeviceOption(
            default=15, lower=0, upper=1000,
            description="steps back from a detected failure; 0 corrects in place, once",
        ),
        "correction_ticks": DeviceOption(
            default=0, lower=0, upper=10_000,
            description="longest correction [ticks]; 0: as the task's operator needs",
        ),
        "operator_ticks": DeviceOption(
            default=NO_TARGET, lower=1, upper=10_000_000,
            description="of corrections that did not fail; no new failure state starts after them",
        ),
        "follow_ticks": DeviceOption(
            default=40, description="time to watch after a handback [ticks]", lower=0, upper=10_000
        ),
        "window_ticks": DeviceOption(
            default=80, description="no progress for this long is a failure [ticks]",
            lower=2, upper=10_000,
        ),
        "episode_ticks": DeviceOption(
            default=220, description="step budget of an episode [ticks]", lower=2, upper=10_000
        ),
        "min_trust": DeviceOption(
            default=0.15, description="trust below this is a failure, 0..1", lower=0.0, upper=1.0
        ),
        "max_ticks": DeviceOption(
            default=100_000, description="of the whole session", lower=1, upper=10_000_000
        ),
        "max_seconds": DeviceOption(
            default=150.0, description="of the whole session [s]", lower=1.0, upper=1e6
        ),
        "seed": DeviceOption(
            default=0, description="of the corrections", lower=0, upper=2**31 - 1
        ),
    }

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._started = time.monotonic()
        self._script: OperatorScript | None = None
        self._operator: Operator | None = None
        self._seen: tuple[int, int] | None = None
        self._sight: Sight | None = None

    def open(self) -> None:
        """Start the clock of `max_seconds`."""
        self._started = time.monotonic()

    def read(self, view: OperatorView) -> OperatorInput:
        """Return what the script decides."""
        if self._script is None:
            if view.world is None:
                self._check_patience(view.now_s)
                return OperatorInput(silent=True)
            self._script = self._make_script(view.world)
        return self._script.decide(view, self._look(view))

    def _look(self, view: OperatorView) -> Sight | None:
        """Return the contents of the newest images, analysed once per tick."""
        tick = view.tick
        if tick is None or self._operator is None:
            return None
        if (tick.epoch, tick.step) != self._seen or self._sight is None:
            jumped = self._seen is None or self._seen[0] != tick.epoch
            self._sight = self._operator.look(tick.images, tick.measured, jumped=jumped)
            self._seen = (tick.epoch, tick.step)
        return self._sight

    def _make_script(self, world: WorldView) -> OperatorScript:
        self._operator = world.task.stand_in().operator(world.embodiment)
        options = dict(self.options)
        options["correction_ticks"] = (
            options["correction_ticks"] or self._operator.correction_ticks
        )
        watch = WatchOptions(
            **{key: options.pop(key) for key in ("window_ticks", "episode_ticks", "min_trust")}
        )
        return OperatorScript(
            world.task, ScriptOptions(watch=watch, **options),
            self._operator.correction, self._started,
        )

    def _check_patience(self, now_s: float) -> None:
        if now_s - self._started > self.options["max_seconds"]:
            raise DeviceError(
                f"no world appeared within {self.options['max_seconds']:.0f} s",
                where="device scripted", remedy="start a world in the same namespace and domain",
            )
