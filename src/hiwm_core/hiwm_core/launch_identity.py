"""The launch that a process belongs to, and the session folder of a launch.

All nodes of a launch get the same id, and no two launches share one. Our launcher makes its own and
passes it to its nodes in HIWM_LAUNCH_ID. Under `ros2 launch`, and wherever the variable is not set,
the id names the parent process. Nodes that belong together but are started one by one need the
variable.
"""

import hashlib
import os
import re
import socket
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Final

from hiwm_core.user_paths import user_path

LAUNCH_VARIABLE: Final = "HIWM_LAUNCH_ID"
# In the path of a session folder, this is replaced by the launch id.
PLACEHOLDER: Final = "{launch}"
_START_FIELD: Final = 19  # of /proc/PID/stat, counted after the name: clock ticks since boot
_HOST_LENGTH: Final = 24  # longer host names make folder names unreadable
_DIGEST_LENGTH: Final = 6


@cache
def launch_id() -> str:
    """Return the id of the launch that this process belongs to."""
    return os.environ.get(LAUNCH_VARIABLE) or process_id(os.getppid())


@cache
def process_id(pid: int) -> str:
    """Return a unique name of a process: date and time of its start, host, process id, digest.

    Date and time are local, as in 20260131_174502_lab1_4321_9f3a1c. They are those that the first
    caller computed, as the system clock may be set later; without a usable temporary folder they
    are left out. The digest stands for the boot and the process's start since then.
    """
    host = socket.gethostname()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    ticks = _start_ticks(pid)
    digest = hashlib.sha256(f"{boot} {ticks} {pid} {host}".encode()).hexdigest()
    name = f"{re.sub(r'[^A-Za-z0-9-]', '-', host)[:_HOST_LENGTH]}_{pid}_{digest[:_DIGEST_LENGTH]}"
    started = _boot_time() + ticks / os.sysconf("SC_CLK_TCK")
    try:
        stamp = _agreed(digest, time.strftime("%Y%m%d_%H%M%S", time.localtime(started)))
    except OSError:
        return name
    return f"{stamp}_{name}"


def session_path(text: str | Path) -> Path:
    """Return a session folder as an absolute path, with `~` and the launch id expanded.

    Raises:
        ConfigError: the home folder that `~` names is unknown.
    """
    return user_path(str(text).replace(PLACEHOLDER, launch_id())).absolute()


def _agreed(key: str, value: str) -> str:
    """Return the value that the first of this user's processes gave for a key."""
    folder = Path(tempfile.gettempdir()) / f"hiwm_launches_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    link = folder / key
    try:
        link.symlink_to(value)  # creates name and content in one step, or fails
    except FileExistsError:
        return str(link.readlink())
    return value


def _boot_time() -> float:
    """Return the boot time, seconds since 1970; it moves when the system clock is set."""
    lines = Path("/proc/stat").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("btime"))


def _start_ticks(pid: int) -> int:
    """Return the start of a process, clock ticks since boot; 0 if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # the parent is in another pid namespace and appears as 0
        return 0
    return int(fields[_START_FIELD])
