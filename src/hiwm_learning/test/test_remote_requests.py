"""Observations as servers want them: keys, images, states."""

from typing import Any

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.rotations import matrix_from_vector, sixd_from_matrix
from hiwm_learning.policies.remote.layout import CameraLeaf, find_layout, parse_layout
from hiwm_learning.policies.remote.requests import PolicyObservation, RequestWriter, sized
from hiwm_test_support.policy_servers import SIMPLE_LAYOUT, embodiment_of_layout

PLANE = load_embodiment("planar_bimanual")


def seen(embodiment: Any, proprio: Any = None, steps: int = 1) -> PolicyObservation:
    rng = np.random.default_rng(3)
    return PolicyObservation(
        images={
            camera.name: rng.integers(
                0, 256, (steps, camera.height, camera.width, 3), dtype=np.uint8
            )
            for camera in embodiment.cameras
        },
        proprio=np.tile(
            np.asarray(
                np.zeros(embodiment.proprio_dim) if proprio is None else proprio, np.float32
            ), (steps, 1),
        ),
        seed=(1, 2, 3), session="run-2",
    )


def test_aloha_gets_nested_images_channels_first() -> None:
    embodiment = load_embodiment("aloha")
    state = np.arange(14) / 10
    given = seen(embodiment, state)
    request = RequestWriter(find_layout("aloha"), embodiment, "pour", "aloha").request(given)
    assert set(request) == {"images", "state", "prompt"} and request["prompt"] == "pour"
    assert request["images"].keys() == {
        "cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist"
    }
    assert all(
        image.shape == (3, 224, 224) and image.dtype == np.uint8 and image.flags.c_contiguous
        for image in request["images"].values()
    )
    np.testing.assert_allclose(request["state"], state, atol=1e-6)
    assert request["state"].dtype == np.float32


def test_droid_gets_flat_keys_and_a_gripper_that_is_shut_at_one() -> None:
    embodiment = load_embodiment("franka_fr3")
    request = RequestWriter(find_layout("droid"), embodiment, "go", "droid").request(
        seen(embodiment, [*np.arange(7) / 10, 0.75])
    )
    assert request["observation/wrist_image_left"].shape == (224, 224, 3)
    np.testing.assert_allclose(request["observation/joint_position"], np.arange(7) / 10, atol=1e-6)
    np.testing.assert_allclose(request["observation/gripper_position"], [0.25])


def test_libero_gets_the_tool_as_axis_times_angle_and_two_fingers() -> None:
    embodiment = embodiment_of_layout("libero")
    proprio = np.zeros(embodiment.proprio_dim)
    names = [entry.name for entry in embodiment.proprioception]
    proprio[names.index("gripper")] = 0.5
    request = RequestWriter(find_layout("libero"), embodiment, "go", "libero").request(
        seen(embodiment, proprio)
    )
    state = request["observation/state"]
    assert state.shape == (8,)
    np.testing.assert_allclose(state[6:], [0.02, -0.02], atol=1e-6)
    # With all joints at zero the arm points straight up; its tool's turn comes from the joints.
    assert np.isfinite(state[:6]).all() and state[2] > 1.0


def test_starvla_gets_a_list_of_examples_and_roboarena_its_endpoints() -> None:
    embodiment = embodiment_of_layout("starvla")
    request = RequestWriter(find_layout("starvla"), embodiment, "go", "s").request(
        seen(embodiment)
    )
    assert request["unnorm_key"] == "franka"
    (example,) = request["examples"]
    assert [image.shape for image in example["image"]] == [(224, 224, 3)] * 2
    franka = load_embodiment("franka_fr3")
    writer = RequestWriter(find_layout("roboarena"), franka, "go", "r")
    request, reset = writer.request(seen(franka)), writer.reset(seen(franka))
    assert (request["endpoint"], request["session_id"]) == ("infer", "run-2")
    assert reset == {"endpoint": "reset", "session_id": "run-2"}


def test_several_steps_are_stacked_and_the_seed_is_sent() -> None:
    layout = parse_layout(SIMPLE_LAYOUT | {
        "observation_steps": 2,
        "observation": {
            "top": {"send": "camera", "camera": "top"}, "state": {"send": "state"},
            "one": {"send": "state", "parts": [{"entries": ["right_y", "left_x"]}], "row": True},
            "seed": {"send": "seed"},
        },
    }, "x")
    request = RequestWriter(layout, PLANE, "", "x").request(
        seen(PLANE, [0.1, 0.2, 0.3, 0.4], steps=3)
    )
    assert request["top"].shape == (2, 96, 96, 3) and request["state"].shape == (2, 4)
    np.testing.assert_allclose(request["one"][1], [[0.4, 0.1]], atol=1e-6)
    assert request["seed"] == [1, 2, 3]


def test_padding_keeps_proportions_and_stretching_does_not() -> None:
    frame = np.full((48, 96, 3), 200, np.uint8)
    padded = sized(frame, CameraLeaf(send="camera", camera="top", height=64, width=64))
    assert padded.shape == (64, 64, 3)
    rows = np.flatnonzero(padded[:, 32, 0])
    assert (rows[0], rows[-1]) == (16, 47)
    assert (padded[16:48] == 200).all()
    stretched = sized(
        frame, CameraLeaf(send="camera", camera="top", height=64, width=64, resize="stretch")
    )
    assert (stretched == 200).all()
    assert sized(frame, CameraLeaf(send="camera", camera="top", layout="CHW")).shape == (3, 48, 96)


@pytest.mark.parametrize(("observation", "words"), [
    ({"a": {"send": "camera", "camera": "front"}}, "no camera 'front': use one of top"),
    ({"a": {"send": "state", "parts": [{"group": "arm"}]}}, "no group 'arm'"),
    ({"a": [{"send": "state", "parts": [{"entries": ["x"]}]}]}, "no entry of proprioception 'x'"),
    ({"a": {"send": "state", "parts": [{"group": "left", "scale": [1, 2, 3]}]}},
     "scale has 3 numbers for 2"),
])
def test_a_layout_for_another_robot_is_refused(observation: Any, words: str) -> None:
    layout = parse_layout(SIMPLE_LAYOUT | {"observation": observation}, "x")
    with pytest.raises(ConfigError) as caught:
        RequestWriter(layout, PLANE, "", "x.yaml")
    assert words in str(caught.value).replace(" (x.yaml: observation)", "")
    assert "x.yaml" in caught.value.where


def test_rotations_may_go_as_six_numbers() -> None:
    embodiment = load_embodiment("ur5e_tool")
    turn = sixd_from_matrix(matrix_from_vector([0.0, 0.3, 0.0]))
    proprio = np.zeros(embodiment.proprio_dim)
    proprio[6:] = [0.1, 0.2, 0.3, *turn]
    for rotation, expected in (("6d", turn), ("axis_angle", [0.0, 0.3, 0.0])):
        layout = parse_layout(SIMPLE_LAYOUT | {"observation": {
            "s": {"send": "state", "parts": [{"group": "tool", "rotation": rotation}]},
        }}, "x")
        state = RequestWriter(layout, embodiment, "", "x").request(seen(embodiment, proprio))["s"]
        np.testing.assert_allclose(state, [0.1, 0.2, 0.3, *expected], atol=1e-6)
