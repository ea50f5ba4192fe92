"""One SpaceMouse, heard by a thread of its own through pyspacemouse.

Every report is taken as it comes, so nothing queues up in the kernel, and a node that was busy
reads the present and not the past. What pyspacemouse cannot tell is watched here: its read returns
the last state for ever once a device is gone, and a cap at rest sends nothing at all, so that
silence alone means little. A device is lost when reading fails, when its node under /dev is gone or
another one, or when its cap was off centre and no report came. Held by ``test_spacemouse.py``, with
the unmodified library over a hidapi built in the test.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiwm_core.errors import DeviceError
from hiwm_teleop.devices.motion import AXES, AxisName

# Longest wait for a report at a stretch: how soon closing, a vanished node and a freeze are seen.
_WAIT_MS = 20
# The node is told at most this often, so that a device gone wild does not keep it busy.
_TELL_S = 0.002
_RETRY_S = 0.1
# Some caps go past what pyspacemouse takes for full. No hand gets one this far: what does is a
# broken report, and stands for rest.
_IMPLAUSIBLE = 3.0
# HID usage of a multi-axis controller; a receiver also shows a keyboard and a mouse of its ids.
_MULTI_AXIS = (0x01, 0x08)
_DOC = "docs/devices/spacemouse.md"
# hidapi lists and opens for the whole process.
_HIDAPI = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class CapState:
    """What a SpaceMouse says at one moment."""

    values: Mapping[AxisName, float]  # deflection, -1..1, in the convention asked for
    heard_s: float  # steady clock of the last report, or of opening
    problem: str = ""  # why it is lost; empty while it is there


@dataclass(frozen=True, kw_only=True)
class Opened:
    """Which SpaceMouse was found."""

    model: str
    node: str  # path hidapi knows it by
    buttons: tuple[str, ...]  # names, in pyspacemouse's words


class _Port:
    """The HID device as pyspacemouse reads it, with a wait instead of a poll."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self.wait_ms = _WAIT_MS
        self.report = b""  # of the last read; empty where none came

    def read(self, size: int) -> bytes:
        """Return one report, or nothing after `wait_ms`; raises HIDException where it is gone."""
        self.report = bytes(self._device.read(size, timeout=self.wait_ms))
        return self.report

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


