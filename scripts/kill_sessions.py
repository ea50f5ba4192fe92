"""Kill -9 one random node of each of many sessions at a random time, and check the session folder.

    . scripts/env.sh && python scripts/kill_sessions.py --sessions 200

Each session runs the shipped models in imagination at rate 0, with the scripted operator. Checked
after the kill: no closed bag is lost or fails its audit, every other bag can be recovered or put
aside, the tree and the states it names can be read, and a second launch in the same folder records
and exits with 0. Each session adds a JSON line to OUTPUT/results.jsonl; run again with the same
output and seed, the command resumes after the last one. Folders of sessions with a fault are kept.
The exit code is 1 if there is a fault.

A session takes about half a minute on two idle cores. Each line has the counts so far. This is not
part of the tests.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self

from hiwm_core.bags import audit_bag, session_bags, unfinished
from hiwm_core.blob_store import BlobStore
from hiwm_core.branch_reader import BranchReader
from hiwm_core.errors import HiwmError
from hiwm_core.output_folders import claim_folder
from hiwm_core.ros_domains import domain_id
from hiwm_core.user_paths import path_argument
from hiwm_recording.recover import main as recover_command

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILE = ROOT / "launch" / "session.launch.xml"
ARGUMENTS = {
    "world": "imagination", "device": "scripted", "failures": "1000", "max_seconds": "100000.0",
    "rate": "0.0", "view": "false",
}
NODES = ("imagination", "policy", "arbiter", "teleop", "branch_manager", "recorder")
HANG_S = 240.0  # a busy machine takes a minute to start a session
# One kill in five hits a graph that is still starting, the others a running one.
EARLY, EARLY_S, RUNNING_S = 0.2, 8.0, 12.0
STATES_READ = 20


class Launch:
    """A session, launched as a user does, with its output in a file."""

    def __init__(self, folder: Path, number: int) -> None:
        self._log = folder.with_name(f"{folder.name}.{number}.log")
        arguments = {**ARGUMENTS, "session_dir": str(folder)}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hiwm_bringup.launcher", str(LAUNCH_FILE),
                 *(f"{name}:={value}" for name, value in arguments.items())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, env={
                    **os.environ, "ROS_DOMAIN_ID": str(domain_id()),
                    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
                },
            )

    @property
    def output(self) -> str:
        """Everything the graph printed."""
        return self._log.read_text(errors="replace")

    def until(self, predicate: Callable[[], bool]) -> bool:
        """Wait until the predicate holds or the graph exits; return whether it held."""
        deadline = time.monotonic() + HANG_S
        while not predicate():
            if self.process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def nodes(self) -> dict[str, int]:
        """Return the process ids of the session's running nodes."""
        launcher = self.process.pid
        try:
            children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        except OSError:
            return {}
        found: dict[str, int] = {}
        for pid in children:
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            found |= {name: int(pid) for name in NODES if is_node(words, name)}
        return found

    def wait(self, interrupt: bool = False) -> int | None:
        """Return the launcher's exit code; None if it did not exit and was killed."""
        if interrupt:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return None

    def __enter__(self) -> Self:
        """Return itself; the session is starting."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop the session, also if this command is interrupted."""
        if self.process.poll() is None:
            self.wait(interrupt=True)


def is_node(words: list[str], name: str) -> bool:
    """Return whether a command line runs a node of ours."""
    paths = map(Path, words)
    return any(path.name == name and path.parent.name.startswith("hiwm_") for path in paths)


def bags_of(folder: Path) -> list[Path]:
    """Return the bags of a session; none if it has no bags folder yet."""
    return session_bags(folder) if (folder / "bags").is_dir() else []


def records(folder: Path, known: set[str]) -> bool:
    """Return whether a bag other than the known ones contains a tick."""
    return any(
        bag.name not in known and sum(f.stat().st_size for f in bag.glob("*.mcap")) > 0
        for bag in bags_of(folder)
    )


def recover(folder: Path) -> list[str]:
    """Recover the open bags; return the faults."""
    if not bags_of(folder):
        return []
    printed = io.StringIO()
    # In this process: a new one would spend seconds on its imports.
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = recover_command([str(folder)])
        except Exception as error:
            return [f"recover: {error!r}"]
    return [] if code == 0 else [f"recover: {printed.getvalue().strip()}"]


def invalid_bags(folder: Path, names: set[str] | None = None) -> list[str]:
    """Return the bags, among the names or all, that fail their audit, with the reasons."""
    faults = []
    for bag in bags_of(folder):
        if names is not None and bag.name not in names:
            continue
        try:
            audit = audit_bag(bag)
            # A bag closed just before the kill may lack its audit until the next launch.
            if not audit.ok or (names is None and unfinished(bag)):
                faults.append(f"{bag.name}: {'; '.join(audit.problems) or 'unfinished'}")
        except HiwmError as error:
            faults.append(f"{bag.name}: {error}")
    return faults


def tree_faults(folder: Path, rng: random.Random) -> list[str]:
    """Return the errors of reading the tree and a sample of the states it names."""
    path = folder / "tree.sqlite"
    if not path.exists():
        return []
    try:
        with BranchReader(path) as reader:
            nodes = [node for node in reader.tree() if node.state_id]
        if not nodes:  # killed before its first tick
            return []
        store = BlobStore(folder / "states", read_only=True)
        for node in rng.sample(nodes, min(STATES_READ, len(nodes))):
            store.get_state(node.state_id)
    except HiwmError as error:
        return [str(error)]
    return []


