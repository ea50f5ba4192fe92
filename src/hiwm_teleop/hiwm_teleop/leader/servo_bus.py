"""One interface for both servo buses, over the makers' unmodified libraries.

A leader is only read: nothing here writes a register, so torque can never be switched on.
`dynamixel_bus` and `feetech_bus` define the differences; this file has the common part. It also
works around the libraries' gaps: a read that does not return while bytes keep arriving, a write
that waits forever, late answers to an earlier question, and zeros returned for servos that did not
answer. Tested by ``test_leader_servo_bus.py``.
"""

import contextlib
import termios
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import serial

from hiwm_core.errors import DeviceError

# The libraries poll a non-blocking port. Blocking this long in each poll saves CPU time and still
# notices a timeout in time.
_POLL_S = 0.002
# A port that accepts no bytes for this long is broken.
_WRITE_S = 0.1
# Attempts to identify a servo. After a failed one the bus is drained until quiet for this long.
_MAX_TRIES = 16
_QUIET_S = 0.02
# More bytes than this cannot answer one question: 16 servos send 240. The limit is a count, not a
# time, since a busy machine is not the servos' fault.
_MAX_BYTES = 1024


class NoAnswerError(DeviceError):
    """A servo did not answer, or the answer was garbled; the next question may succeed."""


@dataclass(frozen=True, kw_only=True)
class Register:
    """A register in a servo's control table."""

    address: int
    length: int  # bytes
    # Signed encoding: two's complement, or sign and magnitude with the sign in `sign_bit`.
    twos_complement: bool = False
    sign_bit: int | None = None

    def value(self, block: Sequence[int], start: int) -> int:
        """Return the register's value in a block of the table that starts at address `start`."""
        data = bytes(block[self.address - start :][: self.length])
        number = int.from_bytes(data, "little", signed=self.twos_complement)
        if self.sign_bit is not None and number >> self.sign_bit & 1:
            return -(number & ((1 << self.sign_bit) - 1))
        return number


@dataclass(frozen=True, kw_only=True)
class ControlTable:
    """The registers that are read from a kind of servo."""

    model: Register
    homing_offset: Register  # a shift of all positions, stored in the servo
    torque: Register
    position: Register
    clock: Register | None  # free-running; None if the servo has none

    @property
    def reading(self) -> tuple[int, int]:
        """Address and length of the block in each reading."""
        first = self.clock or self.position
        return first.address, self.position.address + self.position.length - first.address

    @property
    def identity(self) -> tuple[int, int]:
        """Address and length of the block that identifies a servo."""
        return 0, self.torque.address + self.torque.length


@dataclass(frozen=True, kw_only=True)
class ServoIdentity:
    """A servo's model, offset and torque state."""

    model: int
    homing_offset: int  # [counts]
    torque_on: bool


class BoundedPort:
    """Mixin for a library's PortHandler: bounds every question, and discards older answers."""

    ser: Any
    received = 0  # bytes since the question

    def setupPort(self, baudrate: int) -> bool:  # noqa: N802 - the libraries' name
        """Open the port for exclusive use by this process."""
        done: bool = super().setupPort(baudrate)  # type: ignore[misc]
        self.ser.timeout = _POLL_S
        self.ser.write_timeout = _WRITE_S
        self.ser.exclusive = True
        # Otherwise FTDI adapters delay answers by 16 ms; others do not support the request.
        with contextlib.suppress(ValueError, OSError):
            self.ser.set_low_latency_mode(True)
        return done

    def clearPort(self) -> None:  # noqa: N802
        """Discard input from before the question. Feetech's version flushes output instead."""
        self.ser.reset_input_buffer()
        self.received = 0

    def readPort(self, length: int) -> bytes:  # noqa: N802
        """Return up to `length` bytes; raises NoAnswerError if bytes keep arriving."""
        data: bytes = super().readPort(length)  # type: ignore[misc]
        self.received += len(data)
        if self.received > _MAX_BYTES:
            raise NoAnswerError("bytes keep arriving that are not an answer")
        return data


