"""Action servers of grippers: GripperCommand and ParallelGripperCommand.

From gripper_controllers and parallel_gripper_controller of ros2_controllers jazzy
(`goal_callback`, `accepted_callback`, `check_for_success`).
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from hiwm_test_support.controllers.plant import Plant


class Outcome(Enum):
    """What became of a goal."""

    EXECUTING = auto()
    SUCCEEDED = auto()
    ABORTED = auto()
    CANCELED = auto()  # preempted by the next goal, too


@dataclass(kw_only=True)
class Goal:
    """One accepted goal."""

    position: float
    outcome: Outcome = Outcome.EXECUTING
    stalled: bool = False


@dataclass(kw_only=True)
class GripperServer:
    """A gripper that moves at a constant speed and may meet an object.

    A new goal preempts the old one. A gripper that stands still short of its goal for
    `stall_timeout_s` aborts the goal, or succeeds if stalling is allowed.
    """

    position: float
    speed: float  # of the driver's unit per s
    tolerance: float = 0.01
    stall_timeout_s: float = 1.0
    allow_stalling: bool = False
    object_between: tuple[float, float] | None = None  # positions that an object keeps it from
    goals: list[Goal] = field(default_factory=list)
    _still_s: float = 0.0

    def receive(self, positions: tuple[float, ...]) -> Goal | None:
        """Accept a goal, or refuse it: one position is expected."""
        if len(positions) != 1:
            return None
        if self.goals and self.goals[-1].outcome is Outcome.EXECUTING:
            self.goals[-1].outcome = Outcome.CANCELED
        self.goals.append(Goal(position=positions[0]))
        self._still_s = 0.0
        return self.goals[-1]

    def update(self, dt: float) -> float:
        """Advance by dt [s]; return the position."""
        if not self.goals:
            return self.position
        goal = self.goals[-1]
        before = self.position
        plant = Plant([self.position], max_speed=self.speed)
        moved = float(plant.step([goal.position], dt)[0])
        if self.object_between and self.object_between[0] < moved < self.object_between[1]:
            moved = before
        self.position = moved
        if goal.outcome is not Outcome.EXECUTING:
            return moved
        self._still_s = self._still_s + dt if moved == before else 0.0
        if abs(goal.position - moved) < self.tolerance:
            goal.outcome = Outcome.SUCCEEDED
        elif self._still_s > self.stall_timeout_s:
            goal.stalled = True
            goal.outcome = Outcome.SUCCEEDED if self.allow_stalling else Outcome.ABORTED
        return moved
