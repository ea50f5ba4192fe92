"""SpaceMice: one that moves all arms in turn, or one for each arm, with or without a pedal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from hiwm_core.config_files import nearest
from hiwm_core.config_schema import number
from hiwm_core.errors import ConfigError, DeviceError
from hiwm_teleop.devices.base import (
    ARMS,
    Device,
    DeviceOption,
    OperatorInput,
    OperatorView,
)
from hiwm_teleop.devices.buttons import Buttons, ButtonUse
from hiwm_teleop.devices.device_files import load_device_file
from hiwm_teleop.devices.device_parts import Part, PartCombiner, Stick, StickState
from hiwm_teleop.devices.joy import JoyFile, JoyParts, need_deadman
from hiwm_teleop.devices.motion import AxisName, AxisSetting, MotionSettings, shaped
from hiwm_teleop.devices.spacemouse_reader import Opened, SpaceMouseReader, button_names


@dataclass(frozen=True, kw_only=True)
class MouseSetting:
    """One SpaceMouse."""

    path: str = ""  # its node under /dev, or a link to it; empty = any
    serial: str = ""  # its serial number; empty = any
    arms: tuple[str, ...] = ()  # of the robot, next_arm cycles through them; empty = all


@dataclass(frozen=True, kw_only=True)
class SpaceMouseFile:
    """A file of config/devices for SpaceMice."""

    # Meaning of x, y, z, roll, pitch and yaw of a cap: docs/devices/spacemouse.md.
    convention: Literal["hid_z_up", "ros", "unity", "hid"]
    mice: tuple[MouseSetting, ...]
    axes: Mapping[AxisName, AxisSetting]
    buttons: Mapping[str, ButtonUse] = field(default_factory=dict)  # by pyspacemouse's names
    motion: MotionSettings = MotionSettings()
    rollback_steps: int = number(15, lower=1, upper=1000)
    silent_after_s: float = number(0.2, lower=0.05, upper=2.0)  # of a cap that is off centre
    pedal: str = ""  # a file of device joy whose buttons are added

    def __post_init__(self) -> None:
        """Refuse files that could swap arms, and files without a deadman."""
        if not self.mice:
            raise ConfigError("no mouse", where="mice", remedy="write at least one, [{}]")
        if len(self.mice) > 1 and not all(mouse.path or mouse.serial for mouse in self.mice):
            raise ConfigError(
                "two mice could swap arms if one has neither path nor serial", where="mice",
                remedy="give each one a path or a serial",
            )
        if not self.pedal:
            need_deadman(self.buttons)


class _Mouse:
    """One SpaceMouse of the device, with its stick and buttons."""

    def __init__(
        self, setting: MouseSetting, settings: SpaceMouseFile, arms: tuple[str, ...], place: str
    ) -> None:
        self._settings = settings
        self._setting = setting
        self._reader: SpaceMouseReader | None = None
        self.buttons: Buttons[str] = Buttons(
            settings.buttons, settings.rollback_steps, "spacemouse"
        )
        self.hand = Stick(
            arms=setting.arms or arms, axes=settings.axes, settings=settings.motion, where=place
        )

    def open(self, on_news: Callable[[], None]) -> Opened:
        """Open it; raises DeviceError if it is missing."""
        settings = self._settings
        self._reader = SpaceMouseReader(
            path=self._setting.path, serial=self._setting.serial, convention=settings.convention,
            off_centre=lambda values: any(
                shaped(values[axis], setting, 0.0) for axis, setting in settings.axes.items()
            ),
            silent_after_s=settings.silent_after_s, on_news=on_news,
        )
        return self._reader.open()

    def close(self) -> None:
        """Close it."""
        if self._reader is not None:
            self._reader.close()

    def look(self) -> Part:
        """Return its current state."""
        assert self._reader is not None
        for levels in self._reader.take_levels():
            self.buttons.feed(levels)
        state = self._reader.state
        named = self._setting.path or self._setting.serial
        return Part(
            buttons=self.buttons,
            hands=(StickState(hand=self.hand, values=state.values, received_s=state.received_s),),
            problem=" ".join(filter(None, [named, state.problem])) if state.problem else "",
        )


class SpaceMouse(Device):
    """One or more SpaceMice, read through pyspacemouse."""

    name = "spacemouse"
    OPTIONS: ClassVar[Mapping[str, DeviceOption]] = {
        "device_file": DeviceOption(
            default="",
            description="name of config/devices/NAME.yaml, or a path; empty = spacemouse",
        ),
        "arms": ARMS,
    }

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        file = str(self.options["device_file"]) or "spacemouse"
        settings = load_device_file(file, self.name, SpaceMouseFile)
        self._file, self._settings = file, settings
        self._mice = [
            _Mouse(mouse, settings, self.given_arms, f"{file}: mice[{i}]")
            for i, mouse in enumerate(settings.mice)
        ]
        self._pedal: JoyParts | None = None
        if settings.pedal:
            pedal = load_device_file(settings.pedal, "joy", JoyFile)
            self._pedal = JoyParts(pedal, settings.pedal, self.name)
        self._combiner = PartCombiner(self.name)
        self._opened = ""

    @property
    def joy_topics(self) -> tuple[str, ...]:
        """Return the pedal's topic."""
        return (self._pedal.topic,) if self._pedal else ()

    def open(self) -> None:
        """Open every mouse; raises DeviceError if one is missing, or if two are the same."""
        try:
            opened = [mouse.open(self.on_news) for mouse in self._mice]
            self._check(opened)
        except DeviceError:
            self.close()
            raise
        self._opened = ", ".join(f"{one.model} at {one.node}" for one in opened)

    def _check(self, opened: list[Opened]) -> None:
        nodes = [one.node for one in opened]
        if len(set(nodes)) < len(nodes):
            raise DeviceError(
                f"two mice are the same device: {', '.join(nodes)}",
                where=f"{self._file}: mice", remedy="give each one its own path or serial",
            )
        known = button_names()
        for name in self._settings.buttons:
            if name not in known:
                raise DeviceError(
                    f"no SpaceMouse has a button {name!r}", where=f"{self._file}: buttons",
                    remedy=f"use one of {', '.join(sorted(known))}{nearest(name, known)}",
                )
        present = {name for one in opened for name in one.buttons}
        uses = self._settings.buttons
        if not self._pedal and not any(uses.get(name) == "deadman" for name in present):
            raise DeviceError(
                f"no button of {opened[0].model} is the deadman",
                where=f"{self._file}: buttons",
                remedy=f"assign one of {', '.join(opened[0].buttons)}, or use a pedal"
                if opened[0].buttons else "it has no buttons: use a pedal",
            )

    def close(self) -> None:
        """Close all mice."""
        for mouse in self._mice:
            mouse.close()

    def read(self, view: OperatorView) -> OperatorInput:
        """Return the input from caps, buttons and pedal."""
        parts = [mouse.look() for mouse in self._mice]
        if self._pedal:
            parts += self._pedal.look(view)
        done = self._combiner.turn(view, parts)
        if self._opened:
            done = replace(done, message=", ".join(filter(None, [self._opened, done.message])))
            self._opened = ""
        return done
