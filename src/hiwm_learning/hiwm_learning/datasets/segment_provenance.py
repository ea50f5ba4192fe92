"""What each action of one segment is worth to a learner, from the segment alone."""

import numpy as np
from numpy.typing import NDArray

DEMONSTRATION, POLICY, HUMAN, PRE_INTERVENTION, ROLLED_BACK, NONE = range(6)
# Names by number, as stores carry them.
PROVENANCES = ("demonstration", "policy", "human", "pre-intervention", "rolled-back", "none")
# Steps of the policy before a takeover that are not to be imitated (Sirius, arXiv 2211.08416).
PRE_INTERVENTION_STEPS = 15
# Command.SOURCE_* to provenance. A hold has no author; a handback blends the person's target.
_BY_SOURCE = np.array([NONE, POLICY, HUMAN, DEMONSTRATION, HUMAN], np.uint8)


def segment_provenance(source: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the provenance [T] of actions with sources [T] (Command.SOURCE_*)."""
    provenance = _BY_SOURCE[source]
    human = provenance == HUMAN
    takeovers = np.flatnonzero(human & ~np.concatenate(([False], human[:-1])))
    for takeover in takeovers:
        before = provenance[max(0, takeover - PRE_INTERVENTION_STEPS) : takeover]
        before[before == POLICY] = PRE_INTERVENTION
    return provenance
