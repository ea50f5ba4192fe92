"""World models of a study: which family is trained, and which checkpoints are refused.

Tested by ``test_study_worlds.py``.
"""

from pathlib import Path

from hiwm_core.control_period import require_period
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_core.tasks import Task
from hiwm_core.world_heads import require_success_head
from hiwm_learning.checkpoints import load_checkpoint, require_embodiment
from hiwm_learning.world_models.families import FAMILIES, family_of

# Trained for tasks without a shipped world model, or with a served one.
_GENERAL_FAMILY = "latent"


def shipped_family(root: Path, task: str) -> str:
    """Return the family of world model that a study of a task trains: that of the shipped one.

    Args:
        root: of the workspace, with models/.
        task: name.
    """
    shipped = root / "models" / f"world_{task}.safetensors"
    if not shipped.is_file():
        return _GENERAL_FAMILY
    family = family_of(load_checkpoint(shipped).info.kind)
    trained = family is not None and family.name != "remote"
    return family.name if family is not None and trained else _GENERAL_FAMILY


def checked_world(path: Path, task: Task, option: str) -> Path:
    """Return the absolute path of a world model that fits a task and can judge its trials.

    Args:
        path: of the checkpoint.
        task: of the study.
        option: of the command line, for messages.

    Raises:
        ConfigError: no such file.
        CheckpointError: not a world model, or one of another task or embodiment, or without a
            success head.
    """
    path = path.absolute()
    if not path.is_file():
        raise ConfigError(
            "no such file", where=f"{option} {path}", remedy="give a world model's checkpoint"
        )
    embodiment = load_embodiment(task.embodiment)
    info = load_checkpoint(path).info
    if family_of(info.kind) is None:
        raise CheckpointError(
            f"is a {info.kind}, not a world model", where=f"{option} {path}",
            remedy=f"give one of kind {' or '.join(family.kind for family in FAMILIES)}",
        )
    require_embodiment(info, embodiment.hash, f"{option} {path}")
    require_period(info.control_period_s, 1.0 / embodiment.rate_hz, "world model", str(path))
    if not task.is_known_as(info.task_hash):
        raise CheckpointError(
            f"was trained for task {info.task}, the study is of {task.name}",
            where=f"{option} {path}", remedy="give a world model of this task",
        )
    if info.heads is not None:
        require_success_head(info.heads, str(path))
    return path
