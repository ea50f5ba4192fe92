"""Device files: which device they are for, and where they are found."""

from dataclasses import dataclass

import pytest

from hiwm_core.errors import ConfigError
from hiwm_teleop.devices.device_files import load_device_file, parse_device_file


@dataclass(frozen=True, kw_only=True)
class Settings:
    rate: int


def test_a_file_of_the_device_becomes_its_dataclass() -> None:
    text = "device: thing\nrate: 3\n"
    assert parse_device_file(text, "a.yaml", "thing", Settings) == Settings(rate=3)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("device: other\nrate: 3", ["a.yaml: device", "device:=other"]),
        ("rate: 3", ["no device", "device: thing"]),
        ("device: thing\nrat: 3", ["a.yaml", "unknown key 'rat'", "did you mean 'rate'"]),
    ],
)
def test_a_file_of_another_device_is_refused(text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_device_file(text, "a.yaml", "thing", Settings)
    for part in parts:
        assert part in str(refused.value)


def test_an_unknown_file_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="one of aloha_leaders"):
        load_device_file("none_such", "thing", Settings)
