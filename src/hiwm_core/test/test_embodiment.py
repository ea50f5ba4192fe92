"""Embodiment files: what is refused names file, field and remedy."""

from typing import Any

import numpy as np
import pytest
import yaml

from hiwm_core.config_files import find_config
from hiwm_core.embodiment import load_embodiment, parse_embodiment
from hiwm_core.errors import ConfigError

TEXT = find_config("embodiments", "planar_bimanual").read_text()


def changed(place: tuple[Any, ...], value: Any = None, *, rename: str = "") -> str:
    """Return the shipped file with one value, or one key, changed."""
    data = yaml.safe_load(TEXT)
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    if rename:
        inner[rename] = inner.pop(place[-1])
    else:
        inner[place[-1]] = value
    return yaml.safe_dump(data)


def test_shipped_embodiment_loads() -> None:
    embodiment = load_embodiment("planar_bimanual")
    assert embodiment.action_dim == 4
    assert embodiment.joint_names == tuple(f"{entry.name}_joint" for entry in embodiment.actions)
    assert np.all(embodiment.lower < embodiment.upper)
    assert embodiment.camera("top").width == 96


@pytest.mark.parametrize(
    ("place", "rename", "words"),
    [
        (("rate_hz",), "rate", ["rate", "rate_hz"]),
        (("actions", 1, "max_velocity"), "max_velocty", ["actions[1]", "max_velocity"]),
        (("proprioception", 0, "unit"), "units", ["proprioception[0]", "unit"]),
        (("cameras", 0, "width"), "wdth", ["cameras[0]", "width"]),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(
    place: tuple[Any, ...], rename: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        parse_embodiment(changed(place, rename=rename), "twin.yaml")
    for word in ["twin.yaml", repr(rename), "did you mean", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("actions", 0, "unit"), "mm", ["actions[0]", "mm", "SI", "convert"]),
        (("proprioception", 2, "unit"), "deg", ["proprioception[2]", "deg", "SI"]),
        (("actions", 3, "upper"), -1.0, ["actions[3]", "upper"]),
        (("actions", 3, "upper"), float("nan"), ["actions[3]", "upper"]),
        (("actions", 0, "max_velocity"), 0.0, ["actions[0]", "max_velocity"]),
        (("actions", 0, "max_acceleration"), float("nan"), ["actions[0]", "max_acceleration"]),
        (("actions", 0, "max_velocity"), "0.12 m/s", ["actions[0]", "max_velocity", "float"]),
        (("actions", 0, "arm"), "middle", ["actions[0]", "middle", "left, right"]),
        (("actions", 1, "name"), "left_x", ["actions", "share a name"]),
        (("rate_hz",), float("inf"), ["rate_hz"]),
        (("home",), [-150, -150, 150, -150], ["home", "-0.18"]),
        (("cameras", 0, "encoding"), "bgr8", ["cameras[0]", "bgr8", "rgb8"]),
    ],
)
def test_a_wrong_unit_or_value_is_refused_with_file_field_and_remedy(
    place: tuple[Any, ...], value: Any, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        parse_embodiment(changed(place, value), "twin.yaml")
    for word in ["twin.yaml", *words]:
        assert word in str(error.value)


def test_the_hash_is_that_of_the_text() -> None:
    assert parse_embodiment(TEXT, "a").hash == load_embodiment("planar_bimanual").hash
    assert parse_embodiment(TEXT + "\n# note\n", "a").hash != parse_embodiment(TEXT, "a").hash


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="planar_bimanual"):
        load_embodiment("planar_bimanaul")
