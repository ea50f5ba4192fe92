"""Values with names, as messages carry a task's starts and a stand-in's ground truth.

A name ends with its unit, such as `object_x_m` or `object_yaw_rad`.
"""

from collections.abc import Sequence

import numpy as np

from hiwm_core.errors import ConfigError


def named_values(names: Sequence[str], values: Sequence[float], where: str) -> dict[str, float]:
    """Return values by name; empty if there are none.

    Args:
        names: one for each value.
        values: in the order of the names.
        where: topic or service, for error messages.

    Raises:
        ConfigError: unequal numbers, a repeated name, or a value that is not finite.
    """
    if len(names) != len(values):
        raise ConfigError(
            f"{len(names)} names for {len(values)} values", where=where,
            remedy="give one value for each name",
        )
    found = dict(zip(map(str, names), map(float, values), strict=True))
    if len(found) < len(names):
        raise ConfigError(
            f"a name is repeated: {', '.join(names)}", where=where, remedy="name each value once"
        )
    bad = [name for name, value in found.items() if not np.isfinite(value)]
    if bad:
        raise ConfigError(
            f"not finite: {', '.join(bad)}", where=where, remedy="give finite numbers"
        )
    return found
