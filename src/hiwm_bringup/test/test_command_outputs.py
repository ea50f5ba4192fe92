"""No command replaces or fills what it did not write, nor writes over, around or into an input.

Every command is in `COMMANDS`, or in `OTHERS` with the reason;
`test_every_command_is_tested_or_excused` finds a missing one.
"""

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from hiwm_core.bags.metadata import bag_information, write_information
from hiwm_test_support.shipped import MODELS, POLICY, TASK, WORLD_MODEL

ROOT = MODELS.parent


@dataclass(frozen=True)
class Command:
    """A command's module and its words; {data} is a folder that it reads, {out} its output."""

    module: str  # or path in the repository
    words: str
    # Or "file"; "files": several, in a folder that may hold others; "bag": into bags that exist.
    writes: str = "folder"
    reads: bool = True
    suffix: str = ""
    input_file: str = ""  # in the folder {data}, if the command does not read the whole folder
    beside: str = ""  # the output's place, seen from {data}, if the command chooses it

    @property
    def file(self) -> str:
        """The module's file, as the end of a path in the repository."""
        return self.module if "/" in self.module else f"/{self.module.replace('.', '/')}.py"

    def load(self) -> ModuleType:
        """Import the module."""
        if "/" not in self.module:
            return importlib.import_module(self.module)
        spec = importlib.util.spec_from_file_location(Path(self.module).stem, ROOT / self.module)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


