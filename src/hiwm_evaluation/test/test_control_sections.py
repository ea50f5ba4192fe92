"""The report has parts on low trust, a second world model and branching, if the study has them."""

import sys
from pathlib import Path

import pytest

from hiwm_evaluation.report import write_report
from hiwm_evaluation.study_file import read_study

sys.path.insert(0, str(Path(__file__).parent))
from synthetic_study import with_controls, write_study  # noqa: E402

from hiwm_evaluation.control_figures import branching_figure
from hiwm_evaluation.control_findings import branching_points


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report with all controls."""
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, with_controls(folder), trusted=True)
    return write_report(folder, folder / "report").parent


def test_the_page_and_the_summary_have_the_parts(report: Path) -> None:
    page = (report / "report.html").read_text()
    for text in (
        "Without imagined trials of low trust", "The same policies in a second world model",
        "Does branching pay?", "latent-1234", "with rollback and branches",
    ):
        assert text in page
    summary = (report / "summary.md").read_text()
    assert "| 25 % |" in summary and "| latent-1234 | 5 |" in summary
    assert "| Diffusion Policy, in place | 60 | 240 | 7 | 6/20, 30.0 % |" in summary
    for line in summary.splitlines():
        if line.startswith("|"):
            assert line.count("|") in (4, 5, 6, 7, 8, 9)


def test_the_pictures_are_written_only_if_there_is_something_to_show(
    report: Path, tmp_path: Path
) -> None:
    assert {"branching.png", "agreement_other.png"} <= {path.name for path in report.iterdir()}
    plain = write_report(write_study(tmp_path / "study"), tmp_path / "report").parent
    assert not {"branching.png", "agreement_other.png"} & {path.name for path in plain.iterdir()}
    assert "Does branching pay?" not in (plain / "report.html").read_text()


def test_the_curves_start_at_the_base_policy(tmp_path: Path) -> None:
    points = branching_points(read_study(write_study(tmp_path, with_controls(tmp_path))))
    panels = branching_figure(points).axes
    assert len(panels) == 4  # two backbones, operator seconds and interventions
    curves = [line for line in panels[0].get_lines() if line.get_linestyle() == "-"]
    assert [[round(y) for y in curve.get_ydata()] for curve in curves] == [
        [25, 40, 55, 85], [25, 30, 40, 55],
    ]
    assert [curve.get_xdata()[0] for curve in curves] == [0.0, 0.0]
    assert branching_figure([]).axes  # an empty one can be drawn, too
