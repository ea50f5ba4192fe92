"""Device files: what is read, and what is refused with file, field and remedy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest

from hiwm_core.errors import ConfigError
from hiwm_teleop.devices.device_files import load_device_file, number, parse_device_file


@dataclass(frozen=True, kw_only=True)
class Axis:
    scale: float = number(1.0, lower=-10.0, upper=10.0)
    dead_zone: float = number(0.1, lower=0.0, upper=0.9)


@dataclass(frozen=True, kw_only=True)
class ByMode:
    driving: Literal["gripper", "fork"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    rate: int = number(lower=1, upper=9)
    axes: Mapping[Literal["x", "y", "z"], Axis]
    buttons: Mapping[int, Literal["deadman"] | ByMode]
    names: tuple[str, ...] = ()
    path: str | None = None

    def __post_init__(self) -> None:
        if "z" in self.axes and self.rate > 5:
            raise ConfigError("z is too quick", where="rate", remedy="5 or less")


GOOD = """
device: thing
rate: 3
axes: {x: {scale: 2}, y: {}}
buttons: {0: deadman, 1: {driving: fork}}
"""


def parse(text: str) -> Settings:
    return parse_device_file(text, "a.yaml", "thing", Settings)


def test_a_file_becomes_its_dataclass() -> None:
    settings = parse(GOOD + "names: [a, b]\npath: /dev/x\n")
    assert settings.axes["x"] == Axis(scale=2.0) and isinstance(settings.axes["x"].scale, float)
    assert settings.axes["y"] == Axis()
    assert settings.buttons[1] == ByMode(driving="fork")
    assert settings.names == ("a", "b") and settings.path == "/dev/x"
    with pytest.raises(TypeError):
        settings.axes["z"] = Axis()  # type: ignore[index]


@pytest.mark.parametrize(
    ("slip", "mended", "parts"),
    [
        ("device: thing", "device: other", ["a.yaml: device", "device:=other"]),
        ("device: thing", "", ["no device", "device: thing"]),
        ("rate: 3", "rate: 30", ["a.yaml: rate", "30", "1 to 9"]),
        ("rate: 3", "rate: true", ["a.yaml: rate", "expected int"]),
        ("rate: 3", "", ["missing key 'rate'", "a.yaml"]),
        ("rate: 3", "rat: 3", ["unknown key 'rat'", "did you mean 'rate'"]),
        ("y: {}", "w: {}", ["a.yaml: axes", "'w' is not known", "x, y, z"]),
        ("scale: 2", "scale: .nan", ["a.yaml: axes.x.scale", "not finite"]),
        ("scale: 2", "scale: fast", ["a.yaml: axes.x.scale", "expected float", "'fast'"]),
        ("scale: 2", "deadzone: 0", ["a.yaml: axes.x", "did you mean 'dead_zone'"]),
        ("y: {}", "y: {dead_zone: 1}", ["a.yaml: axes.y.dead_zone", "0 to 0.9"]),
        ("y: {}", "y: 7", ["a.yaml: axes.y", "found 7"]),
        ("0: deadman", "0: ded", ["a.yaml: buttons.0", "deadman"]),
        ("0: deadman", "A: deadman", ["a.yaml: buttons", "expected int", "'A'"]),
        ("fork}", "forc}", ["a.yaml: buttons.1.driving", "did you mean 'fork'"]),
        ("y: {}", "z: {}}\nrate: 6\nnames: [a", ["expected", "a.yaml"]),
    ],
)
def test_a_slip_is_refused_with_file_field_and_remedy(
    slip: str, mended: str, parts: list[str]
) -> None:
    assert slip in GOOD
    text = GOOD.replace(slip, mended)
    with pytest.raises(ConfigError) as refused:
        parse(text)
    for part in parts:
        assert part in str(refused.value)


def test_what_fields_must_agree_on_is_refused_at_its_field() -> None:
    with pytest.raises(ConfigError, match=r"z is too quick \(a.yaml: rate\): 5 or less"):
        parse(GOOD.replace("y: {}", "z: {}").replace("rate: 3", "rate: 6"))


def test_an_unknown_file_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="config/devices"):
        load_device_file("none_such", "thing", Settings)
