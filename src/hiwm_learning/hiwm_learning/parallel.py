"""Training on several processes: each computes parts of a step's batch, and gradients are averaged.

`torchrun` and `accelerate launch` start the processes and set the environment that is read here. A
step's batch has a fixed number of parts, each with random numbers of its own, whichever process
computes it. So two processes with one part each take the steps of one process with two parts, up to
the order in which gradients are added. Tested by ``test_parallel.py``.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

from hiwm_core.errors import CheckpointError, ConfigError, ServerError

# Longest time until all processes of a training have started.
MEET = timedelta(minutes=5)
# Longest wait of a process for another one: the first may measure, build sets or write meanwhile.
# A process that has died is noticed at once.
WAIT = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class Team:
    """The processes of one training, and the parts that this one computes.

    Args:
        rank: of this process, from 0; the first reports and writes.
        size: number of processes.
        parts: of a step's batch; a multiple of the size.
        place: of this process on its machine, from 0.
    """

    rank: int = 0
    size: int = 1
    parts: int = 1
    place: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    @property
    def leads_machine(self) -> bool:
        """Whether this process writes what each machine needs for itself."""
        return self.place == 0

    @property
    def machine(self) -> int:
        """Rank of the machine's first process."""
        return self.rank - self.place

    @property
    def mine(self) -> range:
        """The parts that this process computes."""
        return range(self.rank, self.parts, self.size)

    def reporting(self, write: Callable[[str], None]) -> Callable[[str], None]:
        """Return what takes this process's lines: those of all but the first are dropped."""
        return write if self.leads else lambda line: None

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes."""
        if self.size == 1:
            return
        trained = [each for each in parameters if each.requires_grad]
        used = torch.tensor([each.grad is not None for each in trained], device=trained[0].device)
        used = used.int()
        distributed.all_reduce(used, distributed.ReduceOp.MAX)
        # A parameter that no part uses keeps no gradient: the optimiser leaves it alone.
        with_gradient = [
            each for each, anywhere in zip(trained, used.tolist(), strict=True) if anywhere
        ]
        if not with_gradient:
            return
        for each in with_gradient:
            if each.grad is None:  # used by no part here
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

    def require_alike(self, what: str, value: float, where: str) -> None:
        """Raise CheckpointError in every process unless all have the same value."""
        if self.size == 1:
            return
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        mine = torch.tensor([value], dtype=torch.float64, device=device)
        gathered = [torch.zeros_like(mine) for _ in range(self.size)]
        distributed.all_gather(gathered, mine)
        values = [float(one) for one in gathered]
        if len(set(values)) > 1:
            raise CheckpointError(
                f"{what} differs between processes: "
                + ", ".join(f"process {i} has {one:g}" for i, one in enumerate(values)),
                where=where, remedy="resume with the states of one run and with as many "
                "processes, on the same machines or a shared disk; or train without --resume",
            )

    def share(self, module: nn.Module) -> None:
        """Give every process the first one's weights."""
        self.share_values(module.state_dict().values())

    def share_values(self, values: Iterable[Tensor]) -> None:
        """Give every process the first one's values, in place."""
        if self.size > 1:
            for value in values:
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
        ConfigError: the parts are not a multiple of the processes.
        ServerError: the other processes have not started in time.
    """
    size, rank, place = (int(os.environ.get(name, alone)) for name, alone in (
        ("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0")
    ))
    parts = parts or size
    if parts < 1 or parts % size:
        raise ConfigError(
            f"{parts} parts for {size} processes", where="--parts",
            remedy=f"give a multiple of {size}",
        )
    if size > 1 and not distributed.is_initialized():
        if device == "cuda":
            torch.cuda.set_device(place)
        _meet("nccl" if device == "cuda" else "gloo", rank, size)
    return Team(rank=rank, size=size, parts=parts, place=place)


def _meet(backend: str, rank: int, size: int) -> None:
    """Wait for the other processes, and connect to them."""
    try:
        store, _, _ = next(distributed.rendezvous("env://", timeout=MEET))
        distributed.init_process_group(
            backend, store=store, rank=rank, world_size=size, timeout=WAIT
        )
    except (RuntimeError, ValueError) as error:  # torch's own errors are RuntimeErrors
        address = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise ServerError(
            f"process {rank} of {size} has not met the others within {MEET.total_seconds():g} s: "
            f"{str(error).splitlines()[0]}", where=address,
            remedy="start all of them with torchrun or accelerate launch, with one address that "
            "every machine reaches",
        ) from None


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