COMMANDS = {
    "halve_weights": Command(
        "hiwm_learning.policies.halve_weights", "{data}/policy.safetensors -o {out}", "file",
        suffix=".safetensors", input_file="policy.safetensors",
    ),
    "build_dataset": Command("hiwm_learning.datasets.build", "{data} -o {out}"),
    "export_lerobot": Command("hiwm_exchange.export_lerobot", "{data} -o {out}"),
    "export_lerobot-like": Command(
        "hiwm_exchange.export_lerobot", "{data}_session --like {data} -o {out}"
    ),
    "export_lerobot-cache": Command(
        "hiwm_exchange.export_lerobot",
        "--set base --demonstrations {data} -o {data}_new --cache {out}",
    ),
    "export_video": Command(
        "hiwm_exchange.export_video", "{data}/bag -o {out}", "file", suffix=".mp4",
        input_file="bag/new.mp4",
    ),
    "import_lerobot": Command("hiwm_exchange.import_lerobot", "{data} -o {out}"),
    "import_bags": Command(
        "hiwm_exchange.import_bags", "{data} -o {out} --robot-file standin"
    ),
    "train_policy": Command(
        "hiwm_learning.policies.train", "{data} -o {out} --steps 1", "file", suffix=".safetensors"
    ),
    "train_policy-start-from": Command(
        "hiwm_learning.policies.train",
        "{data}_set -o {out} --start-from {data}/policy.safetensors --steps 1", "file",
        suffix=".safetensors", input_file="policy.safetensors",
    ),
    "train_world_model-layered": Command(
        "hiwm_learning.world_models.train", "{data} -o {out} --steps 1", "file",
        suffix=".safetensors",
    ),
    "train_world_model-latent": Command(
        "hiwm_learning.world_models.train", "--family latent {data} -o {out} --steps 1", "file",
        suffix=".safetensors",
    ),
    "train_world_model-remote": Command(
        "hiwm_learning.world_models.train",
        "--family remote ws://127.0.0.1:9 --starts {data}/policy.safetensors -o {out}", "file",
        suffix=".safetensors", input_file="policy.safetensors",
    ),
    "train_world_model-start-from": Command(
        "hiwm_learning.world_models.train",
        "--family latent {data}_bags --start-from {data}/world.safetensors -o {out} --steps 1",
        "file", suffix=".safetensors", input_file="world.safetensors",
    ),
    "train_world_model-robot-only": Command(
        "hiwm_learning.world_models.train",
        "--family latent {data}_bags --robot-only {data} -o {out} --steps 1", "file",
        suffix=".safetensors",
    ),
    "train_world_model-old-data": Command(
        "hiwm_learning.world_models.train",
        "--family latent {data}_bags --start-from {data}_old.safetensors --old-data {data} -o {out}"
        " --steps 1", "file", suffix=".safetensors",
    ),
    "train_world_model-work": Command(
        "hiwm_learning.world_models.train",
        "{data} -o {data}_new.safetensors --work {out} --steps 1",
    ),
    "posttrain": Command(
        "hiwm_learning.posttrain", "base --demonstrations {data} -o {out} --steps 1", "file",
        suffix=".safetensors",
    ),
    "posttrain-cache": Command(
        "hiwm_learning.posttrain",
        "base --demonstrations {data} -o {data}_new.safetensors --cache {out} --steps 1",
    ),
    "eval-world-model": Command(
        "hiwm_learning.world_models.evaluation.evaluate", "{world_model} {data} -o {out}", "files"
    ),
    "data_worth": Command("hiwm_learning.world_models.data_worth", "{data} -o {out}"),
    "gpu_session": Command(
        "hiwm_learning.world_models.gpu_session", "{data} -o {out} --device cpu"
    ),
    "standin_floor": Command(
        "hiwm_evaluation.standin_floor", "{task} -o {out}", "file", False, ".json"
    ),
    "world_endurance": Command(
        "hiwm_evaluation.world_endurance", "{world_model} {data} -o {out}", "files"
    ),
    "starts": Command(
        "hiwm_learning.world_models.starts", "{data} -o {out}", "file", suffix=".npz"
    ),
    "migrate": Command("hiwm_learning.migration.command_line", "{data} -o {out}"),
    "migrate-in-place": Command(
        "hiwm_learning.migration.command_line", "--in-place {data}", reads=False,
        beside="../data_before_migration",
    ),
    "rollout": Command(
        "hiwm_evaluation.rollout.command_line", "--policy {data}/policy.safetensors -o {out}",
        input_file="policy.safetensors",
    ),
    "rollout-starts-file": Command(
        "hiwm_evaluation.rollout.command_line",
        "--policy {data}_policy.safetensors --starts-file {data}/starts.yaml -o {out}",
        input_file="starts.yaml",
    ),
    "rollout-world": Command(
        "hiwm_evaluation.rollout.command_line",
        "--policy {data}_policy.safetensors --world-checkpoint {data}/world.safetensors -o {out}",
        input_file="world.safetensors",
    ),
    "twin-world": Command(
        "hiwm_evaluation.twin.command_line",
        "standin --world-checkpoint {data}/world.safetensors -o {out}",
        input_file="world.safetensors",
    ),
    "twin-policy": Command(
        "hiwm_evaluation.twin.command_line", "standin --policy {data}/policy.safetensors -o {out}",
        input_file="policy.safetensors",
    ),
    "twin": Command(
        "hiwm_evaluation.twin.command_line", "bag:{data}/bag@0 -o {out}", input_file="bag"
    ),
    "check_view": Command(
        "hiwm_world.check_view", "{world_model} bag:{data}/bag@0 -o {out}", "file", suffix=".png",
        input_file="bag",
    ),
    "report": Command("hiwm_evaluation.report", "{data} -o {out}", "files"),
    "results": Command(
        "hiwm_evaluation.results_page", "page {data} -o {out}", "file", suffix=".md"
    ),
    "results-pictures": Command("hiwm_evaluation.results_page", "pictures {data} act-s0 -o {out}"),
    "reproduce": Command(
        "hiwm_evaluation.study.__main__",
        "{task} --world-model {data}/world.safetensors --folder {out} --block tune",
        input_file="world.safetensors",
    ),
    "reproduce-other-world": Command(
        "hiwm_evaluation.study.__main__",
        "{task} --world-model {data}_world.safetensors --other-world {data}/world.safetensors"
        " --folder {out} --block tune", input_file="world.safetensors",
    ),
    "reproduce-results": Command(
        "hiwm_evaluation.study.__main__",
        "{task} --world-model {data}/world.safetensors --folder {data}_work --results {out}"
        " --block tune",
        input_file="world.safetensors",
    ),
    "collect_data": Command("hiwm_recording.collection_folder", "{out}", reads=False),
    "collect_data-complete": Command(
        "hiwm_recording.collection_folder", "{out} --complete", reads=False
    ),
    "kill_sessions": Command(
        "scripts/kill_sessions.py", "--sessions 0 --output {out}", reads=False
    ),
    "page_pictures": Command("src/hiwm_console/test/page_pictures.py", "{data} {out}"),
    "tree_drawing": Command("hiwm_core.tree_drawing", "{data} {out}", "file", suffix=".png"),
    "tree_drawing-own": Command(
        "hiwm_core.tree_drawing", "{data}", "file", False, beside="tree.png"
    ),
    "session_summary": Command(
        "hiwm_core.session_summary", "{data} --no-pictures", "file", False, beside="summary.json"
    ),
    "session_summary-sheet": Command(
        "hiwm_core.session_summary", "{data}", "file", False, beside="contact_sheet.png"
    ),
    "session_summary-tree": Command(
        "hiwm_core.session_summary", "{data}", "file", False, beside="tree.png"
    ),
    "audit": Command(
        "hiwm_recording.audit", "{data}/bag --save", "file", False, beside="bag/audit.json"
    ),
    "audit-foreign": Command(
        "hiwm_recording.audit", "{data} --save", "bag", False, beside="foreign/metadata.yaml"
    ),
    "recover": Command(
        "hiwm_recording.recover", "{data}/bag", "file", False, beside="bag/audit.json"
    ),
    "recover-foreign": Command(
        "hiwm_recording.recover", "{data}", "bag", False, beside="foreign/metadata.yaml"
    ),
    "calibrate_leader": Command(
        "hiwm_teleop.calibrate_leader", "{data}/leader.yaml --overwrite", "file", False,
        beside="calibration.yaml",
    ),
    "inspect": Command("hiwm_robot.inspection.__main__", "--seconds 1 -o {out}", reads=False),
    "bench": Command("hiwm_benchmarks.command_line", "-o {out}", "file", False, ".json"),
    "bench-sessions": Command("hiwm_benchmarks.command_line", "--keep {out}", reads=False),
    "bench-memory_growth": Command(
        "hiwm_benchmarks.memory_growth", "-o {out}", "file", False, ".json"
    ),
}
# Commands without a row, by the reason.
OTHERS = {
    "prints only": (
        "benchmarks/hiwm_benchmarks/session_size.py",
        "src/hiwm_core/hiwm_core/check_robot.py",
        "src/hiwm_core/hiwm_core/check_task.py",
        "src/hiwm_core/hiwm_core/session_lock.py",
        "src/hiwm_evaluation/hiwm_evaluation/standin_skill.py",
        "src/hiwm_nodes/hiwm_nodes/call.py",
        "src/hiwm_nodes/test/dead_peers.py",
        "src/hiwm_standins/yam_pair/hiwm_yam_pair/grasps.py",
        "src/hiwm_standins/yam_pair/hiwm_yam_pair/urdf.py",
    ),
    "serves a policy, and writes nothing": (
        "scripts/serve_lerobot.py",
        "src/hiwm_learning/hiwm_learning/policies/remote/serve.py",
    ),
    "writes only into a new temporary folder": (
        "benchmarks/hiwm_benchmarks/closing_memory.py",
        "benchmarks/hiwm_benchmarks/training_memory.py",
        "benchmarks/hiwm_benchmarks/training_speed.py",
        "src/hiwm_core/hiwm_core/bags/bit_flips.py",
    ),
    "writes only marks into a session, under a lock": (
        "src/hiwm_console/hiwm_console/stored_session.py",
    ),
    "is a node: writes only into the session of its launch": (
        "src/hiwm_branching/hiwm_branching/branch_manager_node.py",
        "src/hiwm_console/hiwm_console/live_view_node.py",
        "src/hiwm_console/hiwm_console/web_console_node.py",
        "src/hiwm_control/hiwm_control/arbiter_node.py",
        "src/hiwm_evaluation/hiwm_evaluation/evaluator_node.py",
        "src/hiwm_policy/hiwm_policy/policy_node.py",
        "src/hiwm_recording/hiwm_recording/demonstrator_node.py",
        "src/hiwm_recording/hiwm_recording/recorder_node.py",
        "src/hiwm_robot/hiwm_robot/robot_bridge_node.py",
        "src/hiwm_robot/hiwm_robot/standin_driver_node.py",
        "src/hiwm_teleop/hiwm_teleop/teleop_node.py",
        "src/hiwm_world/hiwm_world/imagination_node.py",
    ),
    "serves until it is interrupted, and writes nothing": (
        "src/hiwm_learning/hiwm_learning/world_models/remote/serve.py",
    ),
    "plays a part in tests or benchmarks, and writes nothing": (
        "benchmarks/hiwm_benchmarks/executor_echo.py",
        "src/hiwm_bringup/test/outside_robot/driver.py",
        "test_support/hiwm_test_support/sample_world.py",
    ),
    "runs another command": (
        "benchmarks/hiwm_benchmarks/__main__.py",
        "src/hiwm_bringup/hiwm_bringup/launcher/__main__.py",
        "src/hiwm_bringup/hiwm_bringup/launcher/command_line.py",
        "src/hiwm_bringup/hiwm_bringup/launcher/tied_process.py",
        "src/hiwm_evaluation/hiwm_evaluation/rollout/__main__.py",
        "src/hiwm_evaluation/hiwm_evaluation/twin/__main__.py",
    ),
    "part of scripts/setup: writes the lock files of this checkout, or its environment": (
        "scripts/setup.d/lock.py",
        "scripts/setup.d/relocate_wheels.py",
    ),
}
# What makes a file a command.
IS_COMMAND = re.compile(r"^(async )?def main\(|^if __name__ == .__main__.", re.MULTILINE)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder as a user may have it: a bag's name, checkpoints, a study, and notes."""
    folder = tmp_path / "mine" / "data"
    (folder / "bag").mkdir(parents=True)
    (folder / "bag" / "metadata.yaml").write_text("rosbag2_bagfile_information: {}\n")
    (folder / "study.json").write_text("{}")
    (folder / "policy.safetensors").write_bytes(POLICY.read_bytes())
    (folder / "world.safetensors").write_bytes(WORLD_MODEL.read_bytes())
    leader = (ROOT / "config" / "devices" / "so101_leader.yaml").read_text()
    (folder / "leader.yaml").write_text(
        re.sub("calibration: .*", "calibration: calibration.yaml", leader)
    )
    return folder


