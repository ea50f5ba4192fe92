"""The figures state their numbers with n, even if data is missing."""

import sys
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from hiwm_evaluation.figures import agreement_figure, gains_figure, rates_figure
from hiwm_evaluation.findings import agreement, gains
from hiwm_evaluation.study_file import Study, World, read_study

sys.path.insert(0, str(Path(__file__).parent))
from synthetic_study import write_study  # noqa: E402


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return read_study(write_study(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return read_study(write_study(tmp_path_factory.mktemp("bare"), cells={}))


def texts(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text)]


def test_rates_have_their_counts(study: Study) -> None:
    said = texts(rates_figure(study))
    for count in ("14/40", "17/40", "30/39", "16/40", "21/40", "32/40", "5/20", "7/12"):
        assert count in said
    assert said.count("missing") == 1
    assert "stand-in" in said and "imagination" in said


def test_gains_have_their_pairs(study: Study) -> None:
    said = texts(gains_figure([gain for world in World for gain in gains(study, world)]))
    assert said.count("n = 39 pairs") == 2 and "n = 12 pairs" in said
    assert "Diffusion Policy, stand-in: Hi-WM minus base" in said
    assert "ACT, imagination: Hi-WM minus base" not in said


def test_agreement_shows_its_numbers(study: Study) -> None:
    agreed = agreement(study)
    said = "\n".join(texts(agreement_figure(agreed)))
    assert "n = 9 policies\nn = 12 to 20 trials each per world\nPearson 0.87 (" in said
    assert "success on the stand-in, %" in said
    assert f"MMRV {agreed.estimates['MMRV'].value:.2f} (" in said


def test_nothing_is_cut_off_by_the_edge(study: Study) -> None:
    every = [gain for world in World for gain in gains(study, world)]
    for figure in (rates_figure(study), gains_figure(every), agreement_figure(agreement(study))):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn = figure.get_tightbbox(canvas.get_renderer())  # inches
        width, height = figure.get_size_inches()
        assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


def test_a_study_without_trials_is_drawn_as_well(bare: Study) -> None:
    assert texts(rates_figure(bare)).count("missing") == 12
    assert "no two sets to compare yet" in texts(gains_figure(gains(bare, World.STAND_IN)))
    assert "n = 0 policies" in texts(agreement_figure(agreement(bare)))
