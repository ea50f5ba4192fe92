"""Words on the command line, whatever the locale of the terminal is."""

import argparse
import os


def text_argument(text: str) -> str:
    """Return the text as it was typed, in UTF-8; the argparse `type` of words that are stored.

    With its UTF-8 mode off and a locale of ASCII, Python cannot read words in other letters. It
    keeps their bytes.
    """
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not UTF-8; set LC_ALL=C.UTF-8 in this terminal and type it again"
        ) from None
