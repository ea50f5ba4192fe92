"""Judges of trials: the stand-in's ground truth, the world model's success head, or a person.

A person's label may also overrule the first two.

Tested by ``test_judges.py``.
"""

from typing import Protocol

from hiwm_core.tasks import JudgedBy
from hiwm_core.world_heads import SUCCESS_HEAD


class Judge(Protocol):
    """Judges one trial. Stamps are in ns, steps are those of its ticks."""

    @property
    def name(self) -> str:
        """What it judges by, as stored in results."""

    @property
    def best(self) -> float:
        """Largest value seen, 0..1."""

    @property
    def success_step(self) -> int | None:
        """Step of the first successful tick; None if there is none yet."""

    @property
    def complete(self) -> bool:
        """Whether everything about the newest tick is known."""

    @property
    def informed(self) -> bool:
        """Whether any data to judge by has arrived."""

    def on_tick(self, step: int, stamp_ns: int, success: float) -> None:
        """Handle a tick of the trial, in order."""

    def on_truth(self, stamp_ns: int, progress: float) -> None:
        """Handle the progress of a ground truth, of this trial or not."""


class GroundTruthJudge:
    """Success is reached when the progress, from ground truth, reaches a threshold.

    Truths and ticks have separate topics and arrive in any order, so they are matched by stamp. A
    truth belongs to the first tick that is not older. Truths older than the trial's first tick are
    ignored.

    Args:
        threshold: progress that counts as success, 0..1.
    """

    name = "ground truth"

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._ticks: list[tuple[int, int]] = []  # stamp, step
        self._truths: list[tuple[int, float]] = []
        self._newest_truth_ns = -1

    @property
    def best(self) -> float:
        """Largest progress of the trial, 0..1."""
        return max((progress for _, progress in self._counting()), default=0.0)

    @property
    def success_step(self) -> int | None:
        """Step of the first tick with a progress at the threshold."""
        for truth_ns, progress in sorted(self._counting()):
            if progress >= self._threshold:
                for tick_ns, step in self._ticks:
                    if tick_ns >= truth_ns:
                        return step
        return None

    @property
    def complete(self) -> bool:
        """Whether a truth as new as the newest tick has arrived."""
        return bool(self._ticks) and self._newest_truth_ns >= self._ticks[-1][0]

    @property
    def informed(self) -> bool:
        """Whether any ground truth of this trial has arrived."""
        return bool(self._counting())

    def on_tick(self, step: int, stamp_ns: int, success: float) -> None:
        """Handle a tick; its success value is ignored."""
        self._ticks.append((stamp_ns, step))

    def on_truth(self, stamp_ns: int, progress: float) -> None:
        """Handle the progress at a stamp."""
        self._newest_truth_ns = max(self._newest_truth_ns, stamp_ns)
        self._truths.append((stamp_ns, progress))

    def _counting(self) -> list[tuple[int, float]]:
        if not self._ticks:
            return []
        first = self._ticks[0][0]
        return [truth for truth in self._truths if truth[0] >= first]


class HeadJudge:
    """Success is decided by the world model's success probability in ticks.

    Args:
        threshold: probability that counts as success, 0..1.
    """

    name = SUCCESS_HEAD

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self.best = 0.0
        self.success_step: int | None = None
        self.complete = True
        self.informed = False

    def on_tick(self, step: int, stamp_ns: int, success: float) -> None:
        """Handle a tick; NaN is ignored."""
        if success != success:
            return
        self.informed = True
        self.best = max(self.best, success)
        if success >= self._threshold and self.success_step is None:
            self.success_step = step

    def on_truth(self, stamp_ns: int, progress: float) -> None:
        """Ignore it: imagined worlds have no ground truth."""


class PersonJudge:
    """Success is a person's verdict after the trial; on a robot there is no other source."""

    name = "person"
    best = 0.0
    success_step = None
    complete = False
    informed = False

    def on_tick(self, step: int, stamp_ns: int, success: float) -> None:
        """Ignore it: the person judges by sight."""

    def on_truth(self, stamp_ns: int, progress: float) -> None:
        """Ignore it: the person judges by sight."""


def judge_of(by: JudgedBy, threshold: float, *, imagined: bool, stand_in: bool) -> Judge:
    """Return a new judge of one trial, as a task says.

    Args:
        by: who judges on a robot.
        threshold: probability of success, or progress, that counts as success.
        imagined: whether the world is imagined; its success head judges.
        stand_in: whether the robot is one, which knows the ground truth.
    """
    if imagined or by is JudgedBy.HEAD:
        return HeadJudge(threshold)
    known = stand_in and by is JudgedBy.GROUND_TRUTH
    return GroundTruthJudge(threshold) if known else PersonJudge()
