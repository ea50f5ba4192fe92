"""What a world's description allows, without nodes."""

import pytest
from hiwm_interfaces.msg import WorldInfo

from hiwm_branching.world_calls import (
    WorldRefusalError,
    require_continuable,
    require_restorable,
)
from hiwm_core.branch_records import BranchKind


def test_an_imagination_that_restores_nothing_says_so_and_not_that_it_is_a_robot() -> None:
    info = WorldInfo(kind="imagination", can_restore=False, can_fork=False)
    for kind in (BranchKind.ROLLBACK, BranchKind.FORK):
        with pytest.raises(WorldRefusalError, match="world model's server cannot restore one"):
            require_restorable(info, kind)
    with pytest.raises(WorldRefusalError, match="imagination, which restores no states"):
        require_continuable(info)
