"""A USB bus of Unix sockets below the unmodified pyspacemouse, for tests and benchmarks.

Builds ``hidapi_over_sockets.c`` under the name of hidapi, and plugs in, moves and unplugs mice.
"""

import ctypes
import os
import socket
import struct
import subprocess
from pathlib import Path

SPACE_NAVIGATOR = (0x046D, 0xC626)  # reports 1 = x y z, 2 = rotation, 3 = buttons
WIRELESS = (0x256F, 0xC62E)  # report 1 = x y z and rotation, 3 = buttons
FULL = 350  # raw value of full deflection
SONAME = "libhidapi-hidraw.so.0"


def build(folder: Path) -> Path:
    """Return the folder of the library, built there."""
    source = Path(__file__).with_name("hidapi_over_sockets.c")
    library = folder / SONAME
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wall", "-Werror", f"-Wl,-soname,{SONAME}", "-o", str(library),
         str(source)], check=True,
    )
    # ctypes.find_library asks the linker, which looks for the name without a version.
    (folder / "libhidapi-hidraw.so").symlink_to(library.name)
    return folder


def environment(library: Path, bus: Path) -> dict[str, str]:
    """Return the environment variables that give a process the fake library and this bus."""
    path = os.pathsep.join(filter(None, [str(library), os.environ.get("LD_LIBRARY_PATH")]))
    return {"LD_LIBRARY_PATH": path, "FAKE_HIDAPI": str(bus)}


def load_here(library: Path) -> None:
    """Load the library into this process, so that easyhid gets it by its soname."""
    ctypes.CDLL(str(library / SONAME), mode=ctypes.RTLD_GLOBAL)


class SocketMouse:
    """One SpaceMouse on the bus.

    Args:
        bus: folder that is the bus.
        name: of its node.
        ids: vendor and product id.
        serial: serial number.
        usage: HID usage page and usage.
    """

    def __init__(
        self, bus: Path, name: str = "hidraw0", ids: tuple[int, int] = SPACE_NAVIGATOR,
        serial: str = "-", usage: tuple[int, int] = (1, 8),
    ) -> None:
        self.node = bus / name
        self._info = bus / f"{name}.info"
        self._text = f"{ids[0]:x} {ids[1]:x} {usage[0]} {usage[1]} {serial}\n"
        self._listener: socket.socket | None = None
        self._connection: socket.socket | None = None
        self.plug()

    def plug(self) -> None:
        """Plug it in."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.settimeout(30.0)
        self._listener.bind(str(self.node))
        self._listener.listen(1)
        self._info.write_text(self._text)

    def unplug(self) -> None:
        """Pull the plug."""
        self._info.unlink(missing_ok=True)
        self.node.unlink(missing_ok=True)
        for end in (self._connection, self._listener):
            if end is not None:
                end.close()
        self._connection = self._listener = None

    def send(self, report: bytes) -> None:
        """Send one report, once a process has opened the device."""
        if self._connection is None:
            assert self._listener is not None
            self._connection, _ = self._listener.accept()
        self._connection.send(report)

    def move(self, x: int = 0, y: int = 0, z: int = 0) -> None:
        """Report a translation, raw, in HID's axes."""
        self.send(struct.pack("<Bhhh", 1, x, y, z))

    def turn(self, rx: int = 0, ry: int = 0, rz: int = 0) -> None:
        """Report a rotation, raw."""
        self.send(struct.pack("<Bhhh", 2, rx, ry, rz))

    def move_and_turn(self, *values: int) -> None:
        """Report all six in one, as wireless models do."""
        self.send(struct.pack("<Bhhhhhh", 1, *values))

    def press(self, *bits: int) -> None:
        """Report which buttons are down, by bit."""
        self.send(struct.pack("<BI", 3, sum(1 << bit for bit in bits)))