class SpaceMouseReader:
    """Keeps one SpaceMouse open, and what it said last.

    Args:
        path: its node under /dev, or a link to it; empty = any.
        serial: its serial number; empty = any.
        convention: of pyspacemouse's AxisConvention, by value.
        off_centre: whether deflections are a hand's and not those of a cap at rest.
        silent_after_s: silence after which an off-centre cap counts as frozen, s.
        on_news: called from the thread when there is something new to read.
    """

    def __init__(
        self, *, path: str, serial: str, convention: str,
        off_centre: Callable[[Mapping[AxisName, float]], bool], silent_after_s: float,
        on_news: Callable[[], None],
    ) -> None:
        self._path, self._serial, self._convention = path, serial, convention
        self._off_centre, self._silent_after_s = off_centre, silent_after_s
        self._on_news = on_news
        self._mouse: Any = None
        self._port: Any = None
        self._node, self._held = "", -1  # path, and a descriptor of what it was when opened
        self._axis_reports: frozenset[int] = frozenset()
        self._button_reports: frozenset[int] = frozenset()
        self._levels: deque[dict[str, bool]] = deque(maxlen=256)
        self._state = CapState(values=dict.fromkeys(AXES, 0.0), heard_s=time.monotonic())
        self._untold, self._told_s = False, 0.0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> CapState:
        """Return what it said last."""
        return self._state

    def take_levels(self) -> list[dict[str, bool]]:
        """Return which buttons were down, for each report of buttons since the last call."""
        return [self._levels.popleft() for _ in range(len(self._levels))]

    def open(self) -> Opened:
        """Open it, and listen from now on.

        Raises:
            DeviceError: the library or the device is missing, or may not be opened.
        """
        self._connect()
        info = self._mouse.info
        opened = Opened(model=info.name, node=self._node, buttons=tuple(info.button_names))
        self._thread = threading.Thread(target=self._listen, name="spacemouse", daemon=True)
        self._thread.start()
        return opened

    def close(self) -> None:
        """Stop listening and let go of it."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _connect(self) -> None:
        device, spec = find_spacemouse(self._path, self._serial)
        from pyspacemouse import AxisConvention, SpaceMouseDevice, apply_axis_convention

        info = apply_axis_convention(spec, AxisConvention(self._convention))
        port = _Port(device)
        mouse = SpaceMouseDevice(info=info, device=port)
        held = _watch(device.path)
        try:
            with _HIDAPI:
                mouse.open()
        except RuntimeError:
            _let_go(held)
            raise DeviceError(
                f"{spec.name} at {device.path} cannot be opened", where="device spacemouse",
                remedy=f"let your user read it by a udev rule: {_DOC}",
            ) from None
        self._mouse, self._port, self._node, self._held = mouse, port, device.path, held
        self._axis_reports = frozenset(axis.channel for axis in info.mappings.values())
        self._button_reports = frozenset(button.channel for button in info.button_specs)
        self._say(CapState(values=dict.fromkeys(AXES, 0.0), heard_s=time.monotonic()))
        # What is down now is not known; nothing is, until a report says so. Said after the problem
        # is over, so that it is not thrown away with what came from a lost device.
        self._levels.append(dict.fromkeys(info.button_names, False))

    def _disconnect(self) -> None:
        if self._mouse is not None:
            with _HIDAPI:
                self._mouse.close()
        self._mouse = self._port = None
        _let_go(self._held)
        self._held = -1

    # In the thread.

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                if self._mouse is None:
                    self._connect()
                self._turn()
            except Exception as error:  # of hidapi, of pyspacemouse or of the system: all the same
                if not self._state.problem:
                    self._lose(f"lost ({error}), waiting for it to come back")
                self._disconnect()
                self._closing.wait(_RETRY_S)
        self._disconnect()

    def _turn(self) -> None:
        """Take one report, or look whether silence means something."""
        self._port.wait_ms = 1 if self._untold else _WAIT_MS
        said = self._mouse.read()
        report = self._port.report[:1]
        now = time.monotonic()
        if report and report[0] in self._axis_reports:
            values: dict[AxisName, float] = {axis: _deflection(said[axis]) for axis in AXES}
            self._say(CapState(values=values, heard_s=now))
        if report and report[0] in self._button_reports:
            names = self._mouse.info.button_names
            self._levels.append({
                name: bool(down) for name, down in zip(names, said.buttons, strict=True)
            })
            self._say(CapState(values=self._state.values, heard_s=self._state.heard_s,
                               problem=self._state.problem))
        if not report:
            # A node that was removed has no name left, even if another one has taken it.
            if self._held >= 0 and os.fstat(self._held).st_nlink == 0:
                raise OSError(f"{self._node} is gone")
            if (
                not self._state.problem and now - self._state.heard_s > self._silent_after_s
                and self._off_centre(self._state.values)
            ):
                self._lose(
                    f"frozen: its cap was off centre and it sent nothing for "
                    f"{self._silent_after_s:g} s"
                )
        if self._untold:
            self._tell(now)

    def _lose(self, problem: str) -> None:
        self._say(CapState(
            values=dict.fromkeys(AXES, 0.0), heard_s=time.monotonic(), problem=problem
        ))

    def _say(self, state: CapState) -> None:
        self._state, self._untold = state, True
        self._tell(time.monotonic())

    def _tell(self, now: float) -> None:
        if now - self._told_s >= _TELL_S:
            self._untold, self._told_s = False, now
            self._on_news()


def find_spacemouse(path: str, serial: str) -> tuple[Any, Any]:
    """Return easyhid's device and pyspacemouse's specification of a SpaceMouse.

    Args:
        path: its node under /dev, or a link to it; empty = any.
        serial: its serial number; empty = any.

    Raises:
        DeviceError: the library is missing, or no such SpaceMouse is there; names those that are.
    """
    try:
        from easyhid import Enumeration
        from pyspacemouse import get_device_specs

        with _HIDAPI:
            listed = Enumeration().find()
    except (ImportError, OSError, AttributeError) as error:
        # Without the library easyhid opens the program itself, which has no hid_enumerate.
        raise DeviceError(
            f"hidapi cannot be loaded: {error}", where="device spacemouse",
            remedy=f"install libhidapi-hidraw0 with the system's package manager: {_DOC}",
        ) from None
    specs = {spec.hid_id: spec for spec in get_device_specs().values()}
    there = [device for device in listed if (device.vendor_id, device.product_id) in specs]
    caps = [device for device in there if (device.usage_page, device.usage) == _MULTI_AXIS] or there
    wanted = str(Path(path).resolve()) if path else ""
    for device in caps:
        if wanted and str(Path(device.path).resolve()) != wanted:
            continue
        if serial and device.serial_number != serial:
            continue
        return device, specs[device.vendor_id, device.product_id]
    chosen = f" {path or serial}" if path or serial else ""
    names = ", ".join(f"{d.path} (serial {d.serial_number or 'none'})" for d in caps)
    raise DeviceError(
        f"no SpaceMouse{chosen} is plugged in", where="device spacemouse",
        remedy=f"those there are: {names}" if names else f"plug one in, and see {_DOC}",
    )


def button_names() -> set[str]:
    """Return the names of the buttons of all models."""
    from pyspacemouse import get_device_specs

    return {name for spec in get_device_specs().values() for name in spec.button_names}


def _deflection(value: float) -> float:
    return 0.0 if abs(value) > _IMPLAUSIBLE else max(-1.0, min(1.0, value))


def _watch(node: str) -> int:
    """Return a descriptor that holds a node itself, not its name; -1 where it is no file."""
    try:
        return os.open(node, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return -1


def _let_go(held: int) -> None:
    if held >= 0:
        os.close(held)
