"""Checkpoints: one safetensors file that says what it is, what it was made for and from what.

Policies and world models share the format. The weights and one JSON text lie in the same file, so
that they cannot be parted; what only training needs (optimiser state) is kept apart in a file of
its own. A checkpoint made for another embodiment is refused with both hashes named.
"""

import hashlib
import json
import zipfile
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from hiwm_core.atomic_files import Content, replace_file
from hiwm_core.bags.disk import disk_refusal
from hiwm_core.embodiment import parse_embodiment
from hiwm_core.errors import CheckpointError

# Raised when a reader of today could no longer make sense of an older file.
FORMAT = 1
_HEADER_BYTES = 100_000_000  # the format's own bound
# The one key of the safetensors header: several keys would be written in random order, and equal
# checkpoints would get different hashes.
HEADER_KEY = "hiwm"


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """What a checkpoint says of itself."""

    kind: str  # what can load it: "diffusion_policy", "world_model" ...
    name: str  # for people, and for the device field of commands
    config: dict[str, Any]  # the network's configuration, JSON values alone
    embodiment: str  # name
    embodiment_hash: str  # sha256 of embodiment_text
    embodiment_text: str  # the YAML it was trained under
    task: str  # name
    task_hash: str  # sha256 of the task's text
    data: dict[str, Any]  # summary of the training set, JSON values alone
    steps: int  # optimiser steps taken
    seed: int  # seed of the training run
    minutes: float  # wall-clock training time
    scores: dict[str, float] = field(default_factory=dict)  # held-out numbers
    # World models: the heads that were trained, of `hiwm_core.world_heads.HEADS`. None in policies
    # and in files from before heads were listed.
    heads: tuple[str, ...] | None = None
    # Control period of what it learnt from, s. None in files written before it was noted: the
    # embodiment's.
    period_s: float | None = None

    @property
    def control_period_s(self) -> float:
        """Seconds from one step to the next in what it learnt from."""
        if self.period_s is not None:
            return self.period_s
        return 1.0 / parse_embodiment(self.embodiment_text, "checkpoint").rate_hz


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint as read from disk."""

    info: CheckpointInfo
    weights: dict[str, Tensor]
    hash: str  # sha256 of the file's bytes, hex
    path: Path

    @property
    def label(self) -> str:
        """Name and first 8 digits of the hash, as plans and commands carry it."""
        return f"{self.info.name}-{self.hash[:8]}"


def save_checkpoint(path: Path, info: CheckpointInfo, weights: dict[str, Tensor]) -> str:
    """Write a checkpoint in one atomic rename and return its sha256, hex.

    Equal info and weights give equal bytes, hence equal hashes.
    """
    header = json.dumps({"format": FORMAT, **asdict(info)}, sort_keys=True, allow_nan=False)
    content = save_tensors(
        {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()},
        metadata={HEADER_KEY: header},
    )
    write_file(path, content)
    return hashlib.sha256(content).hexdigest()


def load_checkpoint(
    path: Path, *, kind: str | None = None, embodiment_hash: str | None = None
) -> Checkpoint:
    """Read a checkpoint, weights on the CPU.

    Args:
        path: the safetensors file.
        kind: the kind it must be of; any when None.
        embodiment_hash: sha256 of the embodiment it must have been made for; any when None.

    Raises:
        CheckpointError: missing, damaged, of another kind, or made for another embodiment.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"cannot read the checkpoint: {error.strerror}", where=str(path),
            remedy="give the path of a .safetensors file, or train one",
        ) from None
    info = _read_info(content, path)
    if kind is not None and info.kind != kind:
        raise CheckpointError(
            f"this checkpoint is a {info.kind}, not a {kind}", where=str(path),
            remedy=f"give the path of a {kind} checkpoint",
        )
    if embodiment_hash is not None:
        require_embodiment(info, embodiment_hash, str(path))
    return Checkpoint(
        info=info, weights=load_tensors(content), hash=hashlib.sha256(content).hexdigest(),
        path=path,
    )


def require_embodiment(info: CheckpointInfo, embodiment_hash: str, where: str) -> None:
    """Raise CheckpointError, naming both hashes, unless the checkpoint is for this embodiment."""
    if info.embodiment_hash != embodiment_hash:
        raise CheckpointError(
            f"the checkpoint was made for embodiment {info.embodiment} with hash "
            f"{info.embodiment_hash}, this one has hash {embodiment_hash}",
            where=where,
            remedy=f"use it with task {info.task} (task:={info.task}) and the embodiment file it "
            "was trained under, or train again",
        )


def load_weights(module: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's weights into a module; raises CheckpointError where they do not fit."""
    try:
        module.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights do not fit the network: {error}", where=str(checkpoint.path),
            remedy="use the version that trained it, or train again",
        ) from None


def save_training_state(path: Path, state: Any) -> None:
    """Write what resuming needs (tensors, numbers, strings, lists, dicts); see `write_file`."""
    write_file(path, lambda file: torch.save(state, file))


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint that hiwm wrote, whole or not."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _HEADER_BYTES)))
        return HEADER_KEY in header.get("__metadata__", {})
    except (OSError, ValueError, AttributeError):
        return False


def is_training_state(path: Path) -> bool:
    """Return whether a file is what a training loop resumes from."""
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            described = archive.read(name)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
    return b"elapsed_s" in described and b"trainable" in described


def load_training_state(path: Path) -> Any:
    """Return what `save_training_state` wrote; raises CheckpointError where it cannot be read."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"cannot read the training state: {error}", where=str(path),
            remedy="train without --resume",
        ) from None


def write_file(path: Path, content: Content) -> None:
    """Write a file whole or not at all; see `hiwm_core.atomic_files.replace_file`.

    Raises:
        CheckpointError: the disk is full, or refuses otherwise; the old file is as it was.
    """
    try:
        replace_file(path, content)
    except (OSError, RuntimeError) as error:
        # torch raises an error of its own over the disk's.
        refusal = error if isinstance(error, OSError) else error.__context__
        if not isinstance(refusal, OSError):
            raise
        raise CheckpointError(
            disk_refusal(refusal, path), where=str(path.parent),
            remedy="make room there and start again, training with --resume: what was written "
            "before is whole",
        ) from error


def _read_info(content: bytes, path: Path) -> CheckpointInfo:
    damaged = "take another copy of the file"
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        # Reads the tensor table against the file's length: a cut file ends here.
        safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    except (ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"not a whole safetensors file: {error}", where=str(path), remedy=damaged
        ) from None
    text = header.get("__metadata__", {}).get(HEADER_KEY)
    if text is None:
        raise CheckpointError(
            "a safetensors file, but not a checkpoint of hiwm", where=str(path),
            remedy="give a file written by the training scripts",
        )
    data = json.loads(text)
    version = data.pop("format", None)
    known = {entry.name for entry in fields(CheckpointInfo)}
    required = {
        entry.name for entry in fields(CheckpointInfo)
        if entry.default is MISSING and entry.default_factory is MISSING
    }
    if version != FORMAT or not required <= set(data) <= known:
        raise CheckpointError(
            f"checkpoint format {version}, this version reads {FORMAT}", where=str(path),
            remedy="use the version that wrote it, or train again",
        )
    if data.get("heads") is not None:
        data["heads"] = tuple(data["heads"])
    return CheckpointInfo(**data)
