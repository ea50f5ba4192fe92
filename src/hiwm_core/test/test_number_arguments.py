"""Numbers of the command line are in their range."""

from argparse import ArgumentTypeError

import pytest

from hiwm_core.number_arguments import (
    at_least_zero,
    port_number,
    seed_number,
    thread_count,
    whole_number,
)


@pytest.mark.parametrize("text", ["-1", "65536", "99999", "x", "", "1.5", "nan", "1e3"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="give a whole number, 0 to 65535"):
        port_number(text)


def test_numbers_in_their_range_are_read() -> None:
    assert (port_number("0"), port_number("65535"), thread_count("2")) == (0, 65535, 2)
    assert seed_number(str(2**32 - 1)) == 2**32 - 1
    assert whole_number(1)("1000000000000") == 10**12


def test_a_least_number_without_a_most_one_is_named() -> None:
    with pytest.raises(ArgumentTypeError, match="'0': give a whole number, 1 or more"):
        whole_number(1)("0")


@pytest.mark.parametrize("text", ["-0.1", "nan", "-inf", "x", ""])
def test_limits_below_zero_and_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="give a number, 0 or more"):
        at_least_zero(text)


def test_limits_may_be_zero_or_infinite() -> None:
    assert [at_least_zero(text) for text in ("0", "2.5", "inf")] == [0.0, 2.5, float("inf")]
