"""The palette of `hiwm_core` as a style sheet and a script for the page."""

import json

from hiwm_core.palette import GREEN, MODE_COLOURS, SOURCE_COLOURS, SOURCE_NAMES, Colour


def style_sheet() -> bytes:
    """Return CSS variables: one for each mode, in lower case, and `--good`."""
    colours = {mode.name.lower(): colour for mode, colour in MODE_COLOURS.items()}
    lines = [f"  --{name}: {_hex(colour)};" for name, colour in {**colours, "good": GREEN}.items()]
    return "\n".join([":root {", *lines, "}", ""]).encode()


def script() -> bytes:
    """Return a module that exports SOURCES: name and colour by Command.SOURCE_* number."""
    sources = [
        {"name": SOURCE_NAMES[source], "colour": _hex(SOURCE_COLOURS[source])}
        for source in sorted(SOURCE_COLOURS)
    ]
    return f"export const SOURCES = {json.dumps(sources)};\n".encode()


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
