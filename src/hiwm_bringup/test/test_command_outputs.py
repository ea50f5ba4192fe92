"""No command replaces or fills what it did not write, nor writes over, around or into an input.

Every command that takes an output is in `COMMANDS`; `test_every_command_with_an_output_is_listed`
finds a missing one.
"""

import hashlib
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hiwm_test_support.shipped import MODELS, POLICY, TASK, WORLD_MODEL

ROOT = MODELS.parent


@dataclass(frozen=True)
class Command:
    """A command's module and its words; {data} is a folder that it reads, {out} its output."""

    module: str
    words: str
    writes: str = "folder"  # or "file", or "files": several, in a folder that may hold others
    reads: bool = True
    suffix: str = ""
    input_file: str = ""  # in the folder {data}, if the command does not read the whole folder


COMMANDS = {
    "build_dataset": Command("hiwm_learning.datasets.build", "{data} -o {out}"),
    "train_policy": Command(
        "hiwm_learning.policies.train", "{data} -o {out} --steps 1", "file", suffix=".safetensors"
    ),
    "train_world_model-layered": Command(
        "hiwm_learning.world_models.train", "{data} -o {out} --steps 1", "file",
        suffix=".safetensors",
    ),
    "train_world_model-latent": Command(
        "hiwm_learning.world_models.train", "--family latent {data} -o {out} --steps 1", "file",
        suffix=".safetensors",
    ),
    "posttrain": Command(
        "hiwm_learning.posttrain", "base --demonstrations {data} -o {out} --steps 1", "file",
        suffix=".safetensors",
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
    "rollout": Command(
        "hiwm_evaluation.rollout.command_line", "--policy {data}/policy.safetensors -o {out}",
        input_file="policy.safetensors",
    ),
    "twin": Command(
        "hiwm_evaluation.twin.command_line", "bag:{data}/bag@0 -o {out}", input_file="bag"
    ),
    "report": Command("hiwm_evaluation.report", "{data} -o {out}", "files"),
    "reproduce": Command(
        "hiwm_evaluation.study.__main__",
        "{task} --world-model {data}/world.safetensors --folder {out} --block tune",
        input_file="world.safetensors",
    ),
    "reproduce-results": Command(
        "hiwm_evaluation.study.__main__",
        "{task} --world-model {data}/world.safetensors --folder {data}_work --results {out}"
        " --block tune",
        input_file="world.safetensors",
    ),
    "collect_data": Command("hiwm_recording.collection_folder", "{out}", reads=False),
    "inspect": Command("hiwm_robot.inspection.__main__", "--seconds 1 -o {out}", reads=False),
    "bench": Command("hiwm_benchmarks.command_line", "-o {out}", "file", False, ".json"),
    "bench-sessions": Command("hiwm_benchmarks.command_line", "--keep {out}", reads=False),
    "bench-memory_growth": Command(
        "hiwm_benchmarks.memory_growth", "-o {out}", "file", False, ".json"
    ),
}
# Tasks test their own commands. The others write nothing themselves: options of several commands,
# and a temporary folder in a given one.
TESTED_ELSEWHERE = (
    "src/hiwm_tasks/", "src/hiwm_learning/hiwm_learning/training_command.py",
    "src/hiwm_recording/hiwm_recording/closing_memory.py",
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder as a user may have it: a bag's name, checkpoints, a study, and notes."""
    folder = tmp_path / "mine" / "data"
    (folder / "bag").mkdir(parents=True)
    (folder / "bag" / "metadata.yaml").write_text("rosbag2_bagfile_information: {}\n")
    (folder / "study.json").write_text("{}")
    (folder / "policy.safetensors").write_bytes(POLICY.read_bytes())
    (folder / "world.safetensors").write_bytes(WORLD_MODEL.read_bytes())
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
    code = importlib.import_module(command.module).main(words.split())
    assert code == 1
    return capsys.readouterr().err


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
    if command.writes == "file":
        output.write_text("my notes")
    elif command.writes == "files":
        output.mkdir()
        for file in ("world.evaluation.json", "world.endurance.json", "report.html"):
            (output / file).write_text("my notes")
    else:
        output.mkdir()
        (output / "notes.txt").write_text("my notes")
    before = content(tmp_path)
    error = run(command, data, output, capsys)
    assert "not" in error and str(output) in error and "move it away" in error, error
    assert content(tmp_path) == before


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


def test_every_command_with_an_output_is_listed() -> None:
    option = re.compile(r"add_argument\([^)]*\"--(output|folder|results|keep)\"")
    listed = {command.module.replace(".", "/") for command in COMMANDS.values()}
    for file in [*ROOT.glob("src/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]:
        name = str(file.relative_to(ROOT))
        if "/test/" in name or name.startswith(TESTED_ELSEWHERE):
            continue
        if option.search(file.read_text()):
            assert any(module in name for module in listed), (
                f"{name} takes an output: add its command to COMMANDS"
            )
