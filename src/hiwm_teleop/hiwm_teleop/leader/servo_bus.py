"""One seam for both servo buses, over the makers' own libraries as they are.

A leader is only ever read: nothing here writes a register, so torque can never be switched on.
`dynamixel_bus` and `feetech_bus` name what differs; this file does what is alike, and mends from
outside what the libraries leave open: a read that cannot end while bytes keep coming, a write that
waits for ever, answers of an earlier question still in the buffer, and zeros returned for servos
that did not answer. Held by ``test_leader_servo_bus.py``.
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

# The libraries poll a port that does not wait; waiting this long in each poll spares a processor
# and still notices a timeout in time.
_POLL_S = 0.002
# A port that takes no bytes for so long is broken.
_WRITE_S = 0.1
# Who a servo is, is asked this often, and a bus that failed let talk until it is quiet for so long.
_MOST_TRIES = 8
_QUIET_S = 0.02
# More bytes than this are no answer to one question: 16 servos say 240. Counted, and not timed,
# since a machine that is busy elsewhere is no fault of the servos.
_MOST_BYTES = 1024


class NoAnswerError(DeviceError):
    """A servo did not answer, or not intelligibly; the next question may fare better."""


@dataclass(frozen=True, kw_only=True)
class Register:
    """A place in a servo's control table."""

    address: int
    length: int  # bytes
    # What the highest bit means: two's complement, or a sign beside the magnitude in that bit.
    twos_complement: bool = False
    sign_bit: int | None = None

    def value(self, data: Sequence[int]) -> int:
        """Return the number in the bytes read, low byte first."""
        number = int.from_bytes(bytes(data), "little", signed=self.twos_complement)
        if self.sign_bit is not None and number >> self.sign_bit & 1:
            return -(number & ((1 << self.sign_bit) - 1))
        return number


@dataclass(frozen=True, kw_only=True)
class ControlTable:
    """The registers of a kind of servo that are read."""

    model: Register
    homing_offset: Register  # a shift of all positions, kept in the servo
    torque: Register
    position: Register
    clock: Register | None  # runs by itself; None where the servo has none


@dataclass(frozen=True, kw_only=True)
class ServoIdentity:
    """What a servo says of itself."""

    model: int
    homing_offset: int  # [counts]
    torque_on: bool


class BoundedPort:
    """Put before a library's PortHandler: no question lasts, and none hears an older answer."""

    ser: Any
    heard = 0  # bytes since the question

    def setupPort(self, baudrate: int) -> bool:  # noqa: N802 - the libraries' name
        """Open the port, for one process alone."""
        done: bool = super().setupPort(baudrate)  # type: ignore[misc]
        self.ser.timeout = _POLL_S
        self.ser.write_timeout = _WRITE_S
        self.ser.exclusive = True
        # FTDI adapters hold answers back for 16 ms otherwise; others do not know the request.
        with contextlib.suppress(ValueError, OSError):
            self.ser.set_low_latency_mode(True)
        return done

    def clearPort(self) -> None:  # noqa: N802
        """Forget what came before the question. Feetech's own waits for what goes out instead."""
        self.ser.reset_input_buffer()
        self.heard = 0

    def readPort(self, length: int) -> bytes:  # noqa: N802
        """Return up to so many bytes; raises NoAnswerError when there is no end to them."""
        data: bytes = super().readPort(length)  # type: ignore[misc]
        self.heard += len(data)
        if self.heard > _MOST_BYTES:
            raise NoAnswerError("bytes come without end and are no answer")
        return data


