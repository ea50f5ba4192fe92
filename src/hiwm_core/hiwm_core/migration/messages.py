"""Recorded messages of version 1 with today's definitions.

Version 1 gave every message of a tick the tick's stamp, starts and ground truth were a pose and a
coverage, labels were numbers, and the tree's nodes carried the marks of their branch.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hiwm_core.bags.mcap_file import Message, decoded
from hiwm_core.bags.schema import recording_types
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError
from hiwm_core.frames import observation_streams
from hiwm_core.tasks import Task

# Labels by the numbers of version 1.
LABELS = ("", "success", "failure")
_PACKAGE = "hiwm_interfaces/msg/"


class MessageUpgrade:
    """Converts the messages of one bag.

    Args:
        embodiment: of the bag, converted.
        task: of the bag, converted.
        hashes: present hashes by old ones.
    """

    def __init__(self, embodiment: Embodiment, task: Task, hashes: Mapping[str, str]) -> None:
        self._embodiment = embodiment
        self._task = task
        self._hashes = hashes
        self._types = recording_types()
        self._streams = observation_streams(camera.name for camera in embodiment.cameras)
        self._rules: dict[str, Callable[[Any], Any]] = {
            f"{_PACKAGE}Tick": self._tick,
            f"{_PACKAGE}WorldInfo": self._world_info,
            f"{_PACKAGE}OperatorCommand": self._operator_command,
            f"{_PACKAGE}GroundTruth": self._ground_truth,
            f"{_PACKAGE}BranchTree": self._branch_tree,
        }

    def upgraded(self, message: Message) -> bytes:
        """Return a message with today's definition; types that have not changed stay as they are.

        Raises:
            BagError: the message does not fit the definition in its bag.
        """
        kind = message.channel.message_type
        rule = self._rules.get(kind)
        if rule is None:
            return bytes(message.data)
        return bytes(self._types.serialize_cdr(rule(decoded(message)), kind))

    def _made(self, name: str, old: Any, **new: Any) -> Any:
        """Return a message with new fields; all others are the old message's."""
        kind = _PACKAGE + name
        fields = (field for field, _ in self._types.fielddefs[kind][1])
        values = {field: new[field] if field in new else getattr(old, field) for field in fields}
        return self._types.types[kind](**values)

    def _tick(self, old: Any) -> Any:
        return self._made(
            "Tick", old, sender=getattr(old, "sender", ""), applied_note="", started_from="",
            streams=self._streams, stream_stamps=[old.header.stamp] * len(self._streams),
            control_period_s=math.nan,
        )

    def _world_info(self, old: Any) -> Any:
        return self._made(
            "WorldInfo", old, control_period_s=1.0 / self._embodiment.rate_hz,
            streams=self._streams, heads=list(getattr(old, "heads", [])),
            embodiment_hash=self._embodiment.hash, embodiment_yaml=self._embodiment.text,
            task_hash=self._task.hash, task_yaml=self._task.text,
            instruction=self._task.instruction, start_names=list(self._task.start_names),
            labels=list(self._task.labels),
            checkpoint_hash=self._hashes.get(old.checkpoint_hash, old.checkpoint_hash),
        )

    def _operator_command(self, old: Any) -> Any:
        return self._made("OperatorCommand", old, note="")

    def _ground_truth(self, old: Any) -> Any:
        known = self._task.plugin.truth_names if self._task.plugin else ()
        others = [name for name in known if name not in self._task.start_names]
        names = [*self._task.start_names, *others]
        values = [*old.object_pose, old.coverage]
        if len(names) != len(values):
            raise BagError(
                f"ground truth of {len(values)} values, but task {self._task.name} has "
                f"{len(names)}", remedy="install the package of the task that recorded it",
            )
        return self._made("GroundTruth", old, names=names, values=np.array(values, np.float64))

    def _branch_tree(self, old: Any) -> Any:
        branches: dict[str, Any] = {}
        for node in old.nodes:
            parent = node.parent_id.rpartition(":")[0]
            first = parent != node.branch_id
            known = branches.get(node.branch_id)
            branches[node.branch_id] = known or self._made(
                "Branch", node, parent_branch_id=parent if first else "",
                fork_node_id=node.parent_id if first else "",
                kind="fork" if parent and first else "reset" if first else "",
                label=LABELS[node.label], labelled_by="", labelled_at=self._no_time(),
            )
        return self._made(
            "BranchTree", old, since=0 if old.full else max(0, old.revision - 1),
            latest=old.revision, branches=list(branches.values()),
            nodes=[self._made("BranchNode", node, takeover=False) for node in old.nodes],
        )

    def _no_time(self) -> Any:
        return self._types.types["builtin_interfaces/msg/Time"](sec=0, nanosec=0)
