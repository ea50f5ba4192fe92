"""SpaceMice from raw reports: the unmodified pyspacemouse over a hidapi built here."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pyspacemouse import get_device_specs, get_supported_devices

from hiwm_core.config_files import default_task, find_config
from hiwm_core.control import Mode, Source
from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.errors import ConfigError, DeviceError
from hiwm_core.tasks import load_task
from hiwm_teleop.devices.base import (
    EventKind,
    JoySample,
    OperatorInput,
    OperatorView,
    TickView,
    WorldView,
)
from hiwm_teleop.devices.device_files import load_device_file, parse_device_file
from hiwm_teleop.devices.spacemouse import SpaceMouse, SpaceMouseFile
from hiwm_test_support import usb_bus
from hiwm_test_support.robots import spatial_arm
from hiwm_test_support.usb_bus import FULL, WIRELESS, SocketMouse

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.flaky(
        reruns=2, reason="a mouse silent for tenths of a second is lost; its reader may be starved"
    ),
]

PLANAR = load_embodiment("planar_bimanual")
TASK = load_task(default_task())
LEFT, RIGHT = 0, 1  # bits of the button report
# Linear and without dead zones, so that a raw value is a speed.
PLAIN = """
device: spacemouse
convention: {convention}
mice: [{mice}]
axes: {{x: {{dead_zone: 0}}, y: {{dead_zone: 0}}, z: {{dead_zone: 0}}, roll: {{dead_zone: 0}},
        pitch: {{dead_zone: 0}}, yaw: {{dead_zone: 0}}}}
motion: {{linear_m_s: 0.1, angular_rad_s: 1.0, expo: 0.0}}
buttons: {{LEFT: deadman, RIGHT: {{driving: gripper, watching: rollback}}}}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = usb_bus.build(tmp_path_factory.mktemp("hidapi"))
    usb_bus.load_here(folder)
    return folder


