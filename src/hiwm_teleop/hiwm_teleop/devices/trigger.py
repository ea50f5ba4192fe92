"""A gripper on an analogue trigger: shut when pulled, open when released.

A gripper may hold something when control is taken, with the trigger at rest. So it follows the
trigger only after that has come to where the gripper is. Pure. Tested by ``test_trigger.py``.
"""

# So near, the trigger is where the gripper is.
_NEAR = 0.05


class GripperTrigger:
    """One trigger for one gripper at a time."""

    def __init__(self) -> None:
        self._above: bool | None = None  # whether it was above the gripper; None = not yet seen
        self._follows = False

    def rest(self) -> None:
        """Stop following: control was released, or another gripper is chosen."""
        self._above, self._follows = None, False

    def ratio(self, pulled: float, target: float) -> float | None:
        """Return the gripper's new target, 0 shut to 1 open; None: it keeps its own.

        Args:
            pulled: share of the trigger's way, 0..1.
            target: the gripper's last target.
        """
        wanted = 1.0 - pulled
        above = wanted > target
        self._follows |= abs(wanted - target) < _NEAR or (
            self._above is not None and above is not self._above
        )
        self._above = above
        return wanted if self._follows else None
