"""Who says that a trial succeeded: the stand-in's ground truth, a world model's head, a person.

A person may overrule the other two as well; that is a label, not a judge.

Held by ``test_judges.py``.
"""

from typing import Protocol

from hiwm_core.world_heads import SUCCESS_HEAD


class Judge(Protocol):
    """Watches one trial. Stamps in ns, steps as in its ticks."""

    @property
    def name(self) -> str:
        """What it judges by, for results."""

    @property
    def best(self) -> float:
        """Largest value seen, 0..1."""

    @property
    def success_step(self) -> int | None:
        """Step of the first tick that counts as success; None while there is none."""

    @property
    def complete(self) -> bool:
        """True when everything about the newest tick is known."""

    @property
    def heard(self) -> bool:
        """True when anything to judge by was seen."""

    def on_tick(self, step: int, stamp_ns: int, success: float) -> None:
        """Take a tick of the trial, in order."""

    def on_truth(self, stamp_ns: int, coverage: float) -> None:
        """Take a ground truth, of this trial or not."""


class CoverageJudge:
    """Success is a coverage of the goal at any moment of the trial, from ground truth.

    Truths and ticks come on topics of their own, in any order, so they are matched by stamp: a
    truth counts for the first tick that is not older than it, and not at all when it is older
    than the trial's first tick.

    Args:
        threshold: share of the goal covered that counts as success, 0..1.
    """

    name = "coverage"

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._ticks: list[tuple[int, int]] = []  # stamp, step
        self._truths: list[tuple[int, float]] = []
        self._newest_truth_ns = -1

    @property
    def best(self) -> float:
        """Largest coverage of the trial, 0..1."""
        return max((coverage for _, coverage in self._counting()), default=0.0)

    @property
    def success_step(self) -> int | None:
        """Step of the first tick at which the coverage was reached."""
        for truth_ns, coverage in sorted(self._counting()):
            if coverage >= self._threshold:
                for tick_ns, step in self._ticks:
                    if tick_ns >= truth_ns:
                        return step
        return None

    @property
    def complete(self) -> bool:
        """True when a truth as new as the newest tick is here."""
        return bool(self._ticks) and self._newest_truth_ns >= self._ticks[-1][0]

    @property
    def heard(self) -> bool:
        """True when any ground truth of this trial was seen."""
        return bool(self._counting())

    def on_tick(self, step: int, stamp_ns: int, success: float) -> None:
        """Take a tick; its own success value is not asked."""
        self._ticks.append((stamp_ns, step))

    def on_truth(self, stamp_ns: int, coverage: float) -> None:
        """Take the coverage at a stamp."""
        self._newest_truth_ns = max(self._newest_truth_ns, stamp_ns)
        self._truths.append((stamp_ns, coverage))

    def _counting(self) -> list[tuple[int, float]]:
        if not self._ticks:
            return []
        first = self._ticks[0][0]
        return [truth for truth in self._truths if truth[0] >= first]


class HeadJudge:
    """Success is the world model's own probability of it, in its ticks.

    Args:
        threshold: probability that counts as success, 0..1.
    """

    name = SUCCESS_HEAD

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self.best = 0.0
        self.success_step: int | None = None
        self.complete = True
        self.heard = False

    def on_tick(self, step: int, stamp_ns: int, success: float) -> None:
        """Take a tick; NaN says nothing."""
        if success != success:
            return
        self.heard = True
        self.best = max(self.best, success)
        if success >= self._threshold and self.success_step is None:
            self.success_step = step

    def on_truth(self, stamp_ns: int, coverage: float) -> None:
        """Ignore it: an imagined world has no ground truth."""


class PersonJudge:
    """Success is what a person says after the trial: on a robot nobody else can tell."""

    name = "person"
    best = 0.0
    success_step = None
    complete = False
    heard = False

    def on_tick(self, step: int, stamp_ns: int, success: float) -> None:
        """Ignore it: the person looks at the robot."""

    def on_truth(self, stamp_ns: int, coverage: float) -> None:
        """Ignore it: there is none."""
