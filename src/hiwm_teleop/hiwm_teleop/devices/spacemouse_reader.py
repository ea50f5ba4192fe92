"""One SpaceMouse, read by its own thread through pyspacemouse.

Every report is read as it arrives, so nothing queues in the kernel, and a node that was busy gets
the newest state. This module also detects what pyspacemouse cannot: once a device is gone, its read
keeps returning the last state; and a cap at rest sends nothing, so silence by itself means little.
A device is lost if reading fails, if its node under /dev is removed or replaced, or if its cap was
off centre and no report arrived. Tested by ``test_spacemouse.py``, with the unmodified library over
a hidapi built in the test.
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

# Longest single wait for a report: bounds the reaction to closing, a removed node and a freeze.
_WAIT_MS = 20
# Shortest interval between notifications, so that a device that floods does not keep the node busy.
_NOTIFY_S = 0.002
_RETRY_S = 0.1
# Some caps exceed pyspacemouse's full scale. No hand can exceed it this far: such a value is a
# corrupt report, and counts as rest.
_IMPLAUSIBLE = 3.0
# HID usage of a multi-axis controller; a receiver also has a keyboard and a mouse with its ids.
_MULTI_AXIS = (0x01, 0x08)
_DOC = "docs/devices/spacemouse.md"
# hidapi's enumeration and opening are global to the process.
_HIDAPI = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class CapState:
    """State of a SpaceMouse at one time."""

    values: Mapping[AxisName, float]  # deflection, -1..1, in the chosen convention
    received_s: float  # steady clock of the last report, or of opening
    problem: str = ""  # why it is lost; empty while it is present


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The SpaceMouse that was found."""

    model: str
    node: str  # hidapi's path
    buttons: tuple[str, ...]  # pyspacemouse's names


class _Port:
    """The HID device that pyspacemouse reads, with a blocking read instead of a poll."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self.wait_ms = _WAIT_MS
        self.report = b""  # of the last read; empty if none arrived

    def read(self, size: int) -> bytes:
        """Return one report, or nothing after `wait_ms`; raises HIDException if it is gone."""
        self.report = bytes(self._device.read(size, timeout=self.wait_ms))
        return self.report

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


class SpaceMouseReader:
    """Keeps one SpaceMouse open, and its last state.

    Args:
        path: its node under /dev, or a link to it; empty = any.
        serial: its serial number; empty = any.
        convention: value of pyspacemouse's AxisConvention.
        off_centre: whether a hand causes these deflections, as opposed to a cap at rest.
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
        self._node, self._held = "", -1  # path, and a descriptor of the node that was opened
        self._axis_reports: frozenset[int] = frozenset()
        self._button_reports: frozenset[int] = frozenset()
        self._levels: deque[dict[str, bool]] = deque(maxlen=256)
        self._state = CapState(values=dict.fromkeys(AXES, 0.0), received_s=time.monotonic())
        self._unnotified, self._notified_s = False, 0.0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> CapState:
        """Return its last state."""
        return self._state

    def take_levels(self) -> list[dict[str, bool]]:
        """Return the button levels of each button report since the last call."""
        return [self._levels.popleft() for _ in range(len(self._levels))]

    def open(self) -> Opened:
        """Open it and start the thread.

        Raises:
            DeviceError: the library or the device is missing, or permission is denied.
        """
        self._connect()
        info = self._mouse.info
        opened = Opened(model=info.name, node=self._node, buttons=tuple(info.button_names))
        self._thread = threading.Thread(target=self._listen, name="spacemouse", daemon=True)
        self._thread.start()
        return opened

    def close(self) -> None:
        """Stop the thread and close the device."""
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
            _close(held)
            raise DeviceError(
                f"{spec.name} at {device.path} cannot be opened", where="device spacemouse",
                remedy=f"give your user access with a udev rule: {_DOC}",
            ) from None
        self._mouse, self._port, self._node, self._held = mouse, port, device.path, held
        self._axis_reports = frozenset(axis.channel for axis in info.mappings.values())
        self._button_reports = frozenset(button.channel for button in info.button_specs)
        self._set_state(CapState(values=dict.fromkeys(AXES, 0.0), received_s=time.monotonic()))
        # The buttons' levels are unknown: all are up until a report arrives. Appended after the
        # problem is cleared, so that it is not discarded with the reports of a lost device.
        self._levels.append(dict.fromkeys(info.button_names, False))

    def _disconnect(self) -> None:
        if self._mouse is not None:
            with _HIDAPI:
                self._mouse.close()
        self._mouse = self._port = None
        _close(self._held)
        self._held = -1

    # In the thread.

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                if self._mouse is None:
                    self._connect()
                self._turn()
            except Exception as error:  # from hidapi, pyspacemouse or the system: all mean a loss
                if not self._state.problem:
                    self._lose(f"lost ({error}), waiting for it to come back")
                self._disconnect()
                self._closing.wait(_RETRY_S)
        self._disconnect()

    def _turn(self) -> None:
        """Read one report, or check whether silence means a loss."""
        self._port.wait_ms = 1 if self._unnotified else _WAIT_MS
        state = self._mouse.read()
        report = self._port.report[:1]
        now = time.monotonic()
        if report and report[0] in self._axis_reports:
            values: dict[AxisName, float] = {axis: _deflection(state[axis]) for axis in AXES}
            self._set_state(CapState(values=values, received_s=now))
        if report and report[0] in self._button_reports:
            names = self._mouse.info.button_names
            self._levels.append({
                name: bool(down) for name, down in zip(names, state.buttons, strict=True)
            })
            self._set_state(CapState(values=self._state.values, received_s=self._state.received_s,
                               problem=self._state.problem))
        if not report:
            # A removed node has no links left, even if another one has taken its name.
            if self._held >= 0 and os.fstat(self._held).st_nlink == 0:
                raise OSError(f"{self._node} is gone")
            if (
                not self._state.problem and now - self._state.received_s > self._silent_after_s
                and self._off_centre(self._state.values)
            ):
                self._lose(
                    f"frozen: its cap was off centre, but it sent nothing for "
                    f"{self._silent_after_s:g} s"
                )
        if self._unnotified:
            self._notify(now)

    def _lose(self, problem: str) -> None:
        self._set_state(CapState(
            values=dict.fromkeys(AXES, 0.0), received_s=time.monotonic(), problem=problem
        ))

    def _set_state(self, state: CapState) -> None:
        self._state, self._unnotified = state, True
        self._notify(time.monotonic())

    def _notify(self, now: float) -> None:
        if now - self._notified_s >= _NOTIFY_S:
            self._unnotified, self._notified_s = False, now
            self._on_news()