def content(folder: Path) -> dict[str, str]:
    """Return the digest of each file below a folder."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*")) if file.is_file()
    }


def run(command: Command, data: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must refuse; return what it printed."""
    words = command.words.format(
        data=data, out=output, task=TASK.name, world_model=data / "world.safetensors"
    )
    code = command.load().main(words.split())
    assert code == 1
    return "".join(capsys.readouterr())


def clashes(command: Command, data: Path) -> Iterator[Path]:
    """Yield outputs that equal, contain or lie inside the input."""
    if command.writes == "folder":
        yield data
        yield data.parent
    yield data / (command.input_file or f"new{command.suffix}")


@pytest.mark.parametrize("name", COMMANDS)
def test_what_the_command_did_not_write_is_left_unchanged(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = COMMANDS[name]
    output = tmp_path / f"theirs{command.suffix}"
    if command.beside:
        output = (data / command.beside).resolve()
    if command.writes == "file":
        output.write_text("my notes")
    elif command.writes == "bag":
        output.parent.mkdir()
        write_information(output.parent, bag_information("theirs.mcap", [], 1, 2, {}))
    elif command.writes == "files":
        output.mkdir()
        for file in ("world.evaluation.json", "world.endurance.json", "report.html"):
            (output / file).write_text("my notes")
    else:
        output.mkdir()
        (output / "notes.txt").write_text("my notes")
    # The other bags of a session are audited or recovered all the same.
    kept = output.parent if command.writes == "bag" else tmp_path
    before = content(kept)
    error = run(command, data, output, capsys)
    assert "not" in error and str(output) in error and "move it away" in error, error
    assert content(kept) == before


@pytest.mark.parametrize("name", [name for name, each in COMMANDS.items() if each.reads])
def test_an_output_that_meets_an_input_is_refused(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = COMMANDS[name]
    before = content(tmp_path)
    for output in clashes(command, data):
        error = run(command, data, output, capsys)
        assert "input" in error or "nothing was changed" in error, error
        assert content(tmp_path) == before


def python_files() -> Iterator[tuple[str, str]]:
    """Yield path in the repository and text of every Python file that is not a test module."""
    for folder in ("src", "benchmarks", "scripts", "test_support"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if not file.name.startswith("test_"):
                yield str(file.relative_to(ROOT)), file.read_text()


def test_every_command_is_tested_or_excused() -> None:
    found = {
        name for name, text in python_files()
        if name.endswith("/__main__.py") or IS_COMMAND.search(text)
    }
    rows = tuple({command.file for command in COMMANDS.values()})
    excused = [name for names in OTHERS.values() for name in names]
    tested = {name for name in found if name.endswith(rows)}
    missing = found - tested - set(excused)
    assert not missing, f"add to COMMANDS, or to OTHERS with the reason: {sorted(missing)}"
    assert len(tested) == len(rows), "a row names no command"
    assert len(excused) == len(set(excused)) and set(excused) == found - tested, "OTHERS is stale"


def test_every_path_of_a_command_line_expands_the_home_folder() -> None:
    plain = [name for name, text in python_files() if re.search(r"\btype=Path\b", text)]
    assert not plain, f"use path_argument: {plain}"
