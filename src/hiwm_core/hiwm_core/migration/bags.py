"""One bag of an earlier version with today's messages and metadata, as a new bag."""

from dataclasses import replace
from pathlib import Path

from hiwm_core.bags.audit import Audit, audit_bag
from hiwm_core.bags.contents import BagContents, errors_of
from hiwm_core.bags.lineage import Lineage, is_earlier
from hiwm_core.bags.writer import BagFile, Topic, open_bag
from hiwm_core.errors import BagError
from hiwm_core.migration.messages import MessageUpgrade
from hiwm_core.migration.texts import Texts

_LATCHED = ("/world_info", "/branches/tree", "/control_state")


def is_earlier_bag(bag: Path) -> bool:
    """Return whether a bag was recorded by an earlier version. False if it cannot be read."""
    try:
        contents = BagContents(bag)
        next(contents.messages(), None)
        return is_earlier(contents.custom_data())
    except BagError:
        return False


def migrate_bag(source: Path, target: Path, texts: Texts) -> Audit:
    """Write a bag of an earlier version as a new one; return its audit, which is saved with it.

    Messages keep their order and times of receipt. The new file has checksums, also where the old
    one had none. What cannot be read is left out and named in the lineage, as by a recovery.

    Raises:
        BagError: nothing in it is readable, or a message does not fit its definition.
        ConfigError: its embodiment or task is of no known form.
        OSError: the disk refuses.
    """
    with errors_of(source):
        contents = BagContents(source)
        bag: BagFile | None = None
        try:
            chunk_at = 0
            for message in contents.messages():
                if bag is None:
                    lineage, upgrade = _upgraded(contents, texts)
                    bag = open_bag(target, lineage.custom_data())
                if message.chunk_at != chunk_at:  # same chunks as before: damage costs one chunk
                    bag.flush()
                    chunk_at = message.chunk_at
                topic = Topic(
                    name=message.channel.topic, message_type=message.channel.message_type,
                    latched=message.channel.topic.endswith(_LATCHED),
                )
                bag.write(topic, message.time_ns, upgrade.upgraded(message))
            if bag is None:
                raise BagError("no message", where=str(source), remedy="leave the bag out")
            lineage, _ = _upgraded(contents, texts)
            if problems := contents.problems():
                lineage = replace(
                    lineage, recovered=True,
                    lost="; ".join(filter(None, (lineage.lost, *problems))),
                )
            bag.close(lineage.custom_data())
        except BaseException:
            if bag is not None:
                bag.abort()
            raise
    audit = audit_bag(target)
    audit.save(target)
    return audit


def _upgraded(contents: BagContents, texts: Texts) -> tuple[Lineage, MessageUpgrade]:
    """Return a bag's lineage in today's form, and the conversion of its messages."""
    old, where = Lineage.from_custom_data(contents.custom_data()), str(contents.path)
    if not old.embodiment_yaml or not old.task_yaml:
        raise BagError(
            "the bag names no embodiment or no task", where=where,
            remedy="leave it out; it is from before bags had their texts",
        )
    embodiment = texts.embodiment(old.embodiment_yaml, where)
    task = texts.task(old.task_yaml, where)
    lineage = replace(
        old, embodiment_hash=embodiment.hash, embodiment_yaml=embodiment.text,
        task_hash=task.hash, task_yaml=task.text,
        world_checkpoint_hash=texts.hash(old.world_checkpoint_hash),
    )
    return lineage, MessageUpgrade(embodiment, task, texts.hashes)
