"""Layouts of policy servers: the ready ones, and what is refused with file and field."""

import copy
from typing import Any

import pytest

from hiwm_core.config_files import find_config
from hiwm_core.errors import ConfigError
from hiwm_learning.policies.remote.layout import CameraLeaf, find_layout, parse_layout
from hiwm_learning.policies.remote.replies import ReplyReader
from hiwm_learning.policies.remote.requests import RequestWriter
from hiwm_test_support.policy_servers import (
    READY_LAYOUTS,
    SIMPLE_LAYOUT,
    embodiment_of_layout,
)


def test_every_ready_layout_is_tested_here() -> None:
    folder = find_config("policies", "droid").parent
    assert {path.stem for path in folder.glob("*.yaml")} == set(READY_LAYOUTS)


@pytest.mark.parametrize("name", READY_LAYOUTS)
def test_a_ready_layout_fits_its_embodiment(name: str) -> None:
    layout, embodiment = find_layout(name), embodiment_of_layout(name)
    assert layout.name == name
    writer = RequestWriter(layout, embodiment, "put it down", name)
    reader = ReplyReader(layout, embodiment, 1.0 / embodiment.rate_hz, name, "ws://x")
    assert len(writer.cameras) == (4 if name == "aloha" else 2)
    assert 1 <= reader.execute_horizon <= reader.horizon


def test_a_state_of_the_server_may_have_our_key_names() -> None:
    layout = find_layout("aloha")
    assert isinstance(layout.observation["images"]["cam_high"], CameraLeaf)
    assert layout.observation["state"].parts[0].group == "left_arm"


@pytest.mark.parametrize(("changes", "where", "words"), [
    ({"horizons": 8}, "x.yaml", "did you mean 'horizon'"),
    ({"execute_horizon": 9}, "x.yaml: execute_horizon", "exceeds the horizon of 8"),
    ({"observation": {"image": {"send": "video"}}}, "observation.image.send", "'video'"),
    ({"observation": {"image": {"send": "camera", "camera": "top", "layout": "WHC"}}},
     "observation.image: layout", "CHW"),
    ({"observation": {"prompt": "go"}}, "observation.prompt", "send: value"),
    ({"observation": []}, "x.yaml: observation", "not a mapping"),
    ({"observation": {"s": {"send": "state", "parts": [{"scale": 2}]}}},
     "observation.s: parts[0].group", "group or entries"),
    ({"actions": [{"columns": [4, 4], "group": "left"}]}, "actions[0].columns", "[0, 7]"),
    ({"actions": [{"columns": [0, 4], "group": "left"}], "columns": 3}, "columns", "column 3"),
])
def test_an_error_names_its_field(changes: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_layout(copy.deepcopy(SIMPLE_LAYOUT) | changes, "x.yaml")
    assert where in caught.value.where and words in str(caught.value)


def test_an_unknown_layout_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        find_layout("driod")
    assert "no policy layout 'driod'" in str(caught.value)
    assert "aloha" in str(caught.value) and "did you mean 'droid'" in str(caught.value)
