"""Leader arms: small arms that a person moves, followed by a robot's joints, or by its tips."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from hiwm_core.control import Mode
from hiwm_core.errors import DeviceError
from hiwm_teleop.devices.base import (
    Device,
    DeviceOption,
    EventKind,
    OperatorInput,
    OperatorView,
    TickView,
    WorldView,
)
from hiwm_teleop.devices.device_files import load_device_file
from hiwm_teleop.devices.joy import JoyFile, JoyParts
from hiwm_teleop.devices.loss import LossGuard
from hiwm_teleop.key_intents import KeyIntents
from hiwm_teleop.leader.arm import LeaderArm
from hiwm_teleop.leader.follower_map import Array, FollowerMap
from hiwm_teleop.leader.following import Following
from hiwm_teleop.leader.leader_file import DEVICE, JointSwitch, Switch, load_leader
from hiwm_teleop.status_line import StatusLine
from hiwm_teleop.terminal import Terminal

HELP = (
    "t take over, h hand back, c clutch | space pause or resume, x stop | [n]b back n steps, "
    "f fork | y success, n failure, r reset | q quit, ? this help"
)
# Shortest interval between messages about what keeps an arm from following.
_SAY_S = 2.0


class LeaderArmDevice(Device):
    """One or more leader arms on servo buses; keys, a pedal or a joint hold control."""

    name = DEVICE
    OPTIONS: ClassVar[Mapping[str, DeviceOption]] = {
        "device_file": DeviceOption(
            default="", description="name of config/devices/NAME.yaml, or a path; must be given"
        ),
        "tty": DeviceOption(default="/dev/tty", description="terminal to read keys from"),
    }

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._file = str(self.options["device_file"])
        if not self._file:
            raise DeviceError(
                "no leader is named", where=f"device {DEVICE}",
                remedy="give device_file:=NAME from config/devices, such as so101_leader",
            )
        self._settings = load_leader(self._file)
        self._arms = {
            name: LeaderArm(self._settings, name, self._file) for name in self._settings.arms
        }
        self._terminal = Terminal(str(self.options["tty"])) if self._settings.keys else None
        self._status = StatusLine(self._terminal, "t takes over, ? lists the keys") \
            if self._terminal else None
        self.shows_status = self._status is not None
        # Moving arms show that a person is present, so keys need no timeout.
        self._keys = KeyIntents(deadman_window_s=math.inf)
        self._pedal: JoyParts | None = None
        if self._settings.pedal:
            pedal = load_device_file(self._settings.pedal, "joy", JoyFile)
            self._pedal = JoyParts(pedal, self._settings.pedal, self.name)
        self._guard = LossGuard(self.name)
        self._world: WorldView | None = None
        self._map: FollowerMap | None = None
        self._following: Following | None = None
        self._begun: int | None = None  # epoch in which it follows; None while it does not
        self._base: Array = np.zeros(0)  # [A], targets of the entries without a leader
        self._clutch_key = False
        self._holding = False
        self._moved_s = 0.0
        self._unheld = False
        self._read_s = 0.0
        self._said_s = 0.0
        self._opened = ""

    @property
    def joy_topics(self) -> tuple[str, ...]:
        """Return the pedal's topic."""
        return (self._pedal.topic,) if self._pedal else ()

    def open(self) -> None:
        """Open every arm; raises DeviceError if one is missing, unknown or not calibrated."""
        try:
            if self._terminal is not None:
                try:
                    self._terminal.open()
                except DeviceError as error:
                    raise DeviceError(
                        error.what, where=f"{self._file}: deadman, clutch",
                        remedy="start from a terminal, or use a pedal or a joint instead",
                    ) from None
            for arm in self._arms.values():
                arm.open(self.on_news)
        except DeviceError:
            self.close()
            raise
        self._opened = f"leader {self._file}: {', '.join(self._arms)}"
        if self._terminal is not None:
            self._opened += f"\n{HELP}"

    def close(self) -> None:
        """Close every arm, and restore the terminal."""
        for arm in self._arms.values():
            arm.close()
        if self._terminal is not None:
            self._terminal.close()

    def read(self, view: OperatorView) -> OperatorInput:
        """Return the leader's targets, and its requests."""
        done = self._turn(view)
        if self._status is not None:
            self._status.show_answers(view.answers)
            if done.message:
                self._status.print(done.message)
            self._status.show(view)
        return done

    def _turn(self, view: OperatorView) -> OperatorInput:
        lines = [self._opened]
        self._opened = ""
        for arm in self._arms.values():
            arm.look()
        dt, self._read_s = view.now_s - self._read_s, view.now_s
        if view.world is not None:
            self._meet(view.world)
        pedal = self._pedal.look(view) if self._pedal else []
        note = self._take_keys(view)
        intent = self._keys.take(view.now_s, view.mode)
        if self._status is not None:
            self._status.note = note or intent.note or self._status.note
        pressed = [part.buttons.take(view) for part in pedal]
        events = (*intent.events, *(event for buttons in pressed for event in buttons.events))
        problem = self._problem(view.now_s) or "".join(part.problem for part in pedal)
        lost = self._guard.lost(problem, view)
        if lost is not None:
            self._keys.drop_control()
            self._holding, self._begun = False, None
            lines.append(lost.message)
            return replace(lost, events=(*lost.events, *events), message=_text(lines))
        down = any(buttons.deadman for buttons in pressed)
        held = self._level(self._settings.deadman, intent.deadman, down)
        self._holding, line = self._guard.present(held)
        lines += [line, HELP if intent.help_wanted else ""]
        action = None
        if self._holding and view.mode is Mode.HUMAN and view.tick is not None:
            action = self._lead(
                view.tick, dt, self._level(self._settings.clutch, self._clutch_key, down)
            )
            lines.append(self._waiting_joints(view.now_s))
        else:
            self._begun = None
        return OperatorInput(
            action=action, deadman=self._holding, events=events, silent=intent.silent,
            message=_text(lines),
        )

    def _meet(self, world: WorldView) -> None:
        """Set the robot to lead; raises ConfigError if this leader cannot lead it."""
        if self._world is not None and self._world.embodiment.hash == world.embodiment.hash:
            return
        self._map = FollowerMap(self._settings, world.embodiment, self._file)
        self._following = Following(self._map.entries(self._settings))
        self._world, self._begun = world, None

    def _take_keys(self, view: OperatorView) -> str:
        """Process typed keys; return a line for the person, or nothing."""
        note = ""
        for key in self._terminal.typed() if self._terminal else ():
            if key.lower() == "c":
                self._clutch_key = not self._clutch_key
                note = f"clutch {'on' if self._clutch_key else 'off'}"
            else:
                self._keys.press(key, view.now_s, view.mode)
        for answer in view.answers:
            if answer.ok and answer.kind is EventKind.ROLLBACK:
                self._keys.rolled_back_to = answer.node_id
        return note

    def _level(self, switch: Switch | None, key: bool, pedal: bool) -> bool:
        """Return the level of a switch, given the levels of its key and of the pedal."""
        if isinstance(switch, JointSwitch):
            return switch.on(self._arms[switch.arm].angles[switch.joint].share)
        return {"keys": key, "pedal": pedal}.get(switch or "", False)

    def _problem(self, now_s: float) -> str:
        """Return the arms' problem; empty if there is none."""
        for name, arm in self._arms.items():
            if arm.problem:
                return f"arm {name} is lost: {arm.problem}"
        # A leader in a hand is never completely still. If it is, nobody holds it, or its servos
        # repeat old positions; either way nobody leads.
        if any(arm.moved for arm in self._arms.values()) or not (self._holding or self._unheld):
            self._moved_s, self._unheld = now_s, False
        elif now_s - self._moved_s > self._settings.still_after_s:
            self._unheld = True
            return (
                f"no joint has moved for {self._settings.still_after_s:g} s: nobody holds it, or "
                "it is frozen; move it and take over again"
            )
        return ""

    def _lead(self, tick: TickView, dt: float, clutch: bool) -> Array:
        assert self._world is not None and self._map is not None and self._following is not None
        if self._begun != tick.epoch:
            self._following.release()
            self._begun = tick.epoch
            self._base = tick.measured.copy()
            # A gripper that holds an object is open wider than its target: with its measured
            # position as the target, it would drop the object.
            for group in self._world.embodiment.groups:
                if group.kind == "gripper" and tick.applied.size:
                    self._base[group.slice] = tick.applied[group.slice]
            self._map.begin(self._base)
        action = self._base.copy()
        led = self._map.values({name: arm.angles for name, arm in self._arms.items()})
        followed = self._following.follow(led, self._map.following(self._base), dt, clutch=clutch)
        self._map.put(followed, action)
        return action

    def _waiting_joints(self, now_s: float) -> str:
        """Return which leader joints must move before their arm follows, every `_SAY_S`."""
        assert self._map is not None and self._following is not None
        gaps = self._following.gaps
        if not gaps or now_s - self._said_s < _SAY_S:
            return ""
        self._said_s = now_s
        parts = []
        for place, gap in gaps:
            led = self._map.led[place]
            amount = f"{math.degrees(gap):+.0f} degrees" if led.unit == "rad" else f"{gap:+.3f} m"
            parts.append(f"{led.arm} {led.name} {amount}")
        return f"held until the leader is near the robot: move {', '.join(parts)}"


def _text(lines: list[str]) -> str:
    return "\n".join(line for line in lines if line)
