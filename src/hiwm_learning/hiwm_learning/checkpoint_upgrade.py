"""Rewrites the description in checkpoints of earlier versions; their weights stay byte for byte.

Used by ``scripts/migrate``. Tested by ``test_checkpoint_upgrade.py``.
"""

import copy
import hashlib
import json
from typing import Any

from hiwm_core.embodiment import parse_embodiment
from hiwm_core.embodiment_upgrade import upgrade_embodiment_text
from hiwm_core.errors import CheckpointError
from hiwm_learning.checkpoints import HEADER_KEY

_ALIGNMENT = 8  # of the tensors in a safetensors file


def upgraded_checkpoint(content: bytes, where: str) -> bytes:
    """Return a checkpoint whose embodiment has today's form and hash; a present one as it is.

    It lists the hash that the file had, which older sessions and states name.

    Args:
        content: bytes of the safetensors file.
        where: its path, for error messages.

    Raises:
        CheckpointError: not a checkpoint.
        ConfigError: its embodiment is of no known form.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        header: dict[str, Any] = json.loads(content[8 : 8 + length])
        info: dict[str, Any] = json.loads(header["__metadata__"][HEADER_KEY])
        text = upgrade_embodiment_text(info["embodiment_text"], where)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"not a checkpoint: {type(error).__name__} {error}", where=where,
            remedy="give a .safetensors file written by the training scripts",
        ) from None
    before = copy.deepcopy(info)
    if info["kind"] == "layered_world_model":
        _name_places(info["config"])
    info |= {"embodiment_text": text, "embodiment_hash": parse_embodiment(text, where).hash}
    if info == before:
        return content
    earlier = info.get("earlier_hashes", [])
    info["earlier_hashes"] = [*earlier, hashlib.sha256(content).hexdigest()]
    header["__metadata__"][HEADER_KEY] = json.dumps(info, sort_keys=True)
    written = json.dumps(header, separators=(",", ":")).encode()
    written += b" " * (-len(written) % _ALIGNMENT)
    return len(written).to_bytes(8, "little") + written + content[8 + length :]


def _name_places(config: dict[str, Any]) -> None:
    """Say where a layered model's arms are in the action: where they are in proprioception.

    Earlier versions took both for one array of arm positions.
    """
    places = {}
    for i, layer in enumerate(config["layers"]):
        layer.setdefault("action", layer["proprioception"])
        for axis, place in enumerate(layer["proprioception"] or ()):
            places[place] = {"layer": i, "axis": axis, "rate_hz": 0.0}
    config.setdefault("readout", [places[place] for place in sorted(places)])
