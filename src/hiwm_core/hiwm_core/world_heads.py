"""What a world model may say of a state besides pictures and joints, and refusing where it cannot.

Training notes which heads it trained in the checkpoint; the world lists them in `world_info` and
gives NaN for the others. Whoever decides by a head calls `require_success_head` first.
"""

from collections.abc import Collection

from hiwm_core.errors import CheckpointError

HEADS = ("progress", "success", "trust")
# The judge that results name where the success head decided.
SUCCESS_HEAD = "success head"


def require_success_head(heads: Collection[str], where: str) -> None:
    """Raise CheckpointError unless a world model can say whether a state is a success.

    Args:
        heads: those that were trained.
        where: checkpoint or session, for the message.
    """
    if "success" not in heads:
        raise CheckpointError(
            "this world model cannot say what is a success: its success head was never trained",
            where=where,
            remedy="train it again on bags whose labels hold both successes and failures, or let "
            "a person judge the trials: judge:=person",
        )
