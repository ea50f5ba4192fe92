"""The makers' libraries on a pseudo-terminal: what is read, what is refused, what returns."""


import contextlib

import pytest

from hiwm_core.errors import DeviceError
from hiwm_teleop.leader.dynamixel_bus import DynamixelBus
from hiwm_teleop.leader.feetech_bus import FeetechBus
from hiwm_teleop.leader.servo_bus import NoAnswerError
from hiwm_test_support.pty_servos import READ, SYNC_READ, DynamixelServos, FeetechServos

KINDS = {
    "dynamixel": (DynamixelServos, DynamixelBus, 1200), "feetech": (FeetechServos, FeetechBus, 777),
}
IDS = range(1, 8)


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def servos(kind, tmp_path):
    with kind[0](tmp_path / "arm", dict.fromkeys(IDS, kind[2])) as made:
        yield made


@pytest.fixture
def bus(kind, servos):
    made = kind[1](str(servos.port), 1_000_000, IDS)
    made.open()
    yield made
    made.close()


def test_positions_are_those_of_the_servos(bus, servos):
    assert bus.positions() == (2048,) * 7
    servos.move({1: 0, 3: 4095, 7: 17})
    assert bus.positions() == (0, 2048, 4095, 2048, 2048, 2048, 17)


def test_a_dynamixel_counts_turns_and_stuffed_bytes_are_taken_out(tmp_path):
    with DynamixelServos(tmp_path / "arm", {1: 1200, 2: 1200}) as servos:
        bus = DynamixelBus(str(servos.port), 57_600, (1, 2))
        bus.open()
        servos.move({1: -9000, 2: 0xFDFFFF})  # ff ff fd is a header
        assert bus.positions() == (-9000, 0xFDFFFF)
        assert all(0 <= clock < 32768 for clock in bus.clocks())
        bus.close()


def test_a_feetech_offset_has_its_sign_beside_the_number(tmp_path):
    with FeetechServos(tmp_path / "arm", {1: 777}) as servos:
        servos.write(1, servos.HOMING, 0x800 | 123, 2)
        bus = FeetechBus(str(servos.port), 1_000_000, (1,))
        bus.open()
        assert bus.identify(1).homing_offset == -123
        bus.close()


def test_a_servo_reports_its_identity_and_torque(bus, servos, kind):
    servos.write(4, servos.TORQUE, 1, 1)
    assert bus.identify(3).model == kind[2]
    assert not bus.identify(3).torque_on
    assert bus.identify(4).torque_on


def test_nothing_but_reading_is_ever_asked_of_a_leader(bus, servos):
    for servo in IDS:
        bus.identify(servo)
    bus.positions()
    bus.clocks()
    assert servos.instructions == {READ, SYNC_READ}


@pytest.mark.parametrize("silent", [1, 4, 7])
def test_one_silent_servo_is_named_and_no_position_given(bus, servos, silent):
    bus.positions()
    servos.silent = {silent}
    with pytest.raises(NoAnswerError, match=f"no answer from servo {silent} .*check its power"):
        bus.positions()
    servos.silent = set()
    bus.drain(0.01)
    assert bus.positions() == (2048,) * 7


def test_garbled_answers_are_no_positions(bus, servos):
    servos.garbled = True
    for _ in range(30):
        with pytest.raises(NoAnswerError):
            bus.positions()
        bus.drain(0.005)
    servos.garbled = False
    bus.drain(0.02)
    assert bus.positions() == (2048,) * 7


def test_bytes_without_end_end(bus, servos):
    """The libraries by themselves keep reading while bytes that are not an answer arrive."""
    servos.silent = set(IDS)
    servos.babbling = True
    for _ in range(3):
        with pytest.raises(NoAnswerError):
            bus.positions()


def test_a_late_answer_is_not_taken_for_the_next_ones(bus, servos):
    """Feetech's library leaves late bytes in the buffer and takes them for an answer."""
    servos.delay_s = 0.06
    with pytest.raises(NoAnswerError):
        bus.positions()
    servos.delay_s = 0.0
    servos.move({1: 1234})
    bus.drain(0.1)
    assert bus.positions()[0] == 1234


def test_a_late_answer_to_another_question_is_no_answer(bus, servos):
    identity = bus.identify(1)
    servos.delay_s = 0.045
    for _ in range(8):
        with contextlib.suppress(NoAnswerError):
            assert bus.positions() == (2048,) * 7
        with contextlib.suppress(NoAnswerError):
            assert bus._identity(1) == identity


def test_unplugged_and_plugged_in_again(bus, servos):
    servos.unplug()
    for _ in range(2):
        with pytest.raises(DeviceError, match="the port is gone.*plug the arm in again"):
            bus.positions()
    bus.close()
    with pytest.raises(DeviceError, match="no such port"):
        bus.open()
    servos.plug_in()
    bus.open()
    assert bus.positions() == (2048,) * 7


def test_a_port_has_only_one_reader(bus, servos, kind):
    second = kind[1](str(servos.port), 1_000_000, IDS)
    with pytest.raises(DeviceError, match="in use .*stop the other program"):
        second.open()
    assert bus.positions() == (2048,) * 7


def test_what_cannot_be_opened_is_refused_with_the_remedy(kind, servos, tmp_path):
    with pytest.raises(DeviceError, match="baud rate 12345 is unknown"):
        kind[1](str(servos.port), 12345, IDS).open()
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match=str(tmp_path / "file")):
        kind[1](str(tmp_path / "file"), 1_000_000, IDS).open()