class ServoBus(ABC):
    """The servos of one leader arm on one serial port.

    Args:
        port: device path.
        baudrate: as set in the servos.
        servo_ids: the order of the positions.
    """

    TABLE: ControlTable
    _SUCCESS: int
    _TIMEOUT: int

    def __init__(self, port: str, baudrate: int, servo_ids: Sequence[int]) -> None:
        self.port = port
        self.servo_ids = tuple(servo_ids)
        self._baudrate = baudrate
        self._handler: Any = None
        self._packets: Any = None
        self._group: Any = None
        self._clocks: tuple[int, ...] = ()

    @abstractmethod
    def _library(self) -> tuple[Any, Any, Any]:
        """Return a new port handler, packet handler, and the library's GroupSyncRead."""

    def open(self) -> None:
        """Open the port.

        Raises:
            DeviceError: missing, no permission, or in use by another process.
        """
        self._handler, self._packets, group = self._library()
        self._handler.baudrate = self._baudrate
        try:
            with self._port_errors():
                known = self._handler.openPort()
        except DeviceError:
            self.close()
            raise
        if not known:
            raise DeviceError(
                f"baud rate {self._baudrate} is unknown to the library", where=self.port,
                remedy="give the baud rate that is set in the servos",
            )
        self._group = group(self._handler, self._packets, *self.TABLE.reading)
        for servo in self.servo_ids:
            self._group.addParam(servo)

    def close(self) -> None:
        """Close the port; may be called twice, and without `open`."""
        handler, self._handler = self._handler, None
        if handler is not None and handler.ser is not None:
            with contextlib.suppress(OSError, termios.error):
                handler.closePort()

    def identify(self, servo: int) -> ServoIdentity:
        """Return a servo's identity, with retries; raises as `positions`."""
        for _ in range(_MAX_TRIES - 1):
            with contextlib.suppress(NoAnswerError):
                return self._identity(servo)
            self.drain(_QUIET_S)
        return self._identity(servo)

    def positions(self) -> tuple[int, ...]:
        """Return the positions of all servos, counts, with one question.

        Raises:
            NoAnswerError: an answer was missing, garbled or short.
            DeviceError: the port is gone.
        """
        start, length = self.TABLE.reading
        with self._port_errors():
            result = self._group.txRxPacket()
        blocks = []
        for servo in self.servo_ids:
            # On a failure the library leaves this servo's data empty and the next ones' stale.
            block = self._group.data_dict[servo]
            if len(block) < length:
                raise self._no_answer(servo, result)
            blocks.append(block)
        if result != self._SUCCESS:
            raise self._no_answer(None, result)
        clock = self.TABLE.clock
        self._clocks = tuple(clock.value(block, start) for block in blocks) if clock else ()
        return tuple(self.TABLE.position.value(block, start) for block in blocks)

    def clocks(self) -> tuple[int, ...]:
        """Return the servos' clocks at the last positions; empty if they have none."""
        return self._clocks

    def drain(self, quiet_s: float) -> None:
        """Discard input until none has arrived for `quiet_s`, for at most three times as long.

        Raises:
            DeviceError: the port is gone.
        """
        with self._port_errors():
            end = time.monotonic() + 3.0 * quiet_s
            quiet = time.monotonic() + quiet_s
            while time.monotonic() < min(quiet, end):
                if self._handler.ser.read(256):
                    quiet = time.monotonic() + quiet_s

    def _identity(self, servo: int) -> ServoIdentity:
        start, length = self.TABLE.identity
        with self._port_errors():
            block, result, _ = self._packets.readTxRx(self._handler, servo, start, length)
        if result != self._SUCCESS or len(block) < length:
            raise self._no_answer(servo, result)
        return ServoIdentity(
            model=self.TABLE.model.value(block, start),
            homing_offset=self.TABLE.homing_offset.value(block, start),
            torque_on=bool(self.TABLE.torque.value(block, start)),
        )

    def _no_answer(self, servo: int | None, result: int) -> NoAnswerError:
        whose = "the servos" if servo is None else f"servo {servo}"
        what = "no answer" if result == self._TIMEOUT else "no valid answer"
        return NoAnswerError(
            f"{what} from {whose}", where=f"{self.port}, {self._baudrate} baud",
            remedy="check its power, its cable, its id and the baud rate",
        )

    @contextlib.contextmanager
    def _port_errors(self) -> Iterator[None]:
        """Convert port errors to DeviceError."""
        # After an interrupted question the library still waits for the answer.
        self._handler.is_using = False
        try:
            yield
        except NoAnswerError as error:
            raise NoAnswerError(error.what, where=self.port, remedy="check the wiring") from None
        except (OSError, termios.error) as error:
            raise self._lost(error) from None

    def _lost(self, error: Exception) -> DeviceError:
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        number = getattr(error, "errno", None) or number
        text = str(error)
        if number == 13:
            what, remedy = "no permission for the port", (
                "install the udev rule of docs/devices/leader_arm.md, or join group dialout"
            )
        elif number == 2:
            what, remedy = "no such port", "plug the arm in, or correct port in its device file"
        elif number in (11, 16) or "exclusively lock" in text:
            what, remedy = "the port is in use", "stop the other program that uses this arm"
        elif isinstance(error, serial.SerialTimeoutException):
            what, remedy = "the port accepts no bytes", "unplug the adapter and plug it in again"
        else:
            what, remedy = f"the port is gone ({text})", "plug the arm in again"
        return DeviceError(what, where=self.port, remedy=remedy)
