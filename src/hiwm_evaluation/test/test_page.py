"""A self-contained page, and the format of its numbers."""

import math

import pytest

from hiwm_evaluation.page import (
    Row,
    about_zero,
    document,
    number,
    paragraph,
    percent,
    percent_range,
    picture,
    points,
    points_range,
    ratio,
    table,
    verbatim,
)


def test_text_is_never_markup() -> None:
    parts = [paragraph("<a>"), verbatim("x && <y>"), table(["<b>"], [Row(cells=["<c>"])])]
    page = document("<d>", parts)
    for letter in "abcdy":
        assert f"&lt;{letter}&gt;" in page
    assert "x &amp;&amp;" in page


def test_a_table_aligns_text_left_and_marks_missing_values() -> None:
    text = table(["a", "b"], [Row(cells=["x", "missing"]), Row(cells=["sum", "1"], sum=True)])
    assert '<td class="text">x</td><td class="missing">missing</td>' in text
    assert '<tr class="sum"><td class="text">sum</td><td>1</td></tr>' in text


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="columns"):
        table(["a", "b"], [Row(cells=["x"])])


def test_a_picture_is_embedded_in_the_page() -> None:
    assert 'alt="&quot;x&quot;" src="data:image/png;base64,UE5H"' in picture(b"PNG", '"x"')


def test_numbers() -> None:
    assert percent(0.4404) == "44.0 %"
    assert percent_range((0.0, 0.2775)) == "0.0 to 27.8 %"
    assert (points(0.12), points(-0.031), points(-0.0001)) == ("+12.0", "-3.1", "0.0")
    assert points_range((-0.1, 0.2)) == "-10.0 to +20.0"
    assert (number(1.005, 1), number(math.nan, 1), number(-0.0001, 2)) == ("1.0", "–", "0.00")
    assert (ratio(1, 3, 2), ratio(1, 0, 2)) == ("0.33", "–")


def test_the_position_of_an_interval() -> None:
    assert about_zero((0.1, 0.2)) == "above zero"
    assert about_zero((-0.2, -0.1)) == "below zero"
    assert about_zero((0.0, 0.2)) == about_zero((-0.1, 0.0)) == "includes zero"
    assert about_zero((math.nan, math.nan)) == "–"
