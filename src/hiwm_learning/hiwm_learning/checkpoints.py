"""Checkpoints: one safetensors file that names its kind, embodiment, task and training data.

Policies and world models share the format. Weights and description (one JSON text) are in the
same file, so that they cannot be separated. State that only training needs (the optimiser's) has
its own file. A checkpoint for another embodiment is refused; the error names both hashes.
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
from hiwm_core.embodiment_upgrade import is_earlier
from hiwm_core.errors import CheckpointError
from hiwm_core.formats import MIGRATE

# Incremented when this version can no longer read older files.
FORMAT = 1
_HEADER_BYTES = 100_000_000  # limit set by safetensors
_HALVED_FROM = 256  # numbers of a tensor that is stored in half of the bits
# The only key of the safetensors metadata. Several keys would be written in random order, and
# equal checkpoints would get different hashes.
HEADER_KEY = "hiwm"


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """The description stored in a checkpoint."""

    kind: str  # which loader reads it: "diffusion_policy", "world_model" ...
    name: str  # shown to people and in the device field of commands
    config: dict[str, Any]  # the network's configuration, JSON values only
    embodiment: str  # name
    embodiment_hash: str  # see docs/embodiments.md
    embodiment_text: str  # the embodiment's YAML at training time
    task: str  # name
    task_hash: str  # sha256 of the task's text
    data: dict[str, Any]  # summary of the training set, JSON values only
    steps: int  # optimiser steps taken
    seed: int  # seed of the training run
    minutes: float  # wall-clock training time
    scores: dict[str, float] = field(default_factory=dict)  # held-out numbers
    # World models: which of `hiwm_core.world_heads.HEADS` were trained. None in policies and in
    # files written before heads were listed.
    heads: tuple[str, ...] | None = None
    # Control period of the training data, s. None in files written before it was stored; the
    # embodiment's period then applies.
    period_s: float | None = None
    # Of its file before `scripts/migrate` rewrote the description, or its weights were halved.
    earlier_hashes: tuple[str, ...] = ()

    @property
    def control_period_s(self) -> float:
        """Control period of the training data, s."""
        if self.period_s is not None:
            return self.period_s
        return 1.0 / parse_embodiment(self.embodiment_text, "checkpoint").rate_hz


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint read from disk."""

    info: CheckpointInfo
    weights: dict[str, Tensor]
    hash: str  # sha256 of the file's bytes, hex
    path: Path

    @property
    def label(self) -> str:
        """Name and first 8 hash digits, as in plans and commands."""
        return f"{self.info.name}-{self.hash[:8]}"


def save_checkpoint(path: Path, info: CheckpointInfo, weights: dict[str, Tensor]) -> str:
    """Write a checkpoint in one atomic rename and return its sha256, hex.

    Equal info and weights give equal bytes and equal hashes.
    """
    header = json.dumps({"format": FORMAT, **asdict(info)}, sort_keys=True, allow_nan=False)
    content = save_tensors(
        {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()},
        metadata={HEADER_KEY: header},
    )
    write_file(path, content)
    return hashlib.sha256(content).hexdigest()


def halved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with large tensors in half of the bits, as checkpoints store them.

    Small ones stay as they are: they are scales and offsets.
    """
    return {
        name: value.half()
        if value.is_floating_point() and value.numel() >= _HALVED_FROM else value
        for name, value in weights.items()
    }


def load_checkpoint(
    path: Path, *, kind: str | None = None, embodiment_hash: str | None = None
) -> Checkpoint:
    """Read a checkpoint, weights on the CPU.

    Args:
        path: the safetensors file.
        kind: the kind it must have; any when None.
        embodiment_hash: sha256 of the embodiment it must be for; any when None.

    Raises:
        CheckpointError: missing, damaged, of another kind, or for another embodiment.
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
            f"the checkpoint was trained for embodiment {info.embodiment} with hash "
            f"{info.embodiment_hash}, this one has hash {embodiment_hash}",
            where=where,
            remedy=f"use it with task {info.task} (task:={info.task}) and the embodiment file it "
            "was trained with, or train again",
        )


def load_weights(module: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's weights into a module; raises CheckpointError if they do not fit."""
    try:
        module.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights do not fit the network: {error}", where=str(checkpoint.path),
            remedy="use the version that trained it, or train again",
        ) from None


def save_training_state(path: Path, state: Any) -> None:
    """Write the state of a training loop (tensors, numbers, strings, lists, dicts)."""
    write_file(path, lambda file: torch.save(state, file))


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint written by hiwm, complete or not."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _HEADER_BYTES)))
        return HEADER_KEY in header.get("__metadata__", {})
    except (OSError, ValueError, AttributeError):
        return False


def is_training_state(path: Path) -> bool:
    """Return whether a file is the state of a training loop."""
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            pickled = archive.read(name)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
    return b"elapsed_s" in pickled and b"trainable" in pickled


def load_training_state(path: Path) -> Any:
    """Return a state that `save_training_state` wrote; raises CheckpointError if unreadable."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"cannot read the training state: {error}", where=str(path),
            remedy="train without --resume",
        ) from None


def write_file(path: Path, content: Content) -> None:
    """Write a file completely or not at all; see `hiwm_core.atomic_files.replace_file`.

    Raises:
        CheckpointError: the disk is full or refuses the write; the old file is unchanged.
    """
    try:
        replace_file(path, content)
    except (OSError, RuntimeError) as error:
        # torch raises its own error while handling the disk's.
        refusal = error if isinstance(error, OSError) else error.__context__
        if not isinstance(refusal, OSError):
            raise
        raise CheckpointError(
            disk_refusal(refusal, path), where=str(path.parent),
            remedy="make room there and start again, with --resume for training: files written "
            "before are complete",
        ) from error


def _read_info(content: bytes, path: Path) -> CheckpointInfo:
    damaged = "take another copy of the file"
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        # Checks the tensor table against the file's length: a truncated file fails here.
        safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    except (ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"not a complete safetensors file: {error}", where=str(path), remedy=damaged
        ) from None
    text = header.get("__metadata__", {}).get(HEADER_KEY)
    if text is None:
        raise CheckpointError(
            "a safetensors file, but not a hiwm checkpoint", where=str(path),
            remedy="give a file written by the training scripts",
        )
    try:
        data = dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"its description is damaged: {error}", where=str(path), remedy=damaged
        ) from None
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
    data["earlier_hashes"] = tuple(data.get("earlier_hashes", ()))
    info = CheckpointInfo(**data)
    if is_earlier(info.embodiment_text):
        raise CheckpointError(
            "a checkpoint of an earlier version of hiwm", where=str(path), remedy=MIGRATE
        )
    return info
