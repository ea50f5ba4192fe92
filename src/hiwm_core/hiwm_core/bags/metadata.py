"""metadata.yaml of a bag, as rosbag2 writes it, with its own checksum.

Its counts state what the file must contain. Lineage and audit are in its `custom_data`. YAML has no
checksum, so `custom_data` also contains one over everything else.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from hiwm_core.atomic_files import replace_file
from hiwm_core.bags.mcap_file import Channel, McapFile
from hiwm_core.errors import BagError

METADATA_FILE: Final = "metadata.yaml"
# Version of rosbag2's metadata.yaml that Jazzy writes.
BAG_VERSION: Final = 9
# Name and key under which rosbag2 writes the same information into the MCAP file.
ROSBAG2_RECORD: Final = "rosbag2"
ROSBAG2_KEY: Final = "serialized_metadata"
_ROOT: Final = "rosbag2_bagfile_information"
_CHECKSUM_KEY: Final = "hiwm.checksum"

Information = dict[str, Any]


class TopicCount(NamedTuple):
    """One topic of a bag with its number of messages."""

    channel: Channel
    messages: int


def bag_information(
    file_name: str, topics: Sequence[TopicCount], first_ns: int, last_ns: int,
    custom_data: Mapping[str, str],
) -> Information:
    """Return the information of a bag with one file.

    Args:
        file_name: the MCAP file in the bag's folder.
        topics: every topic.
        first_ns: smallest log time.
        last_ns: largest log time.
        custom_data: texts to store.
    """
    start = {"nanoseconds_since_epoch": max(0, first_ns)}
    duration = {"nanoseconds": max(0, last_ns - first_ns)}
    count = sum(topic.messages for topic in topics)
    return {
        "version": BAG_VERSION,
        "storage_identifier": "mcap",
        "relative_file_paths": [file_name],
        "duration": duration,
        "starting_time": start,
        "message_count": count,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic.channel.topic,
                    "type": topic.channel.message_type,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": yaml.safe_load(topic.channel.qos) or [],
                    "type_description_hash": topic.channel.type_hash,
                },
                "message_count": topic.messages,
            }
            for topic in topics
        ],
        "compression_format": "",
        "compression_mode": "",
        "files": [{
            "path": file_name, "starting_time": start, "duration": duration,
            "message_count": count,
        }],
        "custom_data": dict(custom_data),
        "ros_distro": "jazzy",
    }


def information_of(file: McapFile, custom_data: Mapping[str, str]) -> Information:
    """Return the information of a file after a full pass."""
    topics = [
        TopicCount(channel, file.counts[channel.topic]) for channel in file.channels.values()
    ]
    return bag_information(file.path.name, topics, file.first_ns, file.last_ns, custom_data)


def embedded_information(information: Information) -> dict[str, str]:
    """Return the text map that stores the information in the MCAP file."""
    return {ROSBAG2_KEY: _text(information)}


def embedded_custom_data(file: McapFile) -> dict[str, str]:
    """Return the custom_data embedded in an MCAP file; empty if there is none."""
    text = file.metadata.get(ROSBAG2_RECORD, {}).get(ROSBAG2_KEY, "")
    try:
        information = yaml.load(text, Loader=yaml.CSafeLoader)
        return dict(_checked_custom_data(information)) if information else {}
    except (yaml.YAMLError, ValueError):
        return {}


def write_information(bag: Path, information: Information) -> None:
    """Write metadata.yaml in one step, with its checksum.

    Raises:
        OSError: the disk refuses; an existing file is unchanged.
    """
    custom = {
        key: value for key, value in (information["custom_data"] or {}).items()
        if key != _CHECKSUM_KEY
    }
    information = {**information, "custom_data": custom}
    custom[_CHECKSUM_KEY] = _checksum(information)
    replace_file(bag / METADATA_FILE, _text({_ROOT: information}))


def write_custom_data(bag: Path, change: Mapping[str, str]) -> None:
    """Merge texts into custom_data of a closed bag's metadata.yaml, in one step.

    Raises:
        BagError: metadata.yaml cannot be read.
        OSError: the disk refuses.
    """
    information = read_information(bag)
    information["custom_data"] = {**(information.get("custom_data") or {}), **change}
    write_information(bag, information)


def read_information(bag: Path) -> Information:
    """Return the content of a bag's metadata.yaml.

    Raises:
        BagError: the file is missing or damaged.
    """
    path = bag / METADATA_FILE
    try:
        data = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        if not isinstance(data, dict):
            raise ValueError("it is empty" if data is None else "it has no bag information")
        information = data.get(_ROOT)
        custom = _checked_custom_data(information)
        assert isinstance(information, dict)
        if not isinstance(information.get("message_count"), int):
            raise ValueError("it has no message count")
        _topic_counts(information)
        if custom.get(_CHECKSUM_KEY, "") not in ("", _checksum(information)):
            raise ValueError("its checksum does not match")
    except FileNotFoundError as error:
        raise _damaged("is missing", bag) from error
    except (OSError, yaml.YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _damaged(f"is damaged: {reason}", bag) from error
    return information


def topic_counts(information: Information) -> dict[str, int]:
    """Return the message count of each non-empty topic according to metadata.yaml."""
    return _topic_counts(information)


def looks_closed(bag: Path) -> bool:
    """Return whether metadata.yaml exists and is rosbag2's. Cheap; it may still be damaged."""
    try:
        data = (bag / METADATA_FILE).read_bytes()
    except OSError:
        return False
    return data.startswith(_ROOT.encode()) and b"\0" not in data


def _topic_counts(information: Information) -> dict[str, int]:
    counts: dict[str, int] = {}
    try:
        for entry in information["topics_with_message_count"]:
            name, count = entry["topic_metadata"]["name"], entry["message_count"]
            if not isinstance(count, int) or not isinstance(name, str):
                raise ValueError("its counts are not numbers")
            if count:
                counts[name] = counts.get(name, 0) + count
    except (KeyError, TypeError) as error:
        raise ValueError("it lists no topics") from error
    return counts


def _checked_custom_data(information: object) -> dict[str, str]:
    if not isinstance(information, dict):
        raise ValueError("it has no bag information")
    custom = information.get("custom_data") or {}
    if not isinstance(custom, dict) or not all(
        isinstance(item, str) for pair in custom.items() for item in pair
    ):
        raise ValueError("its custom_data is not a map of texts")
    return custom


def _checksum(information: Information) -> str:
    """Return the checksum of everything except the checksum itself."""
    custom = {
        key: value for key, value in (information.get("custom_data") or {}).items()
        if key != _CHECKSUM_KEY
    }
    text = json.dumps({**information, "custom_data": custom}, sort_keys=True, default=str)
    return f"{zlib.crc32(text.encode()):08x}"


def _text(data: Information) -> str:
    return str(yaml.dump(data, Dumper=yaml.CSafeDumper, sort_keys=False, width=1_000_000))


def _damaged(what: str, bag: Path) -> BagError:
    return BagError(
        f"{METADATA_FILE} {what}", where=str(bag),
        remedy="run python -m hiwm_recording.recover, which rewrites it from the bag's file",
    )
