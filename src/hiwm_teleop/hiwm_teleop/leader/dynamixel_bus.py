"""Dynamixel X servos, protocol 2.0, through dynamixel-sdk: GELLO and ALOHA leaders."""

from typing import Any

import dynamixel_sdk

from hiwm_teleop.leader.servo_bus import BoundedPort, ControlTable, Register, ServoBus


class _Port(BoundedPort, dynamixel_sdk.PortHandler):  # type: ignore[misc]
    pass


class _Packets(dynamixel_sdk.Protocol2PacketHandler):  # type: ignore[misc]
    """Rejects an answer of the wrong length: it is a late answer to another question."""

    def __init__(self) -> None:
        self._wanted = 0

    def readTxRx(self, port: Any, dxl_id: int, address: int, length: int) -> Any:  # noqa: N802
        self._wanted = length
        return super().readTxRx(port, dxl_id, address, length)

    def syncReadTx(self, port: Any, address: int, length: int, *rest: Any) -> Any:  # noqa: N802
        self._wanted = length
        return super().syncReadTx(port, address, length, *rest)

    def rxPacket(self, port: Any, fast_option: bool) -> Any:  # noqa: N802
        packet, result = super().rxPacket(port, fast_option)
        # The length counts instruction, error and checksum besides the data.
        if result == dynamixel_sdk.COMM_SUCCESS and packet[5] + 256 * packet[6] != self._wanted + 4:
            result = dynamixel_sdk.COMM_RX_CORRUPT
        return packet, result


class DynamixelBus(ServoBus):
    """Servos of the X series, all of which share these registers.

    The clock is the Realtime Tick, in ms, which wraps after 32767.
    """

    TABLE = ControlTable(
        model=Register(address=0, length=2),
        homing_offset=Register(address=20, length=4, twos_complement=True),
        torque=Register(address=64, length=1),
        position=Register(address=132, length=4, twos_complement=True),
        clock=Register(address=120, length=2),
    )
    _SUCCESS = dynamixel_sdk.COMM_SUCCESS
    _TIMEOUT = dynamixel_sdk.COMM_RX_TIMEOUT

    def _library(self) -> tuple[Any, Any, Any]:
        return (
            _Port(self.port), _Packets(), dynamixel_sdk.GroupSyncRead
        )
