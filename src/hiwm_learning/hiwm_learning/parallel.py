"""Training on several processes: each computes parts of a step's batch, and gradients are averaged.

`torchrun` and `accelerate launch` start the processes and set the environment that is read here. A
step's batch has a fixed number of parts, each with random numbers of its own, whichever process
computes it. So two processes with one part each take the steps of one process with two parts, up to
the order in which gradients are added. Tested by ``test_parallel.py``.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

from hiwm_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Team:
    """The processes of one training, and the parts that this one computes.

    Args:
        rank: of this process, from 0; the first reports and writes.
        size: number of processes.
        parts: of a step's batch; a multiple of the size.
    """

    rank: int = 0
    size: int = 1
    parts: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    @property
    def mine(self) -> range:
        """The parts that this process computes."""
        return range(self.rank, self.parts, self.size)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes."""
        if self.size == 1:
            return
        with_gradient = [each for each in parameters if each.requires_grad]
        for each in with_gradient:
            if each.grad is None:  # used by no part here; maybe by one elsewhere
                each.grad = torch.zeros_like(each)
        together = torch.cat([_gradient(each).flatten() for each in with_gradient])
        distributed.all_reduce(together)
        for each, summed in zip(
            with_gradient, together.split([each.numel() for each in with_gradient]), strict=True
        ):
            _gradient(each).copy_(summed.view_as(each))

    def agree(self, values: list[float]) -> list[float]:
        """Return the first process's values, so that all take the same decisions."""
        if self.size == 1:
            return values
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        shared = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.broadcast(shared, src=0)
        return [float(value) for value in shared]

    def share(self, module: nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.size > 1:
            for value in module.state_dict().values():
                distributed.broadcast(value, src=0)

    def own_file(self, path: Path) -> Path:
        """Return a file of this process's own; the first one's is the path itself."""
        return path if self.leads else path.with_name(f"{path.stem}.rank{self.rank}{path.suffix}")

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            distributed.barrier()


ALONE = Team()


def team_of(device: str, parts: int = 0) -> Team:
    """Return this process's team, from the environment that torchrun sets; alone without one.

    Args:
        device: of the model: cpu or cuda. Each process of a machine takes a GPU of its own.
        parts: of a step's batch; 0: one for each process.

    Raises:
        ConfigError: the parts are no multiple of the processes.
    """
    size, rank = (int(os.environ.get(name, alone)) for name, alone in (
        ("WORLD_SIZE", "1"), ("RANK", "0")
    ))
    parts = parts or size
    if parts < 1 or parts % size:
        raise ConfigError(
            f"{parts} parts for {size} processes", where="--parts",
            remedy=f"give a multiple of {size}",
        )
    if size > 1 and not distributed.is_initialized():
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    return Team(rank=rank, size=size, parts=parts)


def require_alone(what: str) -> None:
    """Raise ConfigError if torchrun started several processes."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            f"{what} does not run on several processes", where="WORLD_SIZE",
            remedy="start it without torchrun or accelerate launch",
        )


def leave() -> None:
    """Leave the other processes at the end of a command."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
