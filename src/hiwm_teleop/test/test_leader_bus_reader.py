"""The reading thread: what counts as lost, what as back, and what is always rejected."""

import time

import pytest

from hiwm_core.errors import DeviceError
from hiwm_teleop.leader.bus_reader import BusReader, Reading, check_speed
from hiwm_teleop.leader.dynamixel_bus import DynamixelBus
from hiwm_teleop.leader.feetech_bus import FeetechBus
from hiwm_teleop.leader.servo_bus import NoAnswerError
from hiwm_test_support.pty_servos import DynamixelServos, FeetechServos

KINDS = {
    "dynamixel": (DynamixelServos, DynamixelBus, 1200), "feetech": (FeetechServos, FeetechBus, 777),
}
IDS = range(1, 7)
FAULTS = {
    "one servo silent": {"silent": {5}},
    "garbled": {"garbled": True},
    "nothing but noise": {"silent": set(IDS), "babbling": True},
    "a little late": {"delay_s": 0.06},
    "late": {"delay_s": 0.1},
    "very late": {"delay_s": 0.3},
}


class Watched:
    """A reader with its own servos."""

    def __init__(self, kind, port):
        servos, bus, model = KINDS[kind]
        self.servos = servos(port, dict.fromkeys(IDS, model))
        self.model, self.news = model, 0
        self.reader = BusReader(
            bus(str(port), 1_000_000, IDS), self.check, period_s=0.01, lost_after_s=0.2,
            on_news=self.hear,
        )
        self.reader.start()

    def check(self, bus):
        if bus.identify(1).model != self.model:
            raise DeviceError("another arm")

    def hear(self):
        self.news += 1

    @property
    def loss(self):
        return self.reader.loss(time.monotonic())

    def until(self, predicate):
        end = time.monotonic() + 30.0
        while not predicate():
            assert time.monotonic() < end, self.loss
            time.sleep(0.005)


@pytest.fixture(params=KINDS)
def watched(request, tmp_path):
    made = Watched(request.param, tmp_path / "arm")
    yield made
    made.reader.stop()
    made.servos.end()


def test_movement_is_detected_and_notified(watched):
    assert watched.reader.latest.counts == (2048,) * 6
    told = watched.news
    watched.servos.move({2: 2100, 6: 2000})
    watched.until(lambda: watched.reader.latest.counts == (2048, 2100, 2048, 2048, 2048, 2000))
    watched.until(lambda: watched.news > told)
    assert watched.loss == ""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_loss_for_as_long_as_it_lasts_and_its_end_a_return(watched, fault):
    told = watched.news
    for field, value in FAULTS[fault].items():
        setattr(watched.servos, field, value)
    watched.until(lambda: watched.loss)
    watched.until(lambda: watched.news > told)
    number = watched.reader.latest.number
    time.sleep(0.5)
    assert watched.loss
    assert watched.reader.latest.number == number
    watched.servos.silent, watched.servos.delay_s = set(), 0.0
    watched.servos.garbled = watched.servos.babbling = False
    watched.servos.move({1: 2222})
    watched.until(lambda: not watched.loss)
    watched.until(lambda: watched.reader.latest.counts[0] == 2222)


def test_every_reading_is_what_the_servos_sent(watched):
    """Through all faults; zeros in particular are rejected."""
    seen = set()

    def look():
        seen.add(watched.reader.latest.counts)
        return watched.loss

    for _ in range(2):
        watched.servos.garbled = True
        watched.until(look)
        watched.servos.garbled = False
        watched.until(lambda: not look())
        watched.servos.unplug()
        watched.until(look)
        watched.servos.plug_in()
        watched.until(lambda: not look())
    assert seen == {(2048,) * 6}


def test_frozen_dynamixels_are_distinguished_from_resting_ones(tmp_path):
    watched = Watched("dynamixel", tmp_path / "arm")
    time.sleep(0.5)
    assert watched.loss == ""  # at rest, and answering
    watched.servos.frozen = True
    watched.until(lambda: "is frozen" in watched.loss)
    time.sleep(0.6)
    assert watched.loss  # opened again, and still rejected
    watched.servos.frozen = False
    watched.until(lambda: not watched.loss)
    watched.reader.stop()
    watched.servos.end()


def test_unplugged_is_lost_and_plugged_in_it_is_back(watched):
    watched.servos.unplug()
    watched.until(lambda: "the port is gone" in watched.loss)
    watched.until(lambda: "no such port" in watched.loss)
    watched.servos.plug_in()
    watched.until(lambda: not watched.loss)


def test_another_arm_at_the_same_port_is_not_believed(watched):
    watched.servos.unplug()
    watched.until(lambda: watched.loss)
    watched.model = 12
    watched.servos.plug_in()
    watched.until(lambda: "another arm" in watched.loss)


def test_a_servo_cannot_jump():
    """A garbled answer with a matching checksum may contain anything."""
    before = Reading(counts=(2048, 4090), at_s=1.0, number=1)
    check_speed(before, (2200, 10), 1.01, (1, 2))  # a quick hand, over the end of a turn
    with pytest.raises(NoAnswerError, match="servo 2 reports a jump of 1000 counts"):
        check_speed(before, (2048, 3090), 1.01, (1, 2))
    check_speed(before, (2048, 3090), 1.1, (1, 2))  # enough time


def test_a_bus_that_cannot_start_is_refused_at_once(tmp_path):
    bus = FeetechBus(str(tmp_path / "none"), 1_000_000, IDS)
    reader = BusReader(
        bus, lambda bus: None, period_s=0.01, lost_after_s=0.2, on_news=lambda: None
    )
    with pytest.raises(DeviceError, match="no such port"):
        reader.start()
    reader.stop()
