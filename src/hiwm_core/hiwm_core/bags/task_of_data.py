"""The task and embodiment of recordings, from the bags themselves."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from hiwm_core.bags.lineage import Lineage, require_present
from hiwm_core.embodiment import Embodiment, load_embodiment, parse_embodiment
from hiwm_core.errors import BagError
from hiwm_core.tasks import Task, load_task, parse_task


def task_of(folders: Sequence[Path], named: str | None) -> tuple[Task, Embodiment]:
    """Return the task of recordings and its embodiment.

    Args:
        folders: folders that contain bags. The first bag with both texts is used.
        named: name or path of a task to use instead, with its embodiment from the config folder.

    Raises:
        BagError: a folder is missing, a bag is of another version, or no bag has both texts and no
            task is named.
        ConfigError: the task or its embodiment is invalid.
    """
    for folder in folders:
        if not folder.is_dir():
            raise BagError(
                "no such folder", where=str(folder), remedy="give folders of recorded sessions"
            )
    if named:
        task = load_task(named)
        return task, load_embodiment(task.embodiment)
    for folder in folders:
        for path in sorted(folder.glob("**/metadata.yaml")):
            lineage = _lineage(path)
            if lineage.task_yaml and lineage.embodiment_yaml:
                where = str(path.parent)
                return (
                    parse_task(lineage.task_yaml, where),
                    parse_embodiment(lineage.embodiment_yaml, where),
                )
    raise BagError(
        "no bag names its task", where=", ".join(map(str, folders)),
        remedy="give folders of recorded sessions (scripts/collect_data records some), or give the "
        "task of older ones with --task",
    )


def _lineage(metadata: Path) -> Lineage:
    """Return the lineage in a metadata.yaml; an empty one if it cannot be read.

    Raises:
        BagError: the bag is of another version.
    """
    try:
        data = yaml.load(metadata.read_text(), Loader=yaml.CSafeLoader)
        custom = data["rosbag2_bagfile_information"]["custom_data"] or {}
        require_present(custom, str(metadata.parent))
        return Lineage.from_custom_data(custom)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return Lineage()
