"""Servos on a pseudo-terminal that speak the makers' protocols, and can be broken in many ways.

For tests and benchmarks of leader arms, below the makers' own libraries. Written from the protocol
documents and not from those libraries, so that errors cannot cancel out. The port is a link, as
made by udev, so that an arm can be unplugged and plugged in again under the same name.
"""

import contextlib
import os
import random
import select
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

READ, SYNC_READ = 0x02, 0x82


class PtyServos:
    """A bus of servos, answered by a thread.

    Args:
        port: path of the link to make.
        models: model number by servo id.
    """

    MODEL = POSITION = TORQUE = HOMING = 0  # addresses
    WIDTH = 0  # bytes of a position

    def __init__(self, port: Path, models: dict[int, int]) -> None:
        self.port = port
        self.memory = {servo: bytearray(256) for servo in models}
        self.silent: set[int] = set()
        self.delay_s = 0.0  # before each answer
        self.garbled = False  # answers have a byte changed
        self.frozen = False  # positions and clocks stand still
        self.babbling = False  # bytes are sent endlessly
        self.instructions: set[int] = set()  # every kind ever received
        self.answered = 0
        self._random = random.Random(7)
        for servo, model in models.items():
            self.write(servo, self.MODEL, model, 2)
            self.place(servo, 2048)
        self._master = self._slave = -1
        self.plug_in()
        self._ending = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def write(self, servo: int, address: int, value: int, length: int) -> None:
        """Set a register, low byte first."""
        data = (value & ((1 << 8 * length) - 1)).to_bytes(length, "little")
        self.memory[servo][address : address + length] = data

    def place(self, servo: int, counts: int) -> None:
        """Turn a servo, unless it is frozen."""
        if not self.frozen:
            self.write(servo, self.POSITION, counts, self.WIDTH)

    def move(self, counts: dict[int, int]) -> None:
        """Turn several servos."""
        for servo, value in counts.items():
            self.place(servo, value)

    def plug_in(self) -> None:
        """Make the port appear."""
        master, slave = os.openpty()
        tty.setraw(slave)
        self.port.symlink_to(os.ttyname(slave))
        self._master, self._slave = master, slave

    def unplug(self) -> None:
        """Remove the port, also for a process that has it open."""
        master, slave, self._master, self._slave = self._master, self._slave, -1, -1
        self.port.unlink()
        os.close(slave)
        os.close(master)

    def end(self) -> None:
        """Stop the thread and remove the port."""
        self._ending = True
        self._thread.join(5.0)
        if self._master >= 0:
            self.unplug()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.end()

    def _serve(self) -> None:
        pending = b""
        while not self._ending:
            master = self._master
            if master < 0:
                pending = b""
                time.sleep(0.005)
                continue
            with contextlib.suppress(OSError, ValueError):
                if self.babbling:
                    os.write(master, self._random.randbytes(64))
                if select.select([master], [], [], 0.002 if self.babbling else 0.02)[0]:
                    pending += os.read(master, 4096)
                packets, pending = self._split(pending)
                for servo, instruction, given in packets:
                    self.instructions.add(instruction)
                    for answer in self._answers(servo, instruction, given):
                        if self.delay_s:
                            time.sleep(self.delay_s)
                        os.write(master, self._spoilt(answer) if self.garbled else answer)
                        self.answered += 1

    def _spoilt(self, answer: bytes) -> bytes:
        place = self._random.randrange(2, len(answer))
        wrong = answer[place] ^ self._random.randrange(1, 256)
        return answer[:place] + bytes([wrong]) + answer[place + 1 :]

    def _answers(self, servo: int, instruction: int, given: bytes) -> Iterator[bytes]:
        address, length, servos = self._question(servo, instruction, given)
        for asked in servos:
            if asked not in self.memory or asked in self.silent:
                return
            self._tick(asked)
            yield self._status(asked, bytes(self.memory[asked][address : address + length]))

    def _tick(self, servo: int) -> None:
        """Advance the registers that run by themselves."""

    def _split(self, data: bytes) -> tuple[list[tuple[int, int, bytes]], bytes]:
        raise NotImplementedError

    def _question(self, servo: int, instruction: int, given: bytes) -> tuple[int, int, list[int]]:
        raise NotImplementedError

    def _status(self, servo: int, data: bytes) -> bytes:
        raise NotImplementedError


class DynamixelServos(PtyServos):
    """Protocol 2.0: FF FF FD 00 id length(2) instruction parameters crc(2), stuffed."""

    MODEL, POSITION, TORQUE, HOMING, CLOCK, WIDTH = 0, 132, 64, 20, 120, 4

    def _tick(self, servo: int) -> None:
        if not self.frozen:
            self.write(servo, self.CLOCK, int(time.monotonic() * 1e3) % 32768, 2)

    def _split(self, data: bytes) -> tuple[list[tuple[int, int, bytes]], bytes]:
        packets = []
        while (start := data.find(b"\xff\xff\xfd\x00")) >= 0 and len(data) >= start + 7:
            end = start + 7 + int.from_bytes(data[start + 5 : start + 7], "little")
            if len(data) < end:
                break
            packet, data = data[start:end], data[end:]
            assert crc16(packet[:-2]) == int.from_bytes(packet[-2:], "little")
            packets.append((packet[4], packet[7], packet[8:-2]))
        return packets, data

    def _question(self, servo: int, instruction: int, given: bytes) -> tuple[int, int, list[int]]:
        if instruction not in (READ, SYNC_READ):
            return 0, 0, []
        address, length = (int.from_bytes(given[i : i + 2], "little") for i in (0, 2))
        return address, length, [servo] if instruction == READ else list(given[4:])

    def _status(self, servo: int, data: bytes) -> bytes:
        body = b"\x55\x00" + data
        body = body.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
        packet = b"\xff\xff\xfd\x00" + bytes([servo])
        packet += (len(body) + 2).to_bytes(2, "little") + body
        return packet + crc16(packet).to_bytes(2, "little")


class FeetechServos(PtyServos):
    """FF FF id length instruction parameters checksum; a checksum is one byte."""

    MODEL, POSITION, TORQUE, HOMING, WIDTH = 3, 56, 40, 31, 2

    def _split(self, data: bytes) -> tuple[list[tuple[int, int, bytes]], bytes]:
        packets = []
        while (start := data.find(b"\xff\xff")) >= 0 and len(data) >= start + 4:
            end = start + 4 + data[start + 3]
            if len(data) < end:
                break
            packet, data = data[start:end], data[end:]
            assert checksum(packet[2:-1]) == packet[-1]
            packets.append((packet[2], packet[4], packet[5:-1]))
        return packets, data

    def _question(self, servo: int, instruction: int, given: bytes) -> tuple[int, int, list[int]]:
        if instruction not in (READ, SYNC_READ):
            return 0, 0, []
        return given[0], given[1], [servo] if instruction == READ else list(given[2:])

    def _status(self, servo: int, data: bytes) -> bytes:
        body = bytes([servo, len(data) + 2, 0]) + data
        return b"\xff\xff" + body + bytes([checksum(body)])


def crc16(data: bytes) -> int:
    """Return the CRC of protocol 2.0: polynomial 0x8005, nothing reflected, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x8005 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


def checksum(data: bytes) -> int:
    """Return the checksum of the Feetech protocol."""
    return ~sum(data) & 0xFF
