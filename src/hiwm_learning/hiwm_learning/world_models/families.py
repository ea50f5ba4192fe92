"""The families of world models, chosen by name in training and by a checkpoint's kind in use.

A family is one line of `FAMILIES` and a module with the functions of `FamilyModule`. Everything
else (the imagination node, the evaluation, the study) sees only `WorldSimulator`.
"""

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from hiwm_core.control_period import require_period
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_core.workspace_check import WorkspaceCheck
from hiwm_learning.checkpoints import Checkpoint, load_checkpoint
from hiwm_learning.world_models.simulators import WorldSimulator


class FamilyModule(Protocol):
    """What a family's module offers."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add all options of the family's training to a parser."""

    def train(self, options: argparse.Namespace) -> int:
        """Train, and return the exit code; 130 when interrupted."""

    def simulator(
        self, checkpoint: Checkpoint, embodiment: Embodiment, device: str,
        workspace: WorkspaceCheck | None,
    ) -> WorldSimulator[Any]:
        """Return a simulator for a checkpoint of this family."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A line of the registry."""

    name: str  # as in --family
    kind: str  # of its checkpoints
    module: str  # imported on use: one family's imports may take seconds
    summary: str  # for --help
    description: str  # for cards

    def load(self) -> FamilyModule:
        """Return the family's module."""
        return cast(FamilyModule, importlib.import_module(self.module))


FAMILIES = (
    Family(
        name="layered", kind="layered_world_model",
        module="hiwm_learning.world_models.layered.family",
        summary="rigid objects moved on a plane; fast and sharp",
        description="A layered world model: learned canvases of a background, one rigid object and "
        "the arms, moved by a learned ensemble from pose to pose. The object's rigidity is built "
        "in: its pose, found by registering frames to its canvas, is the explicit state, and "
        "nothing but that pose is predicted.",
    ),
    Family(
        name="latent", kind="latent_world_model",
        module="hiwm_learning.world_models.latent.family",
        summary="any task and robot; the scene is a picture that is moved, the robot is drawn",
        description="A latent world model: its state is a picture of the scene without the robot, "
        "which is drawn from its joint state. Joints follow commands by a model of their own; a "
        "transformer over the cells in play says how the parts of the scene move.",
    ),
    Family(
        name="remote", kind="remote_world_model",
        module="hiwm_learning.world_models.remote.family",
        summary="any world model behind a server; writes the file that stands for it",
        description="A world model behind a websocket server (docs/world_servers.md).",
    ),
)


def family_named(name: str) -> Family:
    """Return a family by its name."""
    return next(family for family in FAMILIES if family.name == name)


def family_of(kind: str) -> Family | None:
    """Return the family whose checkpoints have this kind; None if there is none."""
    return next((family for family in FAMILIES if family.kind == kind), None)


def load_simulator(
    path: Path, embodiment: Embodiment, device: str = "cpu",
    workspace: WorkspaceCheck | None = None,
) -> tuple[WorldSimulator[Any], Checkpoint]:
    """Return a simulator for a world-model checkpoint of any family, and the checkpoint.

    Args:
        path: the safetensors file.
        embodiment: the embodiment that it must be for.
        device: "cpu" or "cuda"; the layered model always runs on the CPU, a remote one on its
            server's.
        workspace: a robot's check of targets; None checks nothing.

    Raises:
        CheckpointError: missing, damaged, not a world model, or for another embodiment.
        ConfigError: the device does not exist.
        ServerError, WireError: a remote model's server cannot be reached, or runs another model.
    """
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(
            f"no device {device!r} on this machine", where="world model",
            remedy="use cpu, or cuda on a machine with a GPU (torch_device:= of a launch file)",
        )
    kind = load_checkpoint(path).info.kind
    family = family_of(kind)
    if family is None:
        raise CheckpointError(
            f"this checkpoint is a {kind}, not a world model", where=str(path),
            remedy="give the path of a checkpoint whose kind is "
            + " or ".join(known.kind for known in FAMILIES),
        )
    checkpoint = load_checkpoint(path, embodiment_hash=embodiment.hash)
    require_period(
        checkpoint.info.control_period_s, 1.0 / embodiment.rate_hz, "world model", str(path)
    )
    return family.load().simulator(checkpoint, embodiment, device, workspace), checkpoint