class ServoBus(ABC):
    """The servos of one leader arm on one serial port.

    Args:
        port: device path.
        baudrate: as the servos are set.
        servo_ids: in the order positions are wanted.
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
        self._groups: dict[Register, Any] = {}

    @abstractmethod
    def _library(self) -> tuple[Any, Any, Any]:
        """Return a new port handler, packet handler, and the library's GroupSyncRead."""

    def open(self) -> None:
        """Open the port.

        Raises:
            DeviceError: missing, forbidden, or taken by another process.
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
                remedy="give the rate the servos are set to",
            )
        self._groups = {}
        for register in (self.TABLE.position, self.TABLE.clock):
            if register is not None:
                self._groups[register] = group(
                    self._handler, self._packets, register.address, register.length
                )
                for servo in self.servo_ids:
                    self._groups[register].addParam(servo)

    def close(self) -> None:
        """Close the port; may be called twice, and without `open`."""
        handler, self._handler = self._handler, None
        if handler is not None and handler.ser is not None:
            with contextlib.suppress(OSError, termios.error):
                handler.closePort()

    def identify(self, servo: int) -> ServoIdentity:
        """Return what a servo says of itself, asked again where need be; raises as `positions`."""
        table = self.TABLE
        return ServoIdentity(
            model=self._register(servo, table.model),
            homing_offset=self._register(servo, table.homing_offset),
            torque_on=bool(self._register(servo, table.torque)),
        )

    def positions(self) -> tuple[int, ...]:
        """Return the positions of all servos, counts, one question for all.

        Raises:
            NoAnswerError: a servo was silent, garbled or short; none is returned then.
            DeviceError: the port is gone.
        """
        return self._group(self.TABLE.position)

    def clocks(self) -> tuple[int, ...]:
        """Return the servos' running clocks, empty where they have none; raises as `positions`."""
        return () if self.TABLE.clock is None else self._group(self.TABLE.clock)

    def drain(self, quiet_s: float) -> None:
        """Read on until nothing has come for so long, three times as long at the most.

        Raises:
            DeviceError: the port is gone.
        """
        with self._port_errors():
            end = time.monotonic() + 3.0 * quiet_s
            quiet = time.monotonic() + quiet_s
            while time.monotonic() < min(quiet, end):
                if self._handler.ser.read(256):
                    quiet = time.monotonic() + quiet_s

    def _register(self, servo: int, register: Register) -> int:
        for _ in range(_MOST_TRIES - 1):
            with contextlib.suppress(NoAnswerError):
                return self._ask_register(servo, register)
            self.drain(_QUIET_S)
        return self._ask_register(servo, register)

    def _ask_register(self, servo: int, register: Register) -> int:
        with self._port_errors():
            data, result, _ = self._packets.readTxRx(
                self._handler, servo, register.address, register.length
            )
        if result != self._SUCCESS or len(data) < register.length:
            raise self._no_answer(servo, result)
        return register.value(data[: register.length])

    def _group(self, register: Register) -> tuple[int, ...]:
        group = self._groups[register]
        with self._port_errors():
            result = group.txRxPacket()
        values = []
        for servo in self.servo_ids:
            # On a failure the library leaves this servo's data empty and the next ones' old.
            data = group.data_dict[servo]
            if len(data) < register.length:
                raise self._no_answer(servo, result)
            values.append(register.value(data[: register.length]))
        if result != self._SUCCESS:
            raise self._no_answer(None, result)
        return tuple(values)

    def _no_answer(self, servo: int | None, result: int) -> NoAnswerError:
        whose = "the servos" if servo is None else f"servo {servo}"
        what = "no answer" if result == self._TIMEOUT else "no intelligible answer"
        return NoAnswerError(
            f"{what} from {whose}", where=f"{self.port}, {self._baudrate} baud",
            remedy="check its power, its cable, its id and the baud rate",
        )

    @contextlib.contextmanager
    def _port_errors(self) -> Iterator[None]:
        """Ask inside, and hear of a lost port in our words."""
        # A question cut short leaves the library believing that it still waits for the answer.
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
            what, remedy = "no such port", "plug the arm in, or mend port in its device file"
        elif number in (11, 16) or "exclusively lock" in text:
            what, remedy = "the port is taken", "end the other program that reads this arm"
        elif isinstance(error, serial.SerialTimeoutException):
            what, remedy = "the port takes no bytes", "plug the adapter out and in"
        else:
            what, remedy = f"the port is gone ({text})", "plug the arm in again"
        return DeviceError(what, where=self.port, remedy=remedy)
