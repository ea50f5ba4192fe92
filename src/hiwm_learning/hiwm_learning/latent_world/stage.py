"""A stage of training as `training_loop` drives it, on one process or on many.

Many processes (`accelerate launch`) draw the same batch from the step's number and take every n-th
sample of it each, with noise of their own; gradients are averaged.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from hiwm_learning.training_loop import rate_factor

AVERAGE_DECAY = 0.999
GRADIENT_NORM = 1.0
WEIGHT_DECAY = 1e-4

T = TypeVar("T")
Export = Callable[[int, float, dict[str, float]], None]


class AcceleratedProcesses:
    """The processes of a run; `training_loop.TrainingProcesses`."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.main = bool(accelerator.is_main_process)
        self._accelerator = accelerator

    def most(self, value: float) -> float:
        """Return the largest value given by any process."""
        if self._accelerator.num_processes == 1:
            return value
        mine = torch.tensor([value], dtype=torch.float32, device=self._accelerator.device)
        return float(self._accelerator.gather(mine).max())


class Stage:
    """A `training_loop.Trainable`: optimiser, average of the weights, and what both need to resume.

    Args:
        accelerator: device, precision and processes.
        losses: its forward takes what `batch` returns and gives named losses of each sample [B],
            "loss" being the one to fall.
        batch: (rows of the batch this process takes, generator, step, progress) -> arguments of
            `losses`. The generator is on the device and differs between processes.
        draw: (generator on the CPU, progress) -> rows of a whole batch.
        rates: the parts of `losses` and the highest learning rate of each.
        seed: of everything drawn.
        measure: returns numbers on held-out data; called with the averaged weights in place.
        on_export: writes the checkpoint others use; called with the averaged weights in place.
    """

    def __init__(
        self, accelerator: Accelerator, losses: nn.Module, *,
        batch: Callable[[Tensor, torch.Generator, int, float], tuple[Any, ...]],
        draw: Callable[[torch.Generator, float], Tensor],
        rates: Sequence[tuple[nn.Module, float]], seed: int,
        measure: Callable[[], dict[str, float]], on_export: Export | None = None,
    ) -> None:
        self._accelerator = accelerator
        self._plain = losses
        self._batch, self._draw, self._seed = batch, draw, seed
        self._rates = [rate for _, rate in rates]
        self._measure, self._on_export = measure, on_export
        optimiser = torch.optim.AdamW(
            [{"params": list(part.parameters()), "lr": rate} for part, rate in rates],
            weight_decay=WEIGHT_DECAY,
        )
        self._losses, self._optimiser = accelerator.prepare(losses, optimiser)
        self._average = {k: v.detach().clone() for k, v in losses.state_dict().items()}

    def train_step(self, step: int, progress: float) -> dict[str, float]:
        """Take one optimiser step."""
        world, rank = self._accelerator.num_processes, self._accelerator.process_index
        base = self._seed * 1_000_003 + step
        rows = self._draw(torch.Generator().manual_seed(base), progress)
        generator = torch.Generator(self._accelerator.device).manual_seed(base * 4099 + rank)
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * rate_factor(progress, step)
        inputs = self._batch(rows[rank::world], generator, step, progress)
        found: dict[str, Tensor] = self._losses(*inputs)
        self._optimiser.zero_grad(set_to_none=True)
        self._accelerator.backward(found["loss"].mean())
        self._accelerator.clip_grad_norm_(self._losses.parameters(), GRADIENT_NORM)
        self._optimiser.step()
        decay = min(AVERAGE_DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self._plain.state_dict().items():
                self._average[name].lerp_(value, 1.0 - decay)
        return {name: float(value.detach().mean()) for name, value in found.items()}

    def held_out(self) -> dict[str, float]:
        """Return numbers on held-out data, of the averaged weights."""
        return self._averaged(self._measure)

    def state(self) -> dict[str, Any]:
        """Return everything resuming needs."""
        return {
            "model": self._plain.state_dict(), "average": self._average,
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self._plain.load_state_dict(state["model"])
        for name, value in state["average"].items():
            self._average[name].copy_(value)
        self._optimiser.load_state_dict(state["optimiser"])

    def export(self, step: int, elapsed_s: float, scores: dict[str, float]) -> None:
        """Write the checkpoint that others use."""
        write = self._on_export
        if write is not None:
            self._averaged(lambda: write(step, elapsed_s, scores))

    def take_average(self) -> None:
        """Leave the averaged weights in place for good."""
        self._plain.load_state_dict(self._average)

    def _averaged(self, call: Callable[[], T]) -> T:
        kept = {k: v.clone() for k, v in self._plain.state_dict().items()}
        self._plain.load_state_dict(self._average)
        self._plain.eval()
        try:
            with torch.no_grad():
                return call()
        finally:
            self._plain.load_state_dict(kept)
            self._plain.train()
