"""The page of results shows every task, with numbers or without, beside the paper's figures."""

import sys
from pathlib import Path

import pytest

from hiwm_core.errors import ConfigError
from hiwm_evaluation.results_page import main, write_page

sys.path.insert(0, str(Path(__file__).parent))
from synthetic_study import with_controls, write_study  # noqa: E402

from hiwm_test_support.shipped import TASK

ROOT = Path(__file__).parents[3]
TASKS = sorted(path.stem for path in (ROOT / "config" / "tasks").glob("*.yaml"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one study with all controls, in docs/."""
    root = tmp_path_factory.mktemp("root")
    folder = root / "docs" / "results" / "toy"
    write_study(folder, with_controls(folder))
    assert main(["page", str(folder), "-o", str(root / "docs" / "results.md")]) == 0
    return root / "docs" / "results.md"


def section(page: Path, task: str) -> str:
    return page.read_text().split(f"## {task}:")[1].split("\n## ")[0]


def test_tasks_without_a_study_are_not_run_yet(page: Path) -> None:
    assert len(TASKS) >= 3
    for task in TASKS:
        assert ("Not run yet" in section(page, task)) is (task != TASK.name)
        assert "*the paper's pi0, real robot*" in section(page, task)


def test_rates_stand_beside_the_papers(page: Path) -> None:
    text = section(page, TASK.name)
    rates = next(line for line in text.splitlines() if "Diffusion Policy, stand-in" in line)
    assert rates.startswith(
        "| Diffusion Policy, stand-in | 35.0 % of 40 | 42.5 % of 40 | 76.9 % of 39 | "
    )
    paper = next(line for line in text.splitlines() if "the paper's Diffusion" in line)
    assert "| *52.9 % of about 34* | *64.7 % of about 34* | *85.3 % of about 34* | *+32.4*" in paper
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| ")}
    assert widths <= {5, 6, 8}
    assert "| ACT, in place | 240 | 30 |" in text and "Pearson" in text


def test_links_lead_to_files_beside_the_page(page: Path) -> None:
    assert "](results/toy/report/summary.md)" in page.read_text()
    assert "scripts/results page docs/results/toy` writes this page" in page.read_text()


def test_pictures_are_shown_once_they_are_there(page: Path, tmp_path: Path) -> None:
    assert "they are made from a study's work folder" in section(page, TASK.name)
    study = write_study(tmp_path / "docs" / "results" / "toy")
    (study / "pictures").mkdir()
    for name in ("failure", "correction", "corrected"):
        (study / "pictures" / f"{name}.png").write_bytes(b"")
    write_page([study], tmp_path / "docs" / "results.md")
    text = section(tmp_path / "docs" / "results.md", TASK.name)
    assert "![its correction](results/toy/pictures/correction.png)" in text
    assert "have not been compared yet" in text and "no controls at equal" in text


def test_a_page_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Notes\n")
    with pytest.raises(ConfigError, match="left unchanged"):
        write_page([write_study(tmp_path / "study")], tmp_path / "notes.md")
    assert (tmp_path / "notes.md").read_text() == "# Notes\n"
    assert main(["page", str(tmp_path / "none"), "-o", str(tmp_path / "page.md")]) == 1


def test_the_committed_page_is_of_the_committed_studies(tmp_path: Path) -> None:
    """It was written by the command that stands on it."""
    committed = ROOT / "docs" / "results.md"
    command = committed.read_text().rstrip().splitlines()[-1]
    folders = [ROOT / word for word in command.split("`")[1].split()[2:]]
    write_page(folders, tmp_path / "docs" / "results.md")
    fresh = (tmp_path / "docs" / "results.md").read_text().splitlines()
    assert [line.split("](")[0] for line in fresh[:-1]] == [
        line.split("](")[0] for line in committed.read_text().splitlines()[:-1]
    ]
