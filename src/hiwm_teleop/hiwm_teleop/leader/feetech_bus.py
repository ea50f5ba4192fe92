"""Feetech STS servos through feetech-servo-sdk: SO-100 and SO-101 leaders."""

from typing import Any

import scservo_sdk

from hiwm_teleop.leader.servo_bus import BoundedPort, ControlTable, Register, ServoBus


class _Port(BoundedPort, scservo_sdk.PortHandler):  # type: ignore[misc]
    pass


class _Packets(scservo_sdk.protocol_packet_handler):  # type: ignore[misc]
    """Rejects an answer of the wrong length: it is a late answer to another question."""

    def __init__(self) -> None:
        self._wanted = 0

    def readTxRx(self, port: Any, scs_id: int, address: int, length: int) -> Any:  # noqa: N802
        self._wanted = length
        return super().readTxRx(port, scs_id, address, length)

    def syncReadTx(self, port: Any, address: int, length: int, *rest: Any) -> Any:  # noqa: N802
        self._wanted = length
        return super().syncReadTx(port, address, length, *rest)

    def rxPacket(self, port: Any) -> Any:  # noqa: N802
        packet, result = super().rxPacket(port)
        # The length counts error and checksum besides the data.
        if result == scservo_sdk.COMM_SUCCESS and packet[3] != self._wanted + 2:
            result = scservo_sdk.COMM_RX_CORRUPT
        return packet, result


class FeetechBus(ServoBus):
    """Servos of the STS series. They have no readable clock."""

    TABLE = ControlTable(
        model=Register(address=3, length=2),
        homing_offset=Register(address=31, length=2, sign_bit=11),
        torque=Register(address=40, length=1),
        position=Register(address=56, length=2, sign_bit=15),
        clock=None,
    )
    _SUCCESS = scservo_sdk.COMM_SUCCESS
    _TIMEOUT = scservo_sdk.COMM_RX_TIMEOUT

    def _library(self) -> tuple[Any, Any, Any]:
        return _Port(self.port), _Packets(), scservo_sdk.GroupSyncRead
