"""What a driver's stamp says: a new message, a repeated, late or unstamped one, or a restart.

Tested by ``test_streams.py``; docs/robots.md has the table for users.
"""

from enum import Enum, auto

# An older stamp is of a late message if it is older by less than this and the newer one has just
# arrived; otherwise the driver has restarted, or its clock was set back.
RESTART_GAP_NS = 1_000_000_000
LATE_S = 0.3


class Stamped(Enum):
    """Kinds of messages. Only new ones and those of a restarted driver are used."""

    NEW = auto()
    RESTARTED = auto()
    REPEATED = auto()
    LATE = auto()
    UNSTAMPED = auto()

    @property
    def unused(self) -> str:
        """Why the message is not used; empty if it is."""
        return _UNUSED.get(self, "")


_UNUSED = {
    Stamped.REPEATED: "its stamp does not change",
    Stamped.LATE: "it arrives out of order",
    Stamped.UNSTAMPED: "its stamp is zero or negative: let the driver stamp it, or set "
                       "stamps: arrival",
}


def kind_of(stamp_ns: int, last_ns: int | None, since_last_s: float) -> Stamped:
    """Return what a message is.

    Args:
        stamp_ns: of the message.
        last_ns: of the newest message used; None before the first.
        since_last_s: time since that one arrived.
    """
    if stamp_ns <= 0:
        return Stamped.UNSTAMPED
    if last_ns is None or stamp_ns > last_ns:
        return Stamped.NEW
    if stamp_ns == last_ns:
        return Stamped.REPEATED
    late = last_ns - stamp_ns <= RESTART_GAP_NS and since_last_s <= LATE_S
    return Stamped.LATE if late else Stamped.RESTARTED
