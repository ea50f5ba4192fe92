"""The launch that a process belongs to, and the session folder of a launch.

All nodes of a launch get the same id, and no two launches share one. Our launcher makes its own and
passes it to its nodes in HIWM_LAUNCH_ID. Under `ros2 launch`, and wherever the variable is not set,
the id consists of the parent process's start time, host and process id. Nodes that belong together
but are started one by one need the variable.
"""

import os
import re
import socket
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


@cache
def launch_id() -> str:
    """Return the id of the launch that this process belongs to."""
    return os.environ.get(LAUNCH_VARIABLE) or process_id(os.getppid())


@cache
def process_id(pid: int) -> str:
    """Return a unique name of a process: date and time of its start, host, process id.

    Date and time are local, as in 20260131_174502_lab1_4321.
    """
    stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(_started(pid)))
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:_HOST_LENGTH]
    return f"{stamp}_{host}_{pid}"


def session_path(text: str | Path) -> Path:
    """Return a session folder as an absolute path, with `~` and the launch id expanded.

    Raises:
        ConfigError: the home folder that `~` names is unknown.
    """
    return user_path(str(text).replace(PLACEHOLDER, launch_id())).absolute()


def _started(pid: int) -> float:
    """Return the start of a process, seconds since 1970; the boot time if unknown."""
    lines = Path("/proc/stat").read_text().splitlines()
    boot = next(float(line.split()[1]) for line in lines if line.startswith("btime"))
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # the parent is in another pid namespace and appears as 0
        return boot
    return boot + int(fields[_START_FIELD]) / os.sysconf("SC_CLK_TCK")
