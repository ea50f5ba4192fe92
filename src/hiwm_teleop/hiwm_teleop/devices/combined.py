"""Several devices as one operator: each moves its own arms.

Any deadman gives control, and the loss of any device is a loss of all. A device moves its arms only
while its own deadman is held. Pure but for opening. Tested by ``test_combined.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError, DeviceError
from hiwm_core.tips import TipStep
from hiwm_teleop.devices.base import (
    Device,
    DeviceOption,
    OperatorEvent,
    OperatorInput,
    OperatorView,
)
from hiwm_teleop.devices.device_files import load_device_file
from hiwm_teleop.devices.loss import LossGuard

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """One device and the arms that it moves."""

    device: str
    arms: tuple[str, ...]
    device_file: str = ""  # as for that device


@dataclass(frozen=True, kw_only=True)
class CombinedFile:
    """A file of config/devices for several devices."""

    devices: tuple[PartFile, ...]

    def __post_init__(self) -> None:
        if len(self.devices) < 2:
            raise ConfigError(
                "fewer than two devices", where="devices", remedy="use the device itself"
            )
        arms = [arm for part in self.devices for arm in part.arms]
        for number, part in enumerate(self.devices):
            if not part.arms:
                raise ConfigError(
                    f"{part.device} has no arm", where=f"devices[{number}].arms",
                    remedy="name the arms that it moves",
                )
            for arm in part.arms:
                if arms.count(arm) > 1:
                    raise ConfigError(
                        f"arm {arm!r} has two devices", where=f"devices[{number}].arms",
                        remedy="leave it to one of them",
                    )


class CombinedDevice(Device):
    """Several devices, one for each arm or more."""

    name = "combined"
    OPTIONS: ClassVar[Mapping[str, DeviceOption]] = {
        "device_file": DeviceOption(
            default="", description="name of config/devices/NAME.yaml, or a path; must be given"
        ),
        "tty": DeviceOption(default="/dev/tty", description="terminal of a device that has keys"),
    }

    def __init__(
        self, options: Mapping[str, Any] | None = None,
        find: Callable[[str], type[Device]] | None = None,
    ) -> None:
        super().__init__(options)
        file = str(self.options["device_file"])
        if not file:
            raise DeviceError(
                "no devices are named", where=f"device {self.name}",
                remedy="give device_file:=NAME from config/devices, such as mouse_and_gamepad",
            )
        # The registry lists this device too.
        from hiwm_teleop.devices.registry import device_class

        settings = load_device_file(file, self.name, CombinedFile)
        self._parts: list[tuple[tuple[str, ...], Device]] = []
        for number, part in enumerate(settings.devices):
            kind = (find or device_class)(part.device)
            if kind.synchronous or kind.name == self.name:
                raise DeviceError(
                    f"{part.device} cannot be combined", where=f"{file}: devices[{number}]",
                    remedy="use a device that a person moves",
                )
            given = {
                "device_file": part.device_file, "arms": ",".join(part.arms),
                "tty": self.options["tty"],
            }
            self._parts.append((
                part.arms, kind({key: given[key] for key in given if key in kind.OPTIONS}),
            ))
        self._file = file
        self._known = ""  # hash of the robot whose arms were checked
        self.shows_status = any(device.shows_status for _, device in self._parts)
        self._guard = LossGuard(self.name)

    @property
    def joy_topics(self) -> tuple[str, ...]:
        """Return the topics of all devices."""
        topics = (topic for _, device in self._parts for topic in device.joy_topics)
        return tuple(dict.fromkeys(topics))

    def open(self) -> None:
        """Open every device; raises DeviceError if one cannot be opened."""
        try:
            for _, device in self._parts:
                device.on_news = self.on_news
                device.open()
        except DeviceError:
            self.close()
            raise

    def close(self) -> None:
        """Close every device."""
        for _, device in self._parts:
            device.close()

    def read(self, view: OperatorView) -> OperatorInput:
        """Return the input of all devices."""
        robot = view.world.embodiment if view.world is not None else None
        if robot is not None and robot.hash != self._known:
            self._check_arms(robot)
        done = [(arms, device.read(view)) for arms, device in self._parts]
        events = _once([event for _, one in done for event in one.events])
        lines = [one.message for _, one in done]
        problem = next((one.problem for _, one in done if one.problem), "")
        lost = self._guard.lost(problem, view)
        if lost is not None:
            return replace(
                lost, events=_once([*lost.events, *events]), message=_joined([*lines, lost.message])
            )
        held, line = self._guard.present(
            any(one.deadman for _, one in done), all(not one.deadman for _, one in done)
        )
        mixed = _mixed(done, robot) if held and robot is not None else OperatorInput()
        return replace(
            mixed, deadman=held, events=events, silent=any(one.silent for _, one in done),
            message=_joined([*lines, line]),
            steering=", ".join(
                f"{' and '.join(arms)}: {one.steering}" for arms, one in done if one.steering
            ),
        )

    def _check_arms(self, robot: Embodiment) -> None:
        self._known = robot.hash
        for number, (arms, _) in enumerate(self._parts):
            for arm in arms:
                if arm not in robot.arms:
                    raise DeviceError(
                        f"{robot.name} has no arm {arm!r}",
                        where=f"{self._file}: devices[{number}].arms",
                        remedy=f"use some of {', '.join(robot.arms)}",
                    )


def _mixed(
    done: Sequence[tuple[tuple[str, ...], OperatorInput]], robot: Embodiment
) -> OperatorInput:
    """Return each device's motion of its own arms."""
    delta = np.zeros(robot.action_dim)
    action = np.full(robot.action_dim, np.nan)
    tips: dict[str, TipStep] = {}
    for arms, one in done:
        mine = np.array([entry.arm in arms for entry in robot.actions])
        if one.delta is not None:
            delta[mine] += one.delta[mine]
        if one.action is not None:
            action[mine] = one.action[mine]
        tips |= {arm: step for arm, step in one.tips.items() if arm in arms}
    return OperatorInput(
        delta=delta, action=None if np.isnan(action).all() else action, tips=tips
    )


def _once(events: Sequence[OperatorEvent]) -> tuple[OperatorEvent, ...]:
    """Return events without a second one of a kind."""
    return tuple({event.kind: event for event in reversed(events)}.values())[::-1]


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(line for line in lines if line)
