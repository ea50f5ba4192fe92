"""The available devices, by name."""

from importlib.metadata import entry_points

from hiwm_core.config_files import nearest
from hiwm_core.errors import DeviceError
from hiwm_teleop.devices.base import Device
from hiwm_teleop.devices.combined import CombinedDevice
from hiwm_teleop.devices.joy import JoyDevice
from hiwm_teleop.devices.keyboard import KeyboardDevice
from hiwm_teleop.devices.leader_arm import LeaderArmDevice
from hiwm_teleop.devices.scripted import ScriptedDevice
from hiwm_teleop.devices.spacemouse import SpaceMouse

# Devices of other packages: an entry point of this group names a Device class.
GROUP = "hiwm_teleop.devices"

BUILT_IN: dict[str, type[Device]] = {
    device.name: device
    for device in (
        CombinedDevice, JoyDevice, KeyboardDevice, LeaderArmDevice, ScriptedDevice, SpaceMouse
    )
}


def device_class(name: str) -> type[Device]:
    """Return the device class with a name.

    Raises:
        DeviceError: no such device, or its package cannot be imported; lists the known devices.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    plugged = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in plugged:
        known = sorted({*BUILT_IN, *plugged})
        raise DeviceError(
            f"no device {name!r}", where="parameter device",
            remedy=f"use one of {', '.join(known)}{nearest(name, known)}",
        )
    try:
        found = plugged[name].load()
    except ImportError as error:
        raise DeviceError(
            f"device {name!r} cannot be imported: {error}", where=plugged[name].value,
            remedy="install the dependencies of its package",
        ) from None
    if not (isinstance(found, type) and issubclass(found, Device)):
        raise DeviceError(
            f"device {name!r} is not a Device class", where=plugged[name].value,
            remedy="point its entry point to a subclass of hiwm_teleop.devices.base.Device",
        )
    return found
