"""Words on the command line are stored as they were typed."""

import argparse

import pytest

from hiwm_core.text_arguments import text_argument


@pytest.mark.parametrize("typed", ["", "fold it", "Führe das Seil", "紐を通す"])
def test_a_text_that_the_locale_could_not_read_is_read(typed: str) -> None:
    assert text_argument(typed) == typed
    assert text_argument(typed.encode().decode("ascii", "surrogateescape")) == typed


def test_another_encoding_is_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="UTF-8"):
        text_argument("Führe".encode("latin-1").decode("utf-8", "surrogateescape"))