@pytest.fixture
def bus(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bus"
    folder.mkdir()
    for name, value in usb_bus.environment(library, folder).items():
        monkeypatch.setenv(name, value)
    return folder


class Bench:
    """A SpaceMouse device and its operator."""

    def __init__(self, file: str, robot: Embodiment = PLANAR) -> None:
        self.robot = robot
        self.device = SpaceMouse({"device_file": file})
        self.told = 0
        self.device.on_news = self._tell
        self.device.open()
        self.joy: dict[str, JoySample] = {}
        self.lines: list[str] = []

    def _tell(self) -> None:
        self.told += 1

    def read(self, mode: Mode = Mode.HUMAN) -> OperatorInput:
        tick = TickView(
            stamp_ns=1, epoch=1, step=1, episode_id="e", branch_id="b", applied_source=Source.NONE,
            trust=1.0, progress=0.0, success=0.0, images={},
            measured=np.full(self.robot.action_dim, 1.0),
        )
        world = WorldView(
            kind="imagination", robot="", can_restore=True, can_fork=True, auto_reset=True,
            embodiment=self.robot, task=TASK,
        )
        done = self.device.read(OperatorView(
            now_s=time.monotonic(), world=world, tick=tick, mode=mode, joy=self.joy
        ))
        self.lines.append(done.message)
        return done

    def until(self, wanted: Callable[[OperatorInput], bool]) -> OperatorInput:
        """Read until the expected input arrives, or fail."""
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline:
            done = self.read()
            if wanted(done):
                return done
            time.sleep(0.001)
        raise AssertionError(f"never came: last {done}, lines {list(filter(None, self.lines))}")

    def velocity(self, feed: Callable[[], None]) -> np.ndarray:
        """Return the displacement per second while reports are fed at 100 Hz."""
        feed()
        self.until(lambda done: done.deadman)
        moved = np.zeros(self.robot.action_dim)
        began = time.monotonic()
        for _ in range(10):
            feed()
            time.sleep(0.01)
            delta = self.read().delta
            assert delta is not None
            moved += delta
        return moved / (time.monotonic() - began)


def patient(name: str, folder: Path) -> str:
    """Return a copy of a device file with longer timeouts, for a busy machine."""
    text = find_config("devices", name).read_text().replace("after_s: 0.2", "after_s: 2.0")
    if "pedal: foot_pedal" in text:
        text = text.replace("pedal: foot_pedal", f"pedal: {patient('foot_pedal', folder)}")
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return str(file)


@pytest.fixture
def opened(bus: Path, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(
        mice: str = "{}", convention: str = "hid_z_up", robot: Embodiment = PLANAR,
        silent_after_s: float = 2.0,
    ) -> Bench:
        file = tmp_path / "device.yaml"
        file.write_text(
            PLAIN.format(mice=mice, convention=convention) + f"silent_after_s: {silent_after_s}\n"
        )
        benches.append(Bench(str(file), robot))
        return benches[-1]

    yield make
    for bench in benches:
        bench.device.close()


# Signs as pyspacemouse documents its conventions: HID is +x right, +y towards the user, +z down.
@pytest.mark.parametrize(
    ("convention", "signs"),
    [("hid", [1, 2, 3, 4, 5, 6]), ("hid_z_up", [1, -2, -3, 4, -5, -6]),
     ("ros", [-2, -1, -3, -5, -4, -6])],
)
@pytest.mark.parametrize("ids", [usb_bus.SPACE_NAVIGATOR, WIRELESS], ids=["two", "combined"])
def test_both_kinds_of_reports_move_the_axes_of_the_convention(
    bus: Path, opened: Callable[..., Bench], convention: str, signs: list[int],
    ids: tuple[int, int],
) -> None:
    mouse = SocketMouse(bus, ids=ids)
    bench = opened(convention=convention, robot=spatial_arm())
    mouse.press(LEFT)
    raw = [10, 20, 30, 40, 50, 60]

    def feed() -> None:
        if ids == WIRELESS:
            mouse.move_and_turn(*raw)
        else:
            mouse.move(*raw[:3])
            mouse.turn(*raw[3:])

    velocity = bench.velocity(feed)
    wanted = np.array([np.sign(s) * raw[abs(s) - 1] / FULL for s in signs])
    wanted[:3] *= 0.1
    # Time passes between the first report and the count: the shape is exact, the size nearly.
    np.testing.assert_allclose(velocity[:6], wanted, rtol=0.5)
    scaled = velocity[:6] / wanted
    np.testing.assert_allclose(scaled, scaled[0], rtol=0.1)
    assert velocity[6] == 0.0


def test_each_button_press_counts_once(bus: Path, opened: Callable[..., Bench]) -> None:
    mouse = SocketMouse(bus)
    bench = opened(robot=spatial_arm())
    for report in ([], [RIGHT], [], [RIGHT], []):
        mouse.press(*report)
    mouse.press(LEFT)
    events = []
    bench.until(lambda done: events.extend(done.events) or done.deadman)
    assert [event.kind for event in events] == [EventKind.ROLLBACK] * 2
    mouse.press(LEFT, RIGHT)
    assert "gripper closes" in bench.until(lambda done: bool(done.message)).message
    mouse.press()
    bench.until(lambda done: not done.deadman)


def test_a_burst_is_drained_and_the_newest_report_counts(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened()
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)
    for _ in range(150):
        mouse.move(x=FULL)
    mouse.move(x=0)
    mouse.press()
    bench.until(lambda done: not done.deadman)
    mouse.press(LEFT)
    done = bench.until(lambda done: done.deadman)
    assert not np.any(done.delta)


def test_an_unplugged_mouse_is_lost_and_not_at_rest(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened()
    mouse.press(LEFT)
    mouse.move(x=FULL)
    bench.until(lambda done: done.deadman and done.delta is not None and done.delta[0] > 0)
    mouse.unplug()
    lost = bench.until(lambda done: bool(done.problem))
    assert lost.silent and not lost.deadman and lost.delta is None
    assert [event.kind for event in lost.events] == [EventKind.PAUSE]
    assert "lost" in lost.events[0].note
    time.sleep(0.3)
    again = bench.read()
    assert again.silent and not again.events


def test_a_driver_that_reads_on_as_if_nothing_had_happened_is_found_out_by_the_node(
    bus: Path, opened: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_HIDAPI_QUIET", "1")
    mouse = SocketMouse(bus)
    bench = opened()
    mouse.press(LEFT)
    mouse.move(x=0)
    bench.until(lambda done: done.deadman)
    mouse.unplug()
    lost = bench.until(lambda done: bool(done.problem))
    assert "is gone" in lost.problem and lost.silent


def test_another_mouse_in_its_place_is_not_the_one_that_was_there(
    bus: Path, opened: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_HIDAPI_QUIET", "1")
    mouse = SocketMouse(bus)
    bench = opened()
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)
    mouse.unplug()
    mouse.plug()
    # Replaced faster than the loss is detected: the new mouse does not hold the deadman.
    bench.until(lambda done: not done.deadman)
    monkeypatch.delenv("FAKE_HIDAPI_QUIET")
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)


def test_after_a_loss_it_is_read_again_and_needs_a_new_press(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened()
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)
    mouse.unplug()
    bench.until(lambda done: bool(done.problem))
    mouse.plug()
    back = bench.until(lambda done: not done.problem)
    assert not back.deadman and not back.silent
    mouse.press(LEFT)
    mouse.move(x=FULL)
    bench.until(lambda done: done.deadman and done.delta is not None and done.delta[0] > 0)


def test_a_cap_held_aside_that_sends_nothing_is_frozen_and_one_at_rest_is_not(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened(silent_after_s=0.1)
    mouse.press(LEFT)
    mouse.move(x=FULL)
    frozen = bench.until(lambda done: bool(done.problem))
    assert "frozen" in frozen.problem and frozen.silent
    assert [event.kind for event in frozen.events] == [EventKind.PAUSE]
    mouse.move(x=FULL)
    held = bench.until(lambda done: not done.problem)
    assert not held.deadman
    mouse.move(x=0)
    mouse.press()
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)
    for _ in range(30):
        time.sleep(0.01)
        assert not bench.read().problem


def test_garbage_moves_no_faster_than_a_hand_and_is_forgotten(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened()
    chance = random.Random(4)
    for _ in range(300):
        mouse.send(bytes(chance.randrange(256) for _ in range(chance.randrange(1, 40))))
        mouse.send(bytes([chance.choice((1, 2, 3)), *(chance.randrange(256) for _ in range(6))]))
        done = bench.read()
        if done.delta is not None:
            # At most full speed over the longest gap between reads.
            assert np.abs(done.delta).max() <= 0.1 * 0.1 + 1e-9
    mouse.move(x=32767, y=-32768)
    mouse.turn()
    mouse.press()
    bench.until(lambda done: not done.deadman)
    mouse.press(LEFT)
    bench.until(lambda done: done.deadman)
    # A value that no cap reaches counts as rest.
    assert not np.any(bench.read().delta)


def test_a_device_gone_wild_does_not_keep_the_node_busy(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    mouse = SocketMouse(bus)
    bench = opened()
    before, began = bench.told, time.monotonic()
    for i in range(3000):
        mouse.move(x=i % 200)
    assert bench.told - before <= 600 * (time.monotonic() - began) + 5


def test_two_mice_by_path_and_serial_move_an_arm_each(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    other = SocketMouse(bus, "hidraw1", serial="other")
    right = SocketMouse(bus, "hidraw2", serial="R7")
    left = SocketMouse(bus, "hidraw3", ids=WIRELESS)
    link = bus / "left"
    link.symlink_to(left.node)
    bench = opened(f"{{path: {link}, arms: [left]}}, {{serial: R7, arms: [right]}}")
    left.press(LEFT)

    def feed() -> None:
        left.move_and_turn(100, 0, 0, 0, 0, 0)
        right.move(x=200)

    moved = bench.velocity(feed)
    assert moved[2] / moved[0] == pytest.approx(2.0, rel=0.3)
    assert not moved[[1, 3]].any()
    other.unplug()
    assert not bench.read().problem
    right.unplug()
    lost = bench.until(lambda done: bool(done.problem))
    assert lost.problem.startswith("R7 lost")


def test_a_receiver_is_opened_where_its_cap_is_and_not_its_keyboard(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    keyboard = SocketMouse(bus, "hidraw0", ids=WIRELESS, usage=(1, 6))
    cap = SocketMouse(bus, "hidraw1", ids=WIRELESS)
    bench = opened()
    cap.press(LEFT)
    bench.until(lambda done: done.deadman)
    assert str(cap.node) in bench.lines[0]
    keyboard.unplug()


def test_a_pedal_holds_control_and_the_cap_moves(
    bus: Path, tmp_path: Path
) -> None:
    mouse = SocketMouse(bus)
    bench = Bench(patient("spacemouse_pedal", tmp_path))
    try:
        assert bench.device.joy_topics == ("pedal/joy",)
        assert "start its driver" in bench.read().problem

        def pedal(down: int) -> None:
            bench.joy["pedal/joy"] = JoySample(
                axes=(), buttons=(down,), received_s=time.monotonic()
            )

        pedal(0)
        assert not bench.read().deadman
        for _ in range(5):
            mouse.move(x=FULL)
            time.sleep(0.01)
            pedal(1)
            done = bench.read()
        assert done.deadman and done.delta is not None and done.delta[0] > 0
        mouse.move()
        lost = bench.until(lambda done: "pedal/joy" in done.problem)
        assert lost.silent
    finally:
        bench.device.close()


def test_what_is_missing_is_refused_with_those_that_are_there(
    bus: Path, opened: Callable[..., Bench]
) -> None:
    with pytest.raises(DeviceError, match="no SpaceMouse is plugged in.*spacemouse.md"):
        opened()
    mouse = SocketMouse(bus, serial="S1")
    with pytest.raises(DeviceError, match=f"no SpaceMouse S2.*{mouse.node} .serial S1."):
        opened("{serial: S2}")
    with pytest.raises(DeviceError, match="are the same device"):
        opened(f"{{serial: S1}}, {{path: {mouse.node}}}")
    mouse.node.unlink()
    with pytest.raises(DeviceError, match="cannot be opened.*udev"):
        opened()


def test_a_button_no_model_has_is_refused_with_the_nearest(bus: Path) -> None:
    mouse = SocketMouse(bus)
    file = bus / "menu.yaml"
    file.write_text(PLAIN.format(mice="{}", convention="ros").replace("RIGHT:", "RIHGT:"))
    with pytest.raises(DeviceError, match="no SpaceMouse has a button 'RIHGT'.*mean 'RIGHT'"):
        Bench(str(file))
    mouse.unplug()


MODELS = {name: (vendor, product) for name, vendor, product in get_supported_devices()}


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"SpaceMouseUSB"}))
def test_every_model_holds_control_and_moves_with_the_file_that_comes_with_the_project(
    bus: Path, tmp_path: Path, model: str
) -> None:
    specification = get_device_specs()[model]
    name = next(n for n in ("LEFT", "MENU", "BTN_1") if n in specification.button_names)
    button = specification.button_specs[specification.button_names.index(name)]
    x = specification.mappings["x"]
    mouse = SocketMouse(bus, ids=MODELS[model])
    bench = Bench(patient("spacemouse", tmp_path))
    try:
        report = bytearray(8)
        report[0], report[button.byte] = button.channel, 1 << button.bit
        mouse.send(bytes(report))
        report = bytearray(specification.bytes_to_read)
        report[0], report[x.byte1:x.byte2 + 1] = x.channel, FULL.to_bytes(2, "little")
        mouse.send(bytes(report))
        bench.until(lambda done: done.delta is not None and done.delta[0] > 0)
        assert model in bench.lines[0]
    finally:
        bench.device.close()
        mouse.unplug()


def test_a_model_without_a_deadman_is_refused_but_for_a_pedal(bus: Path) -> None:
    mouse = SocketMouse(bus, ids=MODELS["SpaceMouseUSB"])
    with pytest.raises(DeviceError, match="no button of SpaceMouseUSB is.*use a pedal"):
        Bench("spacemouse")
    mouse.unplug()
    mouse.plug()
    Bench("spacemouse_pedal").device.close()
    mouse.unplug()


@pytest.mark.parametrize("name", ["spacemouse", "spacemouse_pair", "spacemouse_pedal"])
def test_the_files_that_come_with_the_project_are_read(name: str) -> None:
    assert load_device_file(name, "spacemouse", SpaceMouseFile).axes["x"].scale == 1.0


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("x: {dead_zone: 0}", "w: {dead_zone: 0}", ["axes", "unknown value 'w'", "roll"]),
        ("hid_z_up", "hid_zup", ["convention", "did you mean 'hid_z_up'"]),
        ("{}]", "{}, {}]", ["mice", "a path or a serial"]),
        ("[{}]", "[]", ["mice", "no mouse"]),
        ("LEFT: deadman", "LEFT: fork", ["buttons", "no button is the deadman"]),
        ("expo: 0.0", "expo: 2.0", ["motion.expo", "0 to 1"]),
        ("expo: 0.0", "lock: vertical", ["motion.lock", "none, translation, planar"]),
    ],
)
def test_a_wrong_file_is_refused_with_file_field_and_remedy(
    old: str, new: str, parts: list[str]
) -> None:
    text = PLAIN.format(mice="{}", convention="hid_z_up")
    assert old in text
    with pytest.raises(ConfigError) as refused:
        parse_device_file(text.replace(old, new), "m.yaml", "spacemouse", SpaceMouseFile)
    for part in ["m.yaml", *parts]:
        assert part in str(refused.value)
