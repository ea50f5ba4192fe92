"""Which launch a process belongs to, and where a launch keeps its session.

Every node of one launch finds the same id, and no two launches share one. Our launcher hands it
to its nodes in HIWM_LAUNCH_ID. Under `ros2 launch`, and wherever the variable is not set, the id is
that of the parent process: its start, its host and its process id. Nodes that are started one by
one and belong together need the variable.
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
# In a session's folder, this stands for the id of the launch.
PLACEHOLDER: Final = "{launch}"
_START_FIELD: Final = 19  # of /proc/PID/stat, counted behind the name: clock ticks since boot
_HOST_LENGTH: Final = 24  # a longer host name makes unreadable folders


@cache
def launch_id() -> str:
    """Return the id of the launch this process belongs to."""
    return os.environ.get(LAUNCH_VARIABLE) or process_id(os.getppid())


@cache
def process_id(pid: int) -> str:
    """Return what names a process for good: date and time it started, host, process id.

    The date and time are the local ones, as in 20260131_174502_lab1_4321.
    """
    stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(_started(pid)))
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:_HOST_LENGTH]
    return f"{stamp}_{host}_{pid}"


def session_path(text: str | Path) -> Path:
    """Return a session's folder as an absolute path, with `~` and the launch's id filled in.

    Raises:
        ConfigError: the home folder that `~` names is unknown.
    """
    return user_path(str(text).replace(PLACEHOLDER, launch_id())).absolute()


def _started(pid: int) -> float:
    """Return when a process started, seconds since 1970; the boot where it is unknown."""
    lines = Path("/proc/stat").read_text().splitlines()
    boot = next(float(line.split()[1]) for line in lines if line.startswith("btime"))
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # parent of another pid namespace, shown as 0
        return boot
    return boot + int(fields[_START_FIELD]) / os.sysconf("SC_CLK_TCK")
