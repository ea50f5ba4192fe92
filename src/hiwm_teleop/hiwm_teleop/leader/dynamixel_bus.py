"""Dynamixel X servos, protocol 2.0, through dynamixel-sdk: GELLO and ALOHA leaders."""

from typing import Any

import dynamixel_sdk

from hiwm_teleop.leader.servo_bus import BoundedPort, ControlTable, Register, ServoBus


class _Port(BoundedPort, dynamixel_sdk.PortHandler):  # type: ignore[misc]
    pass


class DynamixelBus(ServoBus):
    """Servos of the X series, all of which share these registers.

    The clock is the Realtime Tick, milliseconds to 32767 and over again.
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
            _Port(self.port), dynamixel_sdk.PacketHandler(2.0), dynamixel_sdk.GroupSyncRead
        )
