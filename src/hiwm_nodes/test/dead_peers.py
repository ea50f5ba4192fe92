"""Stops a node right after a peer died with the mutex of its shared-memory ports locked.

    python src/hiwm_nodes/test/dead_peers.py 50

A peer killed -9 while it sends to a node sometimes leaves the mutex locked. A process that locks it
and exits does so every time (see `hiwm_nodes.leaving`). test_dead_peers.py runs a few rounds.
"""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from hiwm_core.ros_domains import domain_id

# The node reopens its port a few tenths of a second after the peer's death.
LATEST_S = 0.1
GUARD_S = 60.0

_NODE = """
import sys
from rclpy.node import Node
from hiwm_nodes.running import run

class Lonely(Node):
    def __init__(self):
        super().__init__("lonely")
        self.timer = self.create_timer(0.1, self.say)
    def say(self):
        print("spinning", flush=True)
        self.timer.cancel()
    def close(self):
        print("closed", flush=True)

sys.exit(run(Lonely))
"""
# Fast DDS keeps a port's timeouts, 1000 and 333 ms, in its PortNode. In the pinned build the mutex
# (`empty_cv_mutex`) is 0x5054 bytes after them.
_PEER = """
import ctypes, mmap, struct, sys

for path in sys.argv[1:]:
    with open(path, "r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    found = memory.find(struct.pack("<II", 1000, 333))
    assert found >= 0, f"{path} is not a port of the pinned Fast DDS"
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    mutex = ctypes.c_void_p(start + found + 0x5054)
    while ctypes.CDLL(None).pthread_mutex_trylock(mutex):
        pass
"""


def one_round(generator: random.Random) -> tuple[int, str]:
    """Return the exit code of a node, and its output."""
    environment = {
        **os.environ, "ROS_DOMAIN_ID": str(domain_id()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "FASTDDS_BUILTIN_TRANSPORTS": "DEFAULT",
    }
    with subprocess.Popen(
        [sys.executable, "-c", _NODE], env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as node:
        try:
            assert node.stdout is not None
            assert node.stdout.readline() == "spinning\n"
            subprocess.run(
                [sys.executable, "-c", _PEER, *_ports(node.pid)], check=True, timeout=GUARD_S
            )
            time.sleep(generator.uniform(0.0, LATEST_S))
            node.send_signal(signal.SIGINT)
            output, _ = node.communicate(timeout=GUARD_S)
        finally:
            node.kill()
    return node.returncode, output


def killed_while_creating_ports() -> int:
    """Leave what peers leave that are killed while they create their ports; return the domain."""
    domain = domain_id()
    # Unicast of the first participants: DDS-RTPS 2.2, 9.6.1.1, with Fast DDS's offset for data.
    for participant in range(3):
        port = Path(f"/dev/shm/fastrtps_port{7400 + 250 * domain + 11 + 2 * participant}")
        port.write_bytes(bytes(52400))
        os.utime(port, (1.0, 1.0))
    return domain


def exit_code_in(domain: int) -> int:
    """Return the exit code of a node that is asked to exit once it spins in a domain."""
    environment = {
        **os.environ, "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "FASTDDS_BUILTIN_TRANSPORTS": "DEFAULT",
    }
    with subprocess.Popen(
        [sys.executable, "-c", _NODE], env=environment, text=True, stdout=subprocess.PIPE,
    ) as node:
        watchdog = threading.Timer(GUARD_S / 2, node.kill)
        watchdog.start()
        try:
            assert node.stdout is not None
            node.stdout.readline()
            node.send_signal(signal.SIGINT)
            return node.wait()
        finally:
            watchdog.cancel()
            node.kill()


def _ports(process: int) -> list[str]:
    """Return the shared-memory ports a process receives on: it has their lock files open."""
    files = [str(file.readlink()) for file in Path(f"/proc/{process}/fd").iterdir()]
    return [file.removesuffix("_el") for file in files if re.search(r"fastrtps_port\d+_el$", file)]


def main() -> int:
    """Run the given number of rounds; return 1 if a node exits with another code than 0."""
    generator = random.Random(0)
    results: Counter[str] = Counter()
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 20):
        code, output = one_round(generator)
        results[f"exit code {code}: {output.splitlines()[-1]}"] += 1
    for result, count in results.most_common():
        print(f"{count:5} {result}")
    return int(any(not result.startswith("exit code 0") for result in results))


if __name__ == "__main__":
    sys.exit(main())
