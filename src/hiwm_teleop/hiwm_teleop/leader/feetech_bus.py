"""Feetech STS servos through feetech-servo-sdk: SO-100 and SO-101 leaders."""

from typing import Any

import scservo_sdk

from hiwm_teleop.leader.servo_bus import BoundedPort, ControlTable, Register, ServoBus


class _Port(BoundedPort, scservo_sdk.PortHandler):  # type: ignore[misc]
    pass


class FeetechBus(ServoBus):
    """Servos of the STS series. They have no clock that could be read."""

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
        # 0: the low byte comes first, as STS servos send it.
        return _Port(self.port), scservo_sdk.PacketHandler(0), scservo_sdk.GroupSyncRead
