"""The report's page against its study."""

import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hiwm_core.errors import ConfigError
from hiwm_evaluation.report import main, write_report
from hiwm_evaluation.statistics import (
    PairedCounts,
    difference_interval,
    paired_difference_interval,
    wilson_interval,
)

sys.path.insert(0, str(Path(__file__).parent))
from synthetic_study import CELLS, study_data, write_study  # noqa: E402


class Page(HTMLParser):
    """The texts of a page: rows by their cells, paragraphs, and references."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.text = ""
        self.sources: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        elif self.open and self.open[-1] != "style":
            self.text += data

    def row(self, *names: str) -> list[str]:
        """Return the cells after the first ones, which must identify one row."""
        found = [row for row in self.rows if row[: len(names)] == list(names)]
        assert len(found) == 1, (names, found)
        return found[0][len(names):]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = write_study(tmp_path_factory.mktemp("study"))
    return write_report(study, study / "report").parent


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text())


def percents(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def test_the_page_is_complete_and_self_contained(folder: Path, page: Page) -> None:
    assert page.open == []
    assert "script" not in page.tags and "link" not in page.tags
    assert len(page.sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    for name in ("rates.png", "gains.png", "agreement.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_rates_pooled_and_by_seed(page: Page) -> None:
    assert page.row("Diffusion Policy, Hi-WM, 2 training seeds pooled") == [
        "30/39", "76.9 %", percents(wilson_interval(30, 39)),
        "32/40", "80.0 %", percents(wilson_interval(32, 40)),
        "on the stand-in 39 of 40 trials judged, 1 aborted",
    ]
    assert page.row("seed 1: diffusion-base-s1")[:2] == ["6/20", "30.0 %"]
    assert page.row("ACT, Hi-WM")[3:6] == ["missing", "", ""]
    assert page.row("seed 0: act-wm-cl-s0")[3:] == [
        "7/12", "58.3 %", percents(wilson_interval(7, 12)),
        "in imagination 12 of 20 trials judged, 0 aborted",
    ]
    assert page.row("Diffusion Policy, other: diffusion-other-s0")[-1] == "half of the <data>"


def test_gains_show_whether_their_interval_includes_zero(page: Page) -> None:
    low, high = difference_interval((30, 39), (14, 40))
    pairs = PairedCounts(both=14, first_only=16, second_only=0, neither=9)
    paired_low, paired_high = paired_difference_interval(pairs)
    assert page.row("stand-in", "Diffusion Policy", "Hi-WM minus base") == [
        "30/39, 14/40", f"+41.9 ({100 * low:+.1f} to {100 * high:+.1f})", "above zero",
        "39", "16, 0", f"+41.0 ({100 * paired_low:+.1f} to {100 * paired_high:+.1f})", "above zero",
    ]
    row = page.row("stand-in", "Diffusion Policy", "WM-CL minus base")
    assert (row[2], row[-1]) == ("includes zero", "includes zero")
    assert page.row("imagination", "ACT", "Hi-WM minus base")[0] == "missing"


def test_the_papers_numbers_are_labelled(page: Page) -> None:
    published = {
        "Diffusion Policy (DP)": (52.9, 64.7, 85.3), "pi0": (76.5, 79.4, 97.1),
    }
    for name, rates in published.items():
        for said, rate in zip(page.row(name), rates, strict=False):
            assert said.startswith(f"{rate:.1f} % (")
    assert page.row("pi0")[3:] == ["+20.6", "+17.6", "+2.9"]
    assert "The paper's own numbers: planar pushing on real robots" in page.text
    assert "arXiv 2604.21741, n about 34" in page.text


def test_the_summary_has_the_same_numbers_in_markdown(folder: Path) -> None:
    lines = (folder / "summary.md").read_text().splitlines()
    assert any(
        line.startswith("| Diffusion Policy, Hi-WM | 30/39, 76.9 % |") for line in lines
    ), lines
    assert any(line.startswith("| Diffusion Policy, Hi-WM minus base | +41.9 (") for line in lines)
    assert any(line.startswith("| Pearson, all | 9 | 0.868 (") for line in lines)
    assert lines[-1].startswith("Of 171 pairs of trials 69 succeeded in both worlds, 17 only in")


def test_agreement_and_false_outcomes(page: Page) -> None:
    n, value, interval, where, undefined = page.row("all policies", "Pearson")
    assert (n, value, where, undefined) == ("9", "0.868", "above zero", "0")
    assert interval.startswith("0.") and " to 0.9" in interval
    assert page.row("all policies", "MMRV")[1] == f"{55 / 900:.3f}"
    # One of each family: diffusion of two seeds, ACT of one.
    assert page.row("independently trained ones", "Pearson")[0] == "3"
    assert page.row("all") == [
        "171", "69", "17", "5", "80", f"17/86 ({percents(wilson_interval(17, 86))})",
        f"5/85 ({percents(wilson_interval(5, 85))})",
    ]
    assert ["act-hi-wm-s0", "missing", "", "", "", "", "", ""] in page.rows


def test_the_operators_yield(page: Page) -> None:
    assert page.row("all, 1 session", "with") == [
        "600", "0", "0", "1800", "30", "10", "20.0", "60.0", "3.00",
        f"24/30 ({percents(wilson_interval(24, 30))})", "30.0", "24.0",
    ]
    assert page.row("without_0, operator scripted", "without")[6:9] == ["50.0", "125.0", "1.00"]
    assert "with branching 600, without 600: equal" in page.text
    assert "scripted is a program, not a person" in page.text


def test_sets_world_model_and_command(page: Page) -> None:
    assert [
        "diffusion-hi-wm-s0", "16034", "11834 (30.0)", "2400 (20.0)", "1800 (50.0)", "77",
    ] in page.rows
    assert ["act-base-s0", "missing", "", "", "", ""] in page.rows
    assert page.row("psnr_db, h10") == ["29.1"] and page.row("size") == ["tiny"]
    assert "scripts/study --trials 20 && echo <done>" in page.text
    assert "Seeds: 0, 1." in page.text


def test_results_outside_imagination_are_called_stand_in(page: Page) -> None:
    assert "a MuJoCo simulation behind the robot's driver topics" in page.text
    everything = page.text + " ".join(" ".join(row) for row in page.rows)
    assert "hardware" not in everything
    for name in CELLS:
        assert any(name in cell for row in page.rows for cell in row)


def test_the_same_study_gives_the_same_files(tmp_path: Path, folder: Path) -> None:
    again = write_report(folder.parent, tmp_path)
    for name in ("rates.png", "gains.png", "agreement.png", "report.html"):
        assert (again.parent / name).read_bytes() == (folder / name).read_bytes()


def test_a_study_without_runs_shows_it(tmp_path: Path) -> None:
    data = study_data() | {"operator": [], "sets": [], "world_model": {}, "seeds": []}
    data["cells"] = data["cells"][:1]
    study = write_study(tmp_path, data, {})
    page = Page(write_report(study, study / "report").read_text())
    assert page.row("ACT, base")[-1] == "no such policy in the study"
    assert "0 policies have trials in both worlds" in page.text
    assert "The study has no operator session." in page.text
    assert "does not list the contents of the sets" in page.text
    assert "no numbers of the world model" in page.text
    assert "Seeds: none given." in page.text


def test_unequal_operators_and_conditions_are_shown(tmp_path: Path) -> None:
    data = study_data()
    data["operator"][0] = data["operator"][0] | {"seconds": 300.0}
    study = write_study(tmp_path, data, {"act-base-s0": ("sf", "")})
    other = study / "evaluations" / "act-base-s0"
    (other / "hardware").rename(study / "kept")
    data["cells"][6]["hardware"] = "kept"
    study = write_study(tmp_path, data, {"act-hi-wm-s0": ("sf", "")})
    path = study / "kept" / "evaluation.json"
    path.write_text(path.read_text().replace("300", "200"))
    page = Page(write_report(study, study / "report").read_text())
    assert "with branching 300, without 600: not equal" in page.text
    assert page.row("all, 1 session", "with")[-2:] == ["60.0", "48.0"]
    assert "on the stand-in were made under the same conditions: horizon: 200, 300" in page.text


def test_the_command_prints_the_page_or_what_is_wrong(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder.parent), "-o", str(tmp_path / "o")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "o" / "report.html")
    assert main([str(tmp_path)]) == 1
    assert "study.json" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([str(folder.parent), "-o", str(tmp_path / "file")]) == 1
    assert "is not a folder" in capsys.readouterr().err


def test_controls_are_shown_with_their_cost(tmp_path: Path) -> None:
    data = study_data()
    names = ("diffusion-start-s0", "diffusion-demonstrations-s0", "diffusion-stand-in-s0")
    for name, which in zip(names, ("start", "demonstrations", "stand-in"), strict=True):
        data["cells"].append({
            "name": name, "backbone": "diffusion", "set": which, "seed": 0,
            "hardware": f"evaluations/{name}/hardware",
            "imagination": f"evaluations/{name}/imagination",
        })
    costs = {"operator_frames": 130, "learnt_frames": 120, "operator_seconds": 13.0, "resets": 4}
    data["costs"] = [
        {"cell": "diffusion-stand-in-s0", "robot_seconds": 99.0, **costs},
        *({"cell": f"diffusion-hi-wm-s{seed}", "robot_seconds": 0.0, **costs}
          for seed in (0, 1)),
        # One of two: the mean would be that of the other policy only.
        {"cell": "diffusion-base-s0", "robot_seconds": 0.0, **costs},
    ]
    data["remarks"] = ["Chosen on other starts."]
    data["world_state"] = "a pose that its head reads"
    ends = {name: ("s" * 12 + "f" * 8, "s" * 11 + "f" * 9) for name in names}
    study = write_study(tmp_path, data, CELLS | ends)
    page = Page(write_report(study, study / "report").read_text())
    assert page.row("Diffusion Policy, stand-in corrections", "1") == [
        "12/20", "120", "130", "13", "99", "4",
    ]
    took = [row for row in page.rows if row[:2] == ["Diffusion Policy, Hi-WM", "2"]]
    assert [row[3:] for row in took] == [["120", "130", "13", "0", "4"]]
    assert not [row for row in page.rows if row[:2] == ["Diffusion Policy, base", "1"]]
    page.row("stand-in", "Diffusion Policy", "Hi-WM minus stand-in corrections")
    page.row("stand-in", "Diffusion Policy", "base minus start")
    assert "Chosen on other starts." in page.text
    assert "state is a pose that its head reads" in page.text
    summary = (study / "report" / "summary.md").read_text()
    assert "stand-in corrections | 60.0 % | 120 | 130 | 13 | 99 | 4 |" in summary
    assert "state is a pose that its head reads" in summary


def test_a_study_without_controls_shows_none(page: Page) -> None:
    assert "Cost of each set" not in page.text
    assert not [row for row in page.rows if row and "stand-in corrections" in row[0]]


def test_a_report_replaces_a_report_and_nothing_else(tmp_path: Path, folder: Path) -> None:
    study = folder.parent
    with pytest.raises(ConfigError, match="lies inside an input"):
        write_report(study, study / "evaluations")
    (tmp_path / "rates.png").write_text("a photograph")
    with pytest.raises(ConfigError, match=r"rates\.png"):
        write_report(study, tmp_path)
    (tmp_path / "report.html").write_text("of last year")
    with pytest.raises(ConfigError, match="not a report written by hiwm"):
        write_report(study, tmp_path)
    assert (tmp_path / "rates.png").read_text() == "a photograph"