def find_spacemouse(path: str, serial: str) -> tuple[Any, Any]:
    """Return easyhid's device and pyspacemouse's specification of a SpaceMouse.

    Args:
        path: its node under /dev, or a link to it; empty = any.
        serial: its serial number; empty = any.

    Raises:
        DeviceError: the library is missing, or no such SpaceMouse; lists those present.
    """
    try:
        from easyhid import Enumeration
        from pyspacemouse import get_device_specs

        with _HIDAPI:
            listed = Enumeration().find()
    except (ImportError, OSError, AttributeError) as error:
        # Without the library, easyhid opens the program itself, which has no hid_enumerate.
        raise DeviceError(
            f"hidapi cannot be loaded: {error}", where="device spacemouse",
            remedy=f"install libhidapi-hidraw0 with the system's package manager: {_DOC}",
        ) from None
    specs = {spec.hid_id: spec for spec in get_device_specs().values()}
    mice = [device for device in listed if (device.vendor_id, device.product_id) in specs]
    caps = [device for device in mice if (device.usage_page, device.usage) == _MULTI_AXIS] or mice
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
        remedy=f"use one of those present: {names}" if names else f"plug one in, and see {_DOC}",
    )


def button_names() -> set[str]:
    """Return the names of the buttons of all models."""
    from pyspacemouse import get_device_specs

    return {name for spec in get_device_specs().values() for name in spec.button_names}


def _deflection(value: float) -> float:
    return 0.0 if abs(value) > _IMPLAUSIBLE else max(-1.0, min(1.0, value))


def _watch(node: str) -> int:
    """Return a descriptor of the node itself, not of its name; -1 if it is not a file."""
    try:
        return os.open(node, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return -1


def _close(held: int) -> None:
    if held >= 0:
        os.close(held)
