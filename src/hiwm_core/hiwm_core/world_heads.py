"""The heads of a world model, which rate a state, and the check that a head was trained.

Training lists the trained heads in the checkpoint. The world lists them in `world_info` and gives
NaN for the others. Code that decides by the success head calls `require_success_head` first.
"""

from collections.abc import Collection

from hiwm_core.errors import CheckpointError

HEADS = ("progress", "success", "trust")
# The judge named in results if the success head decided.
SUCCESS_HEAD = "success head"


def require_success_head(heads: Collection[str], where: str) -> None:
    """Raise CheckpointError unless a world model can judge success.

    Args:
        heads: the trained heads.
        where: checkpoint or session, for the message.
    """
    if "success" not in heads:
        raise CheckpointError(
            "this world model cannot judge success: its success head was never trained",
            where=where,
            remedy="train it again on bags with labels of both successes and failures, or let "
            "a person judge the trials: judge:=person",
        )
