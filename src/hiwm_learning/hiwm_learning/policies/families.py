"""The list of policies, chosen by name: our checkpoints, servers, and plug-ins.

A family is a function from `PlannerOptions` to a `Planner`. Ours are lines of `FAMILIES`. A package
adds one with an entry point of the group ``hiwm.policies``; its name is the family's::

    entry_points={"hiwm.policies": ["my_policy = my_package.planner:MyPlanner"]}

Tested by ``test_remote_planner.py``.
"""

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import cast

from hiwm_core.config_files import nearest
from hiwm_core.errors import ConfigError
from hiwm_core.user_paths import user_path
from hiwm_learning.policies.planning import Planner, PlannerOptions, load_planner

GROUP = "hiwm.policies"


def _checkpoint(options: PlannerOptions) -> Planner:
    if not options.checkpoint:
        raise ConfigError(
            "no checkpoint", where="parameter checkpoint of policy",
            remedy="give the path of a policy checkpoint",
        )
    return load_planner(user_path(options.checkpoint), options.device)


def _openpi(options: PlannerOptions) -> Planner:
    # Imported on use: a session with a checkpoint needs no websockets.
    module = importlib.import_module("hiwm_learning.policies.remote.planner")
    return cast(Planner, module.RemotePlanner(options))


FAMILIES: dict[str, Callable[[PlannerOptions], Planner]] = {
    "checkpoint": _checkpoint,  # a file of our own
    "openpi": _openpi,  # a server of the openpi protocol
}


def policy_names() -> list[str]:
    """Return the names of all policies that can be chosen."""
    return [*FAMILIES, *sorted({entry.name for entry in entry_points(group=GROUP)} - {*FAMILIES})]


def make_planner(name: str, options: PlannerOptions) -> Planner:
    """Return the planner of a family.

    Raises:
        ConfigError: no family of that name, its plug-in cannot be imported, or a wrong option.
        HiwmError: what the family raises.
    """
    if name in FAMILIES:
        return FAMILIES[name](options)
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            try:
                make = entry.load()
            except Exception as error:  # whatever a foreign module raises when imported
                raise ConfigError(
                    f"the plug-in of policy {name!r} cannot be imported: "
                    f"{type(error).__name__}: {error}", where=f"entry point {entry.value}",
                    remedy="correct its package",
                ) from error
            return cast(Planner, make(options))
    known = policy_names()
    raise ConfigError(
        f"no policy {name!r}", where="parameter policy of policy",
        remedy=f"use one of {', '.join(known)}{nearest(name, known)}",
    )
