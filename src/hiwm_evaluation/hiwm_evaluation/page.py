"""A page of text, tables and pictures in one self-contained HTML file.

Tested by ``test_page.py``.
"""

import base64
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape

from hiwm_evaluation.statistics import Interval

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", Arial, sans-serif; color: #282c34;
  background: #fff; max-width: 80rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; border-bottom: 1px solid #d8dbe0; }
p { margin: .5rem 0; max-width: 54rem; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .22rem .6rem; text-align: right; vertical-align: top; }
th { border-bottom: 1px solid #808690; font-weight: 600; vertical-align: bottom; }
td { white-space: nowrap; }
th.text, td.text { text-align: left; white-space: normal; min-width: 5.5rem; }
tr.sum td { background: #f3f4f6; font-weight: 600; border-top: 1px solid #d8dbe0; }
td.missing { color: #be1e28; }
figure { margin: .8rem 0; }
img { max-width: 100%; height: auto; }
pre { background: #f3f4f6; padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: .84rem; }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  body { font-size: 10.5px; margin: 0; max-width: none; }
  h2 { break-after: avoid; }
  tr, figure { break-inside: avoid; }
  .wide { overflow: visible; }
  table { font-size: 9px; }
  th, td { padding: .15rem .35rem; }
  tr.sum td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

MISSING = "missing"
_NO_VALUE = "–"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table; `sum` marks it as the sum or pool of other rows."""

    cells: Sequence[str]
    sum: bool = False


def document(title: str, parts: Sequence[str]) -> str:
    """Return the complete page; `parts` are HTML, `title` is plain text."""
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """Return the heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def verbatim(text: str) -> str:
    """Return preformatted text, such as a command."""
    return f"<pre>{escape(text)}</pre>"


def picture(png: bytes, text: str) -> str:
    """Return an embedded PNG with `text` as its alternative text."""
    data = base64.b64encode(png).decode()
    return (
        f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{data}"></figure>'
    )


def table(
    columns: Sequence[str], rows: Sequence[Row], *, caption: str = "", text: Collection[int] = (0,)
) -> str:
    """Return a table; columns with indices in `text` are left-aligned and wrap, others right."""
    for row in rows:
        if len(row.cells) != len(columns):
            raise ValueError(f"row {row.cells} does not fit the columns {columns}")
    head = "".join(
        f"<th{_class(place in text, False)}>{escape(name)}</th>"
        for place, name in enumerate(columns)
    )
    body = "\n".join(
        f'<tr{" class=" + chr(34) + "sum" + chr(34) if row.sum else ""}>' + "".join(
            f"<td{_class(place in text, cell == MISSING)}>{escape(cell)}</td>"
            for place, cell in enumerate(row.cells)
        ) + "</tr>"
        for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def percent(share: float) -> str:
    """Return a fraction in percent, for example '44.0 %'."""
    return f"{100 * share:.1f} %"


def percent_range(interval: Interval) -> str:
    """Return an interval of fractions, for example '31.2 to 57.7 %'."""
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def points(difference: float) -> str:
    """Return a difference of fractions in percentage points, for example '+12.0'."""
    value = _not_minus_zero(100 * difference, 1)
    return f"{value:+.1f}" if value else "0.0"


def points_range(interval: Interval) -> str:
    """Return an interval of differences in percentage points, for example '-3.1 to +20.4'."""
    return f"{points(interval[0])} to {points(interval[1])}"


def number(value: float, digits: int) -> str:
    """Return a number with some decimals; a dash for NaN."""
    return _NO_VALUE if math.isnan(value) else f"{_not_minus_zero(value, digits):.{digits}f}"


def ratio(upper: float, lower: float, digits: int) -> str:
    """Return the ratio of two numbers; a dash if it is undefined."""
    return number(upper / lower, digits) if lower else _NO_VALUE


def about_zero(interval: Interval) -> str:
    """Return the position of an interval relative to zero, for example 'includes zero'."""
    low, high = interval
    if math.isnan(low) or math.isnan(high):
        return _NO_VALUE
    return "above zero" if low > 0.0 else "below zero" if high < 0.0 else "includes zero"


def _class(text: bool, missing: bool) -> str:
    names = [name for name, applies in (("text", text), ("missing", missing)) if applies]
    return f' class="{" ".join(names)}"' if names else ""


def _not_minus_zero(value: float, digits: int) -> float:
    return 0.0 if round(value, digits) == 0.0 else value
