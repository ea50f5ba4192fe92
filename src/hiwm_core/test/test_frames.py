"""Arrays from messages, and observations from messages in any order."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.frames import (
    ObservationAssembler,
    RobotReader,
    image_array,
    observation_streams,
)
from hiwm_test_support.robots import other_proprioception, tool_robot

EMBODIMENT = load_embodiment("planar_bimanual")
CAMERA = EMBODIMENT.camera("top")
NAMES = [entry.joint for entry in EMBODIMENT.proprioception]
VALUES = {name: 0.01 * (i + 1) for i, name in enumerate(NAMES)}


def header(stamp: int) -> Any:
    return SimpleNamespace(stamp=SimpleNamespace(sec=stamp // 10**9, nanosec=stamp % 10**9))


def image(
    pixels: np.ndarray, encoding: str = "rgb8", padding: int = 0, stamp: int = 0
) -> Any:
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    rows = np.concatenate([rows, np.full((height, padding), 99, np.uint8)], axis=1)
    return SimpleNamespace(
        header=header(stamp), height=height, width=width, encoding=encoding, step=rows.shape[1],
        data=rows.tobytes(),
    )


def noise(seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 96, channels), np.uint8)


def joints(stamp: int = 0, order: Any = None, offset: float = 0.0) -> Any:
    names = list(order or NAMES)
    return SimpleNamespace(
        header=header(stamp), name=names, position=[VALUES[n] + offset for n in names],
        velocity=[], effort=[],
    )


def tick(
    stamp: int = 0, step: int = 0, epoch: int = 1, *, top: int | None = None,
    joint_states: int | None = None,
) -> Any:
    """A tick; `top` and `joint_states` are the stamps of its streams, its own if None."""
    return SimpleNamespace(
        header=header(stamp), streams=observation_streams(["top"]), stream_stamps=[
            header(stamp if own is None else own).stamp for own in (top, joint_states)
        ], epoch=epoch, step=step, episode_id="e", branch_id="b", state_id="s",
        trust=1.0, progress=float("nan"), success=0.5, applied_action=[0.0] * 4, applied_source=1,
        applied_device="d",
    )


@settings(deadline=None)
@given(st.integers(0, 7))
def test_padding_at_the_end_of_rows_is_left_out(padding: int) -> None:
    pixels = noise()
    assert np.array_equal(image_array(image(pixels, padding=padding), CAMERA), pixels)


def test_other_encodings_become_rgb() -> None:
    pixels = noise()
    assert np.array_equal(image_array(image(pixels[:, :, ::-1], "bgr8")), pixels)
    grey = noise(channels=1)
    assert np.array_equal(image_array(image(grey, "mono8")), np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize(("change", "text"), [
    ({"encoding": "16UC1"}, "16UC1"),
    ({"width": 64}, "64x96"),
    ({"step": 10}, "step 10"),
    ({"data": b"\0" * 10}, "10 bytes"),
])
def test_an_image_that_does_not_fit_names_camera_and_reason(
    change: dict[str, Any], text: str
) -> None:
    message = image(noise())
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ConfigError, match=text) as error:
        image_array(message, CAMERA)
    assert "camera top" in str(error.value)


@settings(deadline=None)
@given(st.permutations(NAMES), st.lists(st.text(), max_size=3))
def test_proprioception_goes_by_joint_name(order: list[str], others: list[str]) -> None:
    names = [name for name in others if name not in NAMES] + order
    positions = [VALUES.get(name, 7.0) for name in names]
    expected = np.array([VALUES[name] for name in NAMES], np.float32)
    message = SimpleNamespace(name=names, position=positions, velocity=[], effort=[])
    reading = RobotReader(EMBODIMENT).read(message)
    assert np.array_equal(reading.proprio, expected) and reading.proprio.dtype == np.float32
    assert reading.measured.tolist() == [VALUES[name] for name in EMBODIMENT.action_joints]


def test_a_missing_joint_is_named() -> None:
    with pytest.raises(ConfigError, match="left_y_joint"):
        RobotReader(EMBODIMENT).read(joints(order=[n for n in NAMES if n != "left_y_joint"]))


def test_a_joint_state_without_positions_or_not_finite_is_refused() -> None:
    reader = RobotReader(EMBODIMENT)
    empty = SimpleNamespace(name=NAMES, position=[], velocity=[], effort=[])
    with pytest.raises(ConfigError, match="no position"):
        reader.read(empty)
    with pytest.raises(ConfigError, match="not finite"):
        reader.read(joints(offset=float("nan")))
    moving = RobotReader(other_proprioception(EMBODIMENT))
    with pytest.raises(ConfigError, match="no velocity"):
        moving.read(joints())


@pytest.mark.parametrize("order", list(itertools.permutations(["image", "joints", "tick"])))
def test_whichever_part_comes_last_completes_the_observation(order: tuple[str, ...]) -> None:
    assembler = ObservationAssembler(EMBODIMENT)
    pixels = noise(3)
    parts = {
        "image": lambda: assembler.add_image("top", image(pixels, stamp=5)),
        "joints": lambda: assembler.add_joint_state(joints(5)),
        "tick": lambda: assembler.add_tick(tick(5, step=8)),
    }
    results = [parts[name]() for name in order]
    assert results[:2] == [None, None]
    observation = results[2]
    assert observation is not None
    assert (observation.stamp_ns, observation.step, observation.epoch) == (5, 8, 1)
    assert np.array_equal(observation.images["top"], pixels)
    assert observation.proprio.dtype == np.float32
    assert assembler.dropped == 0


def test_parts_of_different_stamps_are_never_mixed() -> None:
    assembler = ObservationAssembler(EMBODIMENT)
    assert assembler.add_image("top", image(noise(), stamp=1)) is None
    assert assembler.add_joint_state(joints(2)) is None
    assert assembler.add_tick(tick(3)) is None


def test_an_incomplete_observation_overtaken_by_a_later_one_is_dropped_and_counted() -> None:
    assembler = ObservationAssembler(EMBODIMENT)
    assembler.add_joint_state(joints(1))
    assembler.add_tick(tick(1))
    assembler.add_image("top", image(noise(), stamp=2))
    assembler.add_joint_state(joints(2))
    assert assembler.add_tick(tick(2, step=1)) is not None
    assert assembler.dropped == 1
    assert assembler.add_image("top", image(noise(), stamp=1)) is None


def test_streams_with_stamps_of_their_own_are_joined_by_the_tick() -> None:
    assembler = ObservationAssembler(EMBODIMENT)
    old, new = noise(1), noise(2)
    assembler.add_image("top", image(old, stamp=10))
    assembler.add_joint_state(joints(9))
    assembler.add_image("top", image(new, stamp=20))
    assembler.add_joint_state(joints(19, offset=0.5))
    assembler.add_joint_state(joints(21))
    seen = assembler.add_tick(tick(22, top=20, joint_states=19))
    assert seen is not None and seen.stamp_ns == 22
    assert np.array_equal(seen.images["top"], new)
    assert seen.proprio[0] == np.float32(VALUES[NAMES[0]] + 0.5)


def test_a_message_of_a_slow_stream_belongs_to_several_ticks() -> None:
    assembler = ObservationAssembler(EMBODIMENT)
    assembler.add_image("top", image(noise(), stamp=10))
    for step in range(3):
        assembler.add_joint_state(joints(10 + step))
        tick_of_step = tick(10 + step, step=step, top=10)
        assert assembler.add_tick(tick_of_step) is not None
    assembler.add_image("top", image(noise(1), stamp=13))
    assembler.add_joint_state(joints(13))
    assert assembler.add_tick(tick(13, step=3)) is not None
    assert assembler.add_tick(tick(14, step=4, top=10, joint_states=13)) is None


def test_a_repeated_tick_is_returned_once() -> None:
    assembler = ObservationAssembler(EMBODIMENT)
    seen = []
    for _ in range(2):
        seen += [
            assembler.add_image("top", image(noise(), stamp=1)),
            assembler.add_joint_state(joints(1)), assembler.add_tick(tick(1)),
        ]
    assert sum(part is not None for part in seen) == 1


def test_incomplete_observations_do_not_accumulate() -> None:
    assembler = ObservationAssembler(EMBODIMENT, capacity=4)
    for stamp in range(20):
        assembler.add_tick(tick(stamp, step=stamp))
    assert assembler.dropped == 16


def test_a_clock_that_restarts_does_not_stop_the_assembler() -> None:
    assembler = ObservationAssembler(EMBODIMENT)
    for stamp in (10**12, 5):
        assembler.add_image("top", image(noise(), stamp=stamp))
        assembler.add_joint_state(joints(stamp))
        assert assembler.add_tick(tick(stamp)) is not None


def test_an_observation_keeps_its_pixels_when_the_message_is_reused() -> None:
    assembler = ObservationAssembler(EMBODIMENT)
    pixels = noise()
    message = image(pixels)
    message.data = bytearray(message.data)
    assembler.add_image("top", message)
    message.data[:] = bytes(len(message.data))
    assembler.add_joint_state(joints())
    observation = assembler.add_tick(tick())
    assert observation is not None
    assert np.array_equal(observation.images["top"], pixels)


@pytest.mark.parametrize("order", list(itertools.permutations(["pose", "joints", "tick"])))
def test_a_robot_measured_by_a_pose_waits_for_it(order: tuple[str, ...]) -> None:
    robot = tool_robot()
    assembler = ObservationAssembler(robot)
    message = tick(5)
    streams = {"joint_states": 4, "poses/tool": 3}
    message.streams = list(streams)
    message.stream_stamps = [header(stamp).stamp for stamp in streams.values()]
    pose = SimpleNamespace(header=header(3), pose=SimpleNamespace(
        position=SimpleNamespace(x=0.1, y=0.2, z=0.3),
        orientation=SimpleNamespace(x=0.0, y=0.0, z=1.0, w=1.0),  # a quarter turn, not normalised
    ))
    finger = SimpleNamespace(
        header=header(4), name=["finger"], position=[0.25], velocity=[], effort=[]
    )
    parts = {
        "pose": lambda: assembler.add_pose("tool", pose),
        "joints": lambda: assembler.add_joint_state(finger),
        "tick": lambda: assembler.add_tick(message),
    }
    results = [parts[name]() for name in order]
    assert results[:2] == [None, None] and results[2] is not None
    np.testing.assert_allclose(results[2].measured, [0.1, 0.2, 0.3, np.pi / 2, 0.25])
    np.testing.assert_allclose(results[2].proprio, [np.pi / 2, 0.25], rtol=1e-6)
