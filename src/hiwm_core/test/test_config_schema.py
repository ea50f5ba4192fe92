"""Files as dataclasses: what is read, and what is refused with file, field and remedy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest

from hiwm_core.config_files import parse_mapping
from hiwm_core.config_schema import number, settings
from hiwm_core.errors import ConfigError


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
    place: tuple[float, float] = (0.0, 0.0)
    path: str | None = None

    def __post_init__(self) -> None:
        if "z" in self.axes and self.rate > 5:
            raise ConfigError("z is too quick", where="rate", remedy="5 or less")


GOOD = """
rate: 3
axes: {x: {scale: 2}, y: {}}
buttons: {0: deadman, 1: {driving: fork}}
"""


def parse(text: str) -> Settings:
    return settings(Settings, parse_mapping(text, "a.yaml"), "a.yaml")


def test_a_file_becomes_its_dataclass() -> None:
    made = parse(GOOD + "names: [a, b]\npath: /dev/x\n")
    assert made.axes["x"] == Axis(scale=2.0) and isinstance(made.axes["x"].scale, float)
    assert made.axes["y"] == Axis()
    assert made.buttons[1] == ByMode(driving="fork")
    assert made.names == ("a", "b") and made.path == "/dev/x"
    with pytest.raises(TypeError):
        made.axes["z"] = Axis()  # type: ignore[index]


@pytest.mark.parametrize(
    ("slip", "fixed", "parts"),
    [
        ("rate: 3", "rate: 30", ["a.yaml: rate", "30", "1 to 9"]),
        ("rate: 3", "rate: true", ["a.yaml: rate", "expected int"]),
        ("rate: 3", "", ["missing key 'rate'", "a.yaml"]),
        ("rate: 3", "rat: 3", ["unknown key 'rat'", "did you mean 'rate'"]),
        ("y: {}", "w: {}", ["a.yaml: axes", "unknown value 'w'", "x, y, z"]),
        ("scale: 2", "scale: .nan", ["a.yaml: axes.x.scale", "not finite"]),
        ("scale: 2", "scale: fast", ["a.yaml: axes.x.scale", "expected float", "'fast'"]),
        ("scale: 2", "deadzone: 0", ["a.yaml: axes.x", "did you mean 'dead_zone'"]),
        ("y: {}", "y: {dead_zone: 1}", ["a.yaml: axes.y.dead_zone", "0 to 0.9"]),
        ("rate: 3", "rate: 3\nplace: [1]", ["a.yaml: place", "expected 2 entries"]),
        ("rate: 3", "rate: 3\nplace: [1, b]", ["a.yaml: place[1]", "expected float"]),
        ("y: {}", "y: 7", ["a.yaml: axes.y", "found 7"]),
        ("0: deadman", "0: ded", ["a.yaml: buttons.0", "deadman"]),
        ("0: deadman", "A: deadman", ["a.yaml: buttons", "expected int", "'A'"]),
        ("fork}", "forc}", ["a.yaml: buttons.1.driving", "did you mean 'fork'"]),
        ("y: {}", "z: {}}\nrate: 6\nnames: [a", ["expected", "a.yaml"]),
    ],
)
def test_a_mistake_is_refused_with_file_field_and_remedy(
    slip: str, fixed: str, parts: list[str]
) -> None:
    assert slip in GOOD
    text = GOOD.replace(slip, fixed)
    with pytest.raises(ConfigError) as refused:
        parse(text)
    for part in parts:
        assert part in str(refused.value)


def test_what_fields_must_agree_on_is_refused_at_its_field() -> None:
    with pytest.raises(ConfigError, match=r"z is too quick \(a.yaml: rate\): 5 or less"):
        parse(GOOD.replace("y: {}", "z: {}").replace("rate: 3", "rate: 6"))
