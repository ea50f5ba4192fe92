"""Gamepads, foot pedals and other devices whose driver publishes sensor_msgs/Joy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from hiwm_core.config_files import ros_name
from hiwm_core.config_schema import number
from hiwm_core.errors import ConfigError
from hiwm_teleop.devices.base import (
    ARMS,
    Device,
    DeviceOption,
    JoySample,
    OperatorInput,
    OperatorView,
)
from hiwm_teleop.devices.buttons import Buttons, ButtonUse, ByControl
from hiwm_teleop.devices.device_files import load_device_file
from hiwm_teleop.devices.device_parts import Part, PartCombiner, Stick, StickState
from hiwm_teleop.devices.motion import AxisName, AxisSetting, MotionSettings

# Functions of a button that act on one stick, and are therefore listed with that stick.
HandUse = Literal["gripper", "next_arm", "next_lock"]


@dataclass(frozen=True, kw_only=True)
class StickSetting(AxisSetting):
    """One axis of a Joy message."""

    axis: int = number(lower=0, upper=63)  # index in Joy.axes


@dataclass(frozen=True, kw_only=True)
class TriggerSetting:
    """An axis of a Joy message that is pulled in one direction only."""

    axis: int = number(lower=0, upper=63)  # index in Joy.axes
    rest: float = number(0.0, lower=-1.0, upper=1.0)  # its value when released, 1 for joy_node
    pulled: float = number(1.0, lower=-1.0, upper=1.0)  # its value when pulled

    def __post_init__(self) -> None:
        if self.rest == self.pulled:
            raise ConfigError(
                f"rest and pulled are both {self.rest:g}", where="pulled",
                remedy="give the trigger's value when it is pulled",
            )

    def share(self, value: float) -> float:
        """Return how far it is pulled, 0..1; the sign of the way does not matter."""
        return min(abs((value - self.rest) / (self.pulled - self.rest)), 1.0)


@dataclass(frozen=True, kw_only=True)
class HandSetting:
    """The axes that move one arm."""

    axes: Mapping[AxisName, StickSetting]
    arms: tuple[str, ...] = ()  # of the robot, next_arm cycles through them; empty = all
    buttons: Mapping[int, HandUse] = field(default_factory=dict)
    trigger: TriggerSetting | None = None  # the arm's gripper


@dataclass(frozen=True, kw_only=True)
class JoyFile:
    """A file of config/devices for a sensor_msgs/Joy device."""

    topic: str  # relative to the graph's namespace
    # Drivers repeat their messages, so silence means loss.
    stale_after_s: float = number(lower=0.05, upper=2.0)
    buttons: Mapping[int, ButtonUse]  # index in Joy.buttons -> function
    hands: tuple[HandSetting, ...] = ()  # none: a pedal
    motion: MotionSettings = MotionSettings()
    rollback_steps: int = number(15, lower=1, upper=1000)

    def __post_init__(self) -> None:
        """Refuse a topic name that ROS does not accept, and a file without a deadman."""
        ros_name(self.topic, "topic")
        need_deadman(self.buttons)
        for place, use in self.buttons.items():
            for meant in (use.driving, use.watching) if isinstance(use, ByControl) else (use,):
                if meant in get_args(HandUse):
                    raise ConfigError(
                        f"{meant} belongs to one hand", where=f"buttons.{place}",
                        remedy=f"write it under that hand: buttons: {{{place}: {meant}}}",
                    )


def need_deadman(buttons: Mapping[Any, ButtonUse]) -> None:
    """Raise ConfigError where no button is the deadman."""
    if "deadman" not in buttons.values():
        raise ConfigError(
            "no button is the deadman", where="buttons",
            remedy="assign deadman to the button that is held to take control",
        )


class JoyParts:
    """The parts of a device behind one sensor_msgs/Joy topic: its buttons, and each hand.

    Args:
        settings: from its file.
        where: file name, for messages.
        device: device, for the arbiter's log.
        arms: of hands whose file names none; empty = all.
    """

    def __init__(
        self, settings: JoyFile, where: str, device: str, arms: tuple[str, ...] = ()
    ) -> None:
        self.topic = settings.topic
        self._stale_after_s = settings.stale_after_s
        self._axes = [hand.axes for hand in settings.hands]
        self._triggers = [hand.trigger for hand in settings.hands]
        self._hands = [
            Stick(arms=hand.arms or arms, axes=hand.axes, settings=settings.motion,
                  where=f"{where}: hands[{i}]")
            for i, hand in enumerate(settings.hands)
        ]
        uses: list[Mapping[int, ButtonUse]] = [
            settings.buttons, *(dict(hand.buttons) for hand in settings.hands)
        ]
        self._buttons = [Buttons(use, settings.rollback_steps, device) for use in uses]
        self._fed: JoySample | None = None

    def look(self, view: OperatorView) -> list[Part]:
        """Return the current state of its parts."""
        sample = view.joy.get(self.topic)
        problem = self._problem(sample, view.now_s)
        values: list[dict[AxisName, float]] = [dict.fromkeys(axes, 0.0) for axes in self._axes]
        pulled: list[float | None] = [None] * len(self._hands)
        received_s = view.now_s
        if sample is not None and not problem:
            received_s = sample.received_s
            pulled = [
                trigger.share(sample.axes[trigger.axis]) if trigger else None
                for trigger in self._triggers
            ]
            values = [
                {axis: sample.axes[setting.axis] for axis, setting in axes.items()}
                for axes in self._axes
            ]
            if sample is not self._fed:
                self._fed = sample
                # A driver may omit buttons that were never pressed: those are up.
                levels = {place: down != 0 for place, down in enumerate(sample.buttons)}
                for buttons in self._buttons:
                    buttons.feed(levels)
        return [Part(buttons=self._buttons[0], problem=problem), *(
            Part(
                buttons=buttons,
                hands=(StickState(
                    hand=hand, values=value, received_s=received_s, pulled=share
                ),),
            )
            for buttons, hand, value, share in zip(
                self._buttons[1:], self._hands, values, pulled, strict=True
            )
        )]

    def _problem(self, sample: JoySample | None, now_s: float) -> str:
        if sample is None:
            return f"waiting for sensor_msgs/Joy on {self.topic}: start its driver"
        if now_s - sample.received_s > self._stale_after_s:
            return f"lost: no message on {self.topic} for {self._stale_after_s:g} s"
        used: list[tuple[str, int]] = [
            (axis, setting.axis) for axes in self._axes for axis, setting in axes.items()
        ]
        used += [("trigger", trigger.axis) for trigger in self._triggers if trigger]
        for name, place in used:
            if place >= len(sample.axes):
                return (
                    f"{self.topic} has {len(sample.axes)} axes, but {name} is set to axis "
                    f"{place}: correct the device file"
                )
            if not math.isfinite(sample.axes[place]):
                return f"axis {place} of {self.topic} is not a number"
        return ""


class JoyDevice(Device):
    """A gamepad or pedal, through the driver that publishes it."""

    name = "joy"
    OPTIONS: ClassVar[Mapping[str, DeviceOption]] = {
        "device_file": DeviceOption(
            default="", description="name of config/devices/NAME.yaml, or a path; empty = gamepad"
        ),
        "arms": ARMS,
    }

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        file = str(self.options["device_file"]) or "gamepad"
        self._parts = JoyParts(
            load_device_file(file, self.name, JoyFile), file, self.name, self.given_arms
        )
        self._combiner = PartCombiner(self.name)

    @property
    def joy_topics(self) -> tuple[str, ...]:
        """Return its topic."""
        return (self._parts.topic,)

    def read(self, view: OperatorView) -> OperatorInput:
        """Return the input from sticks and buttons."""
        return self._combiner.turn(view, self._parts.look(view))