class NothingToKillError(Exception):
    """The session had no running node at the time of the kill."""


def killed(folder: Path, rng: random.Random) -> tuple[dict[str, Any], set[str]]:
    """Run a session and kill one of its nodes; return a record of it and the bags closed before.

    Raises:
        NothingToKillError: the session never started, or exited before the kill.
    """
    early = rng.random() < EARLY
    delay = rng.uniform(0.0, EARLY_S if early else RUNNING_S)
    with Launch(folder, 1) as launch:
        if not early and not launch.until(lambda: records(folder, set())):
            raise NothingToKillError("the session never started")
        kill_at = time.monotonic() + delay
        launch.until(lambda: time.monotonic() > kill_at and bool(launch.nodes()))
        running = launch.nodes()
        if not running:
            raise NothingToKillError("the graph exited by itself")
        node = rng.choice(sorted(running))
        closed = {bag.name for bag in bags_of(folder) if (bag / "metadata.yaml").exists()}
        os.kill(running[node], signal.SIGKILL)
        hung = launch.wait() is None
    return {
        "node": node, "early": early, "delay_s": round(delay, 2), "closed_before": len(closed),
        "faults": ["the graph did not exit"] if hung else [],
    }, closed


def resumed(folder: Path) -> list[str]:
    """Launch the session again until it records; return the faults."""
    kept = {bag.name for bag in bags_of(folder)}
    faults = []
    with Launch(folder, 2) as launch:
        if not launch.until(lambda: records(folder, kept)):
            faults.append("the session does not resume")
        code = launch.wait(interrupt=True)
    return faults if code == 0 else [*faults, f"the resumed session exited with code {code}"]


def one_session(folder: Path, seed: int) -> dict[str, Any]:
    """Run, kill, check, resume and check again; return the result."""
    rng = random.Random(seed)
    started = time.monotonic()
    try:
        result, closed = killed(folder, rng)
    except NothingToKillError as error:
        return {"seed": seed, "node": "", "lost": 0, "faults": [str(error)]}
    faults = result["faults"]
    by_command = rng.random() < 0.5  # else the recorder of the next launch recovers
    if by_command:
        faults += recover(folder)
    faults += invalid_bags(folder, None if by_command else closed) + tree_faults(folder, rng)
    faults += resumed(folder)
    # An open bag without a tick is put aside; that is no loss.
    lost = sorted(closed - {bag.name for bag in bags_of(folder)})
    faults += [f"{name}: closed before the kill, lost" for name in lost]
    faults += invalid_bags(folder) + tree_faults(folder, rng)
    if not faults:
        for path in folder.parent.glob(f"{folder.name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return {
        "seed": seed, **result, "recovered_by_hand": by_command, "lost": len(lost),
        "seconds": round(time.monotonic() - started, 1),
    }


def earlier_results(file: Path) -> dict[int, dict[str, Any]]:
    """Return the sessions in a results file by seed; a line that a kill cut short is removed."""
    content = file.read_bytes() if file.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        file.write_bytes(whole)
    return {line["seed"]: line for line in map(json.loads, whole.splitlines())}


def summary(results: Collection[dict[str, Any]]) -> str:
    """Return how many sessions were run, and what they lost."""
    return (
        f"{len(results)} sessions, {sum(r.get('closed_before', 0) for r in results)} bags closed "
        f"before the kill, {sum(r['lost'] for r in results)} lost, "
        f"{sum(bool(r['faults']) for r in results)} sessions with a fault"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the remaining sessions and print a summary; return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="session i uses seed + i")
    parser.add_argument("--output", type=path_argument, default=ROOT / "runs" / "kills")
    options = parser.parse_args(arguments)
    output = options.output.resolve()
    try:
        claim_folder(output, "a folder of kill_sessions")
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    results_file = output / "results.jsonl"
    results = earlier_results(results_file)
    seeds = range(options.seed, options.seed + options.sessions)
    todo = [seed for seed in seeds if seed not in results]
    started = time.monotonic()
    for number, seed in enumerate(todo):
        folder = output / f"session_{seed:05d}"
        for left in output.glob(f"{folder.name}*"):  # left by an interrupted run
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        result = results[seed] = one_session(folder, seed)
        with results_file.open("a") as file:
            file.write(json.dumps(result) + "\n")
        pace = (time.monotonic() - started) / (number + 1)
        print(
            f"{number + 1}/{len(todo)} seed {seed}: {result['node']} killed, "
            f"{'; '.join(result['faults']) or 'ok'}; so far {summary(results.values())}; "
            f"{pace * (len(todo) - number - 1) / 60:.0f} min left", flush=True,
        )
    done = [results[seed] for seed in seeds if seed in results]
    nodes = ", ".join(f"{n} {c}" for n, c in sorted(Counter(r["node"] for r in done).items()))
    print(f"{summary(done)} ({nodes}); {results_file}")
    return int(any(result["faults"] for result in done))


if __name__ == "__main__":
    sys.exit(main())
